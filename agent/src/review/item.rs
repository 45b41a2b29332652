//! A line of the log as far as somebody wants to know it: nothing of it is copied that nobody asks for, and nothing is
//! expected of it but that it is a JSON object.

use std::{borrow::Cow, fmt, net::IpAddr, ops::ControlFlow};

use base64ct::{Base64, Encoding as _};
use common::Kind;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::record::words::{self, LONG, Said, quote};

/// The kind of records that stand for many.
pub const SUMMARY: &str = "summary";

/// The members of a JSON object, unread.
#[derive(Clone, Debug, Default)]
pub struct Item<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Item<'a> {
    /// The record of a line; `None` when it is no JSON object.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// A member, or one of an object after a dot.
    fn raw(&self, path: &str) -> Option<&'a str> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = self.0.iter().find(|(name, _)| name == first)?.1;
        if rest.is_empty() {
            return Some(value.get()).filter(|text| *text != "null");
        }
        serde_json::from_str::<Self>(value.get()).ok()?.raw(rest)
    }

    /// A record within the record.
    pub fn inner(&self, path: &str) -> Option<Item<'a>> {
        serde_json::from_str(self.raw(path)?).ok()
    }

    /// The names of its members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// A text.
    pub fn text(&self, path: &str) -> Option<Cow<'a, str>> {
        self.raw(path).and_then(text)
    }

    /// A text, or what it was in bytes.
    pub fn bytes(&self, path: &str) -> Option<Cow<'a, [u8]>> {
        self.raw(path).and_then(bytes)
    }

    /// A value as a person reads it: a text, a number or a truth as they are, bytes that are no text with `\xff`.
    pub fn readable(&self, path: &str) -> Option<Cow<'a, str>> {
        let raw = self.raw(path)?;
        match raw.as_bytes().first()? {
            b'"' => text(raw),
            b'{' => bytes(raw).map(|bytes| escaped(&bytes).into()),
            b'[' => None,
            _ => Some(raw.into()),
        }
    }

    /// A whole number, which records write as text when it may be large.
    pub fn number(&self, path: &str) -> Option<i64> {
        let raw = self.raw(path)?;
        raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw).parse().ok()
    }

    /// Whether a field is true.
    pub fn is(&self, path: &str) -> bool {
        self.raw(path) == Some("true")
    }

    /// Whether a field is false.
    pub fn is_not(&self, path: &str) -> bool {
        self.raw(path) == Some("false")
    }

    /// The texts of a list, as far as they are texts.
    pub fn texts(&self, path: &str) -> Vec<Cow<'a, [u8]>> {
        let list = self.raw(path).and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok());
        list.unwrap_or_default().into_iter().filter_map(|one| bytes(one.get())).collect()
    }

    /// What happened.
    pub fn kind(&self) -> Cow<'a, str> {
        self.text("kind").unwrap_or_default()
    }

    /// When it happened, in nanoseconds since 1970. Of an enrolment its note says it.
    pub fn time(&self) -> Option<u64> {
        if let Some(time) = self.text("time") {
            return seal::text::untime(&time);
        }
        self.text("note")?.lines().find_map(|line| line.strip_prefix("time ")).and_then(seal::text::untime)
    }

    /// How many events it stands for.
    pub fn count(&self) -> u64 {
        let many = if self.kind() == SUMMARY { self.number("count") } else { None };
        many.and_then(|count| u64::try_from(count).ok()).unwrap_or(1)
    }

    /// The verdict was alert.
    pub fn is_alert(&self) -> bool {
        self.text("policy.verdict").is_some_and(|verdict| verdict == "alert")
    }

    /// Whose rights it had: the name, or the number when there is no name.
    pub fn user(&self) -> Option<Cow<'a, str>> {
        self.readable("euser").or_else(|| self.readable("euid"))
    }

    /// Who had logged in: the name, or the number.
    pub fn login(&self) -> Option<Cow<'a, str>> {
        self.readable("auser").or_else(|| self.readable("auid"))
    }

    /// The program of the process.
    pub fn program(&self) -> Option<Cow<'a, str>> {
        self.readable("process.exe").or_else(|| self.readable("comm"))
    }

    /// The file, address or other thing that it is about.
    pub fn object(&self) -> Option<String> {
        for name in ["path", "peer", "local", "target_exe", "target_pid", "module", "name"] {
            let mut word = String::new();
            if self.word(name, &mut word) {
                return Some(word);
            }
        }
        None
    }

    /// What was done to what. Of what is none of the kernel's kinds, the members that are short.
    pub fn what(&self, out: &mut String) {
        if Said::kind(self).is_some() {
            return words::what(self, out);
        }
        if self.kind() == SUMMARY {
            let of = self.text("of").unwrap_or_default();
            out.extend([&*self.count().to_string(), " × ", &*of, " "]);
            if let Some(sample) = self.inner("sample") {
                sample.what(out);
            }
            return;
        }
        let start = out.len();
        for (name, raw) in &self.0 {
            let skipped = ["kind", "time", "text", "note", "policy", "evidence", "process"].contains(&name.as_ref());
            if skipped || out.len() > start + LONG {
                continue;
            }
            let value = match raw.get().as_bytes().first() {
                Some(b'[') => Some(self.texts(name).iter().map(|one| escaped(one)).collect::<Vec<_>>().join(",")),
                _ => self.readable(name).map(Cow::into_owned),
            };
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            out.push_str(if out.len() > start { " " } else { "" });
            quote(name.as_bytes(), out);
            out.push('=');
            quote(cut(&value, LONG).as_bytes(), out);
        }
    }

    /// The same, alone.
    pub fn words(&self) -> String {
        let mut out = String::new();
        self.what(&mut out);
        out
    }
}

/// The beginning of a text, of at most so many bytes.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Bytes as text, with `\xff` for what is none.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(inside.into()) }
}

fn bytes(raw: &str) -> Option<Cow<'_, [u8]>> {
    if let Some(text) = text(raw) {
        return Some(match text {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        });
    }
    let item: Item<'_> = serde_json::from_str(raw).ok()?;
    let [(name, value)] = &item.0[..] else { return None };
    if name != "b64" {
        return None;
    }
    Base64::decode_vec(&text(value.get())?).ok().map(Cow::Owned)
}

impl Said for Item<'_> {
    fn kind(&self) -> Option<Kind> {
        Kind::from_name(&self.kind())
    }

    fn call(&self) -> Cow<'_, str> {
        self.text("call").unwrap_or_default()
    }

    fn word(&self, field: &str, out: &mut String) -> bool {
        let Some(raw) = self.raw(field) else { return false };
        if let Some(bytes) = bytes(raw) {
            quote(&bytes, out);
            return true;
        }
        if !raw.starts_with(['{', '[']) {
            quote(raw.as_bytes(), out);
            return true;
        }
        self.inner(field).is_some_and(|inner| inner.place(out))
    }

    fn arguments(&self, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        for argument in self.texts("argv") {
            if each(&argument).is_break() {
                return;
            }
        }
    }
}

impl Item<'_> {
    /// An address, or a question to a name server.
    fn place(&self, out: &mut String) -> bool {
        if let (Some(ip), Some(port)) = (self.ip(), self.number("port")) {
            out.push_str(&words::internet(ip, u16::try_from(port).unwrap_or_default()));
        } else if let Some(path) = self.bytes("path") {
            words::unix(&path, out);
        } else if let Some(name) = self.bytes("abstract") {
            words::abstract_unix(&name, out);
        } else if let (Some(name), Some(of)) = (self.bytes("name"), self.readable("type")) {
            quote(&name, out);
            out.push(' ');
            quote(of.as_bytes(), out);
        } else if let Some(number) = self.number("number") {
            out.extend(["family ", &number.to_string()]);
        } else {
            return false;
        }
        true
    }

    /// The address in an address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.text("ip")?.parse().ok()
    }
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        /// A name, borrowed where it has no escapes.
        struct Name<'a>(Cow<'a, str>);

        impl<'de> Deserialize<'de> for Name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl<'de> Visitor<'de> for Text {
                    type Value = Name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name")
                    }
                    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                        Ok(Name(text.into()))
                    }
                    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                        Ok(Name(text.to_owned().into()))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl<'de> Visitor<'de> for Members {
            type Value = Item<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(40);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Item(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are() {
        let line = br#"{"a\"b":1,"n":"9007199254740993","b":{"b64":"YS//"},"p":{"q":{"r":true}},"t":"x\ny","z":null,"l":["a",1,{"b64":"/w=="}]}"#;
        let item = Item::parse(line).unwrap();
        assert_eq!(item.number("a\"b"), Some(1));
        assert_eq!(item.number("n"), Some(9_007_199_254_740_993));
        assert_eq!(item.readable("b").as_deref(), Some(r"a/\xff"));
        assert_eq!(item.bytes("b").as_deref(), Some(&b"a/\xff"[..]));
        assert!(item.is("p.q.r") && !item.is("p.q") && !item.is("z"));
        assert_eq!(item.text("t").as_deref(), Some("x\ny"));
        assert_eq!(item.readable("z"), None);
        assert_eq!(item.texts("l"), [&b"a"[..], b"\xff"]);
        for wrong in [&b"[]"[..], b"{", b"1", b"", b"\xff", br#"{"a":1}x"#] {
            assert!(Item::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
