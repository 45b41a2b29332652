//! The caller's memory named another entry than the kernel acted upon: somebody changed the name while the call ran.

use common::{Kind, Value, wire::PathParts};

use super::{Record, json};

/// Paths of which the kernel takes the last component as it is, without following a symbolic link: only there two names
/// can be compared.
fn takes_entry(kind: Kind, field: &str) -> bool {
    match kind {
        Kind::Unlink | Kind::Rmdir | Kind::Rename => true,
        // what is linked to may be followed (`AT_SYMLINK_FOLLOW`)
        Kind::Link => field == "target",
        Kind::Symlink => field == "path",
        _ => false,
    }
}

/// The fields whose two names differ, with both.
pub fn mismatches<'a>(record: &Record<'a>) -> impl Iterator<Item = (&'static str, PathParts<'a>)> + use<'a> {
    let (event, kind) = (record.event, record.event.kind());
    let entries = kind.fields().iter().enumerate().filter(move |(_, field)| takes_entry(kind, field.name));
    entries.filter_map(move |(at, field)| match event.body_value(at) {
        Value::Path(path) if path.differs() => Some((field.name, path)),
        _ => None,
    })
}

/// Appends the line of a mismatch: which record it is about, what the kernel acted upon, what the caller's memory says.
pub fn line(record: &Record<'_>, field: &str, path: PathParts<'_>, time: &str, out: &mut Vec<u8>) {
    let header = record.event.header;
    let member = |name: &str, out: &mut Vec<u8>| out.extend_from_slice(format!(",\"{name}\":").as_bytes());
    out.extend_from_slice(b"{\"call\":");
    json::text(record.event.call.name().as_bytes(), out);
    out.extend_from_slice(format!(",\"cpu\":{},\"field\":\"{field}\",\"kind\":\"mismatch\"", header.cpu).as_bytes());
    member("object", out);
    let mut object = Vec::new();
    json::plain(Value::Path(path), &mut object);
    json::text(&object, out);
    out.extend_from_slice(format!(",\"pid\":{}", header.pid).as_bytes());
    member("said", out);
    json::text(path.said, out);
    out.extend_from_slice(format!(",\"seq\":\"{}\",\"tid\":{}", header.seq, header.tid).as_bytes());
    member("time", out);
    json::text(time.as_bytes(), out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use common::{
        Event, Header, Prefix,
        event::Rename,
        wire::{Path, mark},
    };
    use serde_json::{Value as Json, json};
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::record::{Context, sample};

    fn check(object: &str, said: &str, expected: Option<Json>) {
        let tail = [object.as_bytes(), said.as_bytes(), b"\0"].concat();
        let (len, name_len) = (object.len() as u32, said.len() as u32 + 1);
        let path = Path { start: 0, len, name: len, name_len, marks: mark::OBJECT };
        let prefix = Prefix { tail: tail.len() as u32, ..sample::prefix(Kind::Rename) };
        let body = Rename { path, ..Rename::default() };
        let words = sample::event(prefix, &Header::default(), body.as_bytes(), &tail);
        let record = Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() };
        let lines: Vec<Json> = mismatches(&record)
            .map(|(field, path)| {
                let mut out = Vec::new();
                line(&record, field, path, "2026-01-01T00:00:00Z", &mut out);
                serde_json::from_slice(&out).unwrap()
            })
            .collect();
        assert_eq!(lines, Vec::from_iter(expected), "{said}");
    }

    #[test]
    fn only_the_last_component_counts() {
        let object = "b\0a\0";
        check(object, "b", None);
        check(object, "../x/b//", None);
        check(object, "", None);
        check(object, "..", None);
        check(
            object,
            "/a/c",
            Some(json!({ "call": "", "cpu": 0, "field": "path", "kind": "mismatch", "object": "/a/b", "pid": 0,
                "said": "/a/c", "seq": "0", "tid": 0, "time": "2026-01-01T00:00:00Z" })),
        );
    }
}
