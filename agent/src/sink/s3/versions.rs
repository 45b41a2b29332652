//! A page of the versions of a bucket: the answer to ListObjectVersions.

use quick_xml::{
    Reader,
    events::{BytesRef, Event},
};

/// One version of an object, or the mark of its deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: String,
    pub(super) id: String,
    /// It is the mark of a deletion.
    pub(super) deleted: bool,
}

/// What the page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// By name, and those of one name with the newest first.
    pub(super) versions: Vec<Version>,
    /// Where the next page begins: a name, and a version of it.
    pub(super) next: Option<(String, String)>,
}

/// Reads a page; `None` if it is none.
pub(super) fn parse(xml: &str) -> Option<Page> {
    let mut reader = Reader::from_str(xml);
    let (mut page, mut next, mut more, mut encoded) = (Page::default(), (String::new(), String::new()), false, false);
    let (mut path, mut text): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                path.push(String::from_utf8(start.local_name().as_ref().to_vec()).ok()?);
                text.clear();
                if let ["ListVersionsResult", kind @ ("Version" | "DeleteMarker")] = names(&path)[..] {
                    page.versions.push(Version { deleted: kind == "DeleteMarker", ..Version::default() });
                }
            }
            Event::Text(part) => text.push_str(&part.decode().ok()?),
            Event::CData(part) => text.push_str(&part.decode().ok()?),
            Event::GeneralRef(part) => text.push(character(&part)?),
            Event::End(_) => {
                let place = || match names(&path)[..] {
                    ["ListVersionsResult", name] => Some((false, name)),
                    ["ListVersionsResult", "Version" | "DeleteMarker", name] => Some((true, name)),
                    _ => None,
                };
                match place() {
                    Some((false, "IsTruncated")) => more = text == "true",
                    Some((false, "EncodingType")) => encoded = text == "url",
                    Some((false, "NextKeyMarker")) => next.0.clone_from(&text),
                    Some((false, "NextVersionIdMarker")) => next.1.clone_from(&text),
                    Some((true, "Key")) => page.versions.last_mut()?.key.clone_from(&text),
                    Some((true, "VersionId")) => page.versions.last_mut()?.id.clone_from(&text),
                    _ => {}
                }
                path.pop();
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if encoded {
        page.versions.iter_mut().for_each(|version| version.key = decoded(&version.key));
        next.0 = decoded(&next.0);
    }
    let is_whole = xml.contains("ListVersionsResult") && path.is_empty() && !(more && next.0.is_empty());
    page.next = Some(next).filter(|_| more);
    is_whole.then_some(page)
}

fn names(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// `&amp;` and `&#38;`.
fn character(part: &BytesRef<'_>) -> Option<char> {
    if let Some(character) = part.resolve_char_ref().ok()? {
        return Some(character);
    }
    Some(match &*part.decode().ok()? {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

/// A name in the encoding `url`: it may have any character, and XML may not.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let pair = behind.get(..2).and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match (first, pair) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>audit</Name><KeyMarker></KeyMarker>
<Version><Key>v1/a&amp;b</Key><VersionId>2</VersionId><ETag>&#34;x&#34;</ETag><Owner><ID>admin</ID></Owner></Version>
<DeleteMarker><Key>v1/c</Key><VersionId>9</VersionId></DeleteMarker>
<Version><Key>v1/c</Key><VersionId>3</VersionId></Version>
<IsTruncated>false</IsTruncated></ListVersionsResult>"#;

    #[test]
    fn a_page_has_versions_and_deletions_in_their_order() {
        let version = |key: &str, id: &str, deleted| Version { key: key.to_owned(), id: id.to_owned(), deleted };
        let page = parse(PAGE).unwrap();
        assert_eq!(
            page.versions,
            [version("v1/a&b", "2", false), version("v1/c", "9", true), version("v1/c", "3", false)]
        );
        assert_eq!(page.next, None);
        let more = "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
                    <NextKeyMarker>v1/a%26b+%1f%</NextKeyMarker><NextVersionIdMarker>2</NextVersionIdMarker>";
        let page = parse(&PAGE.replace("<IsTruncated>false</IsTruncated>", more)).unwrap();
        assert_eq!(page.next, Some(("v1/a&b \u{1f}%".to_owned(), "2".to_owned())));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for text in ["", "<html>", "<Error><Code>x</Code></Error>", &PAGE[..400], &PAGE.replace("false", "true")] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
