//! The fields of a record, from which a view takes what its schema has a place for. What nobody takes stays, and goes
//! into the view as it is: so nothing of a record is lost, whatever the schema.

use std::net::IpAddr;

use base64ct::{Base64, Encoding as _};
use common::{Field, Header, Kind, Record as _, Type};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::record::field::{CONTEXT, DERIVED};

/// Members of records that no table of fields declares.
const BESIDE: &[&str] = &["evidence", "policy", "process", "summary", "time"];

/// A record that is taken apart. A path names a field, or a member of an object after a dot.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub Map<String, Value>);

impl Fields {
    /// A value that is not null.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut value = self.0.get(first)?;
        for name in rest.split('.').filter(|name| !name.is_empty()) {
            value = value.as_object()?.get(name)?;
        }
        Some(value).filter(|value| !value.is_null())
    }

    /// Removes a value, and the object that it leaves empty.
    pub fn take(&mut self, path: &str) -> Option<Value> {
        fn remove(map: &mut Map<String, Value>, path: &str) -> Option<Value> {
            let Some((first, rest)) = path.split_once('.') else { return map.remove(path) };
            let inside = map.get_mut(first)?.as_object_mut()?;
            let value = remove(inside, rest)?;
            if inside.is_empty() {
                map.remove(first);
            }
            Some(value)
        }
        self.get(path)?;
        remove(&mut self.0, path)
    }

    /// A text that is not empty; of bytes that are none a form that can be read.
    pub fn text(&self, path: &str) -> Option<String> {
        self.get(path).and_then(readable).filter(|text| !text.is_empty())
    }

    /// The same, taken; of bytes only the readable form, and they stay.
    pub fn take_text(&mut self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        if self.get(path).is_some_and(Value::is_string) {
            self.take(path);
        }
        Some(text)
    }

    /// A whole number, which records write as text when it may be large.
    pub fn number(&self, path: &str) -> Option<i64> {
        whole(self.get(path)?)
    }

    /// The same, taken.
    pub fn take_number(&mut self, path: &str) -> Option<i64> {
        let number = self.number(path)?;
        self.take(path);
        Some(number)
    }

    /// A number as text, or a text, taken.
    pub fn take_id(&mut self, path: &str) -> Option<String> {
        match self.number(path) {
            Some(number) if self.get(path).is_some_and(Value::is_number) => {
                self.take(path);
                Some(number.to_string())
            }
            _ => self.take_text(path),
        }
    }

    /// Texts, of which none is left out.
    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        self.get(path)?.as_array()?.iter().map(readable).collect()
    }

    /// The same, taken; when bytes are among them only the readable form, and they stay.
    pub fn take_texts(&mut self, path: &str) -> Option<Vec<String>> {
        let texts = self.texts(path)?;
        if self.get(path)?.as_array()?.iter().all(Value::is_string) {
            self.take(path);
        }
        Some(texts)
    }

    /// A text that is an address of the internet.
    pub fn ip(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str().filter(|text| text.parse::<IpAddr>().is_ok())
    }

    /// The same, taken.
    pub fn take_ip(&mut self, path: &str) -> Option<String> {
        self.ip(path)?;
        self.take_text(path)
    }

    /// A time as RFC 3339 has it.
    pub fn time(&self, path: &str) -> Option<Timestamp> {
        self.get(path)?.as_str()?.parse().ok()
    }

    /// The same as it is written, taken.
    pub fn take_time(&mut self, path: &str) -> Option<String> {
        self.time(path)?;
        self.take_text(path)
    }

    /// A number that can be a port, taken.
    pub fn take_port(&mut self, path: &str) -> Option<i64> {
        u16::try_from(self.number(path)?).ok()?;
        self.take_number(path)
    }

    /// Whether a field is true.
    pub fn is(&self, path: &str, wanted: bool) -> bool {
        self.get(path).and_then(Value::as_bool) == Some(wanted)
    }

    /// What nobody took, in a shape in which a name has one type, as search indexes need it: what every record may have
    /// by its name, what is the kind's own below the name of the kind. A number in place of a name is text, one that is
    /// text for its size is a number, and bytes that are no text are below the name with `_b64` behind.
    pub fn rest(self, kind: &str) -> Map<String, Value> {
        let declared = Kind::from_name(kind).map_or(&[][..], Kind::fields);
        let (mut own, mut rest) = (Map::new(), Map::new());
        for (name, value) in self.0 {
            let of_every = common_field(&name);
            let into = if of_every.is_some() || BESIDE.contains(&name.as_str()) { &mut rest } else { &mut own };
            let field = of_every.or_else(|| declared.iter().find(|field| field.name == name));
            even(name, value, field, into);
        }
        if !own.is_empty() {
            let below = if super::table::knows(kind) { kind.replace('.', "_") } else { "record".to_owned() };
            rest.insert(below, Value::Object(own));
        }
        rest
    }
}

/// The declaration of a field that every record may have.
fn common_field(name: &str) -> Option<&'static Field> {
    let added = CONTEXT.iter().chain(DERIVED).map(|(field, _)| field).filter(|field| !field.name.contains('.'));
    Header::FIELDS.iter().chain(added).find(|field| field.name == name)
}

/// Puts a value where its name has one type.
fn even(name: String, value: Value, field: Option<&Field>, into: &mut Map<String, Value>) {
    if let Some(base64) = bytes(&value) {
        into.insert(name + "_b64", base64.into());
        return;
    }
    match value {
        Value::Number(number) if field.is_some_and(|field| matches!(field.ty, Type::Name(_))) => {
            into.insert(name, number.to_string().into());
        }
        Value::String(_) if field.is_some_and(|field| matches!(field.ty, Type::Int)) => {
            into.insert(name, whole(&value).map_or(value, Value::from));
        }
        Value::Array(items) if items.iter().any(|item| bytes(item).is_some()) => {
            let exact = items.iter().map(|item| match item {
                Value::String(text) => Base64::encode_string(text.as_bytes()).into(),
                other => bytes(other).map_or_else(|| other.clone(), Value::from),
            });
            into.insert(format!("{name}_b64"), exact.collect());
            into.insert(name, items.iter().filter_map(readable).collect());
        }
        Value::Object(members) => {
            let mut inside = Map::new();
            for (name, value) in members {
                even(name, value, None, &mut inside);
            }
            into.insert(name, Value::Object(inside));
        }
        other => {
            into.insert(name, other);
        }
    }
}

/// The Base64 of a value that stands for bytes.
fn bytes(value: &Value) -> Option<&str> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.get("b64")?.as_str()
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.parse().ok().filter(|number: &i64| number.to_string() == *digits),
        _ => None,
    }
}

/// A text as it is; bytes that are no text with `\x` and two digits for each that is none.
fn readable(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let bytes = Base64::decode_vec(bytes(value)?).ok()?;
    Some(bytes.utf8_chunks().fold(String::new(), |text, chunk| {
        chunk.invalid().iter().fold(text + chunk.valid(), |text, byte| text + &format!("\\x{byte:02x}"))
    }))
}

/// An object that is built member by member; a path makes the objects on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(pub Map<String, Value>);

impl Object {
    /// Puts a value, unless there is none.
    pub fn put(&mut self, path: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value.map(Into::into) else { return };
        let mut map = &mut self.0;
        let mut rest = path;
        while let Some((first, behind)) = rest.split_once('.') {
            let inside = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            let Some(members) = inside.as_object_mut() else { return };
            (map, rest) = (members, behind);
        }
        map.insert(rest.to_owned(), value);
    }

    /// A value at a path of names that have no dot.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// A text at a path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Itself, unless it is empty.
    pub fn some(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}

/// The last part of a path; the root is its own.
pub(super) fn base(path: &str) -> Option<&str> {
    let end = path.trim_end_matches('/');
    if end.is_empty() { Some(path).filter(|path| !path.is_empty()).map(|_| "/") } else { end.rsplit('/').next() }
}

/// The type bits of `mode`, as `100755`.
pub(super) fn file_type(mode: &str) -> Option<u32> {
    u32::from_str_radix(mode, 8).ok().map(|mode| mode >> 12).filter(|ty| *ty != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(fields) = value else { panic!("{value}") };
        Fields(fields)
    }

    #[test]
    fn what_is_taken_is_gone_and_the_rest_stays() {
        let mut fields = fields(json!({"cpu": 1, "ktime": "12", "odd": "012", "none": null, "empty": "",
            "process": {"id": "a", "parent": {"pid": 7}}, "path": {"b64": "YS//"}, "argv": ["a", {"b64": "/w=="}]}));
        assert_eq!(fields.take_number("ktime"), Some(12));
        assert_eq!(fields.take_number("odd"), None);
        assert_eq!(fields.take_text("none"), None);
        assert_eq!(fields.take_text("empty"), None);
        assert_eq!(fields.take_number("process.parent.pid"), Some(7));
        assert_eq!(fields.take_text("path").as_deref(), Some(r"a/\xff"));
        assert_eq!(fields.take_texts("argv"), Some(vec!["a".to_owned(), r"\xff".to_owned()]));
        let rest = json!({"cpu": 1, "process": {"id": "a"}, "exec": {"odd": "012", "none": null, "empty": "",
            "path_b64": "YS//", "argv": ["a", r"\xff"], "argv_b64": ["YQ==", "/w=="]}});
        assert_eq!(Value::Object(fields.rest("exec")), rest);
    }

    #[test]
    fn a_name_has_one_type() {
        let rest = fields(json!({"call": 999, "signal": 10000, "ret": "9007199254740993"})).rest("kill");
        assert_eq!(
            Value::Object(rest),
            json!({"call": "999", "kill": {"signal": "10000"}, "ret": 9_007_199_254_740_993_i64})
        );
    }

    /// What is the kind's own is beside what every record may have: the names must differ.
    #[test]
    fn no_kind_has_the_name_of_a_field() {
        for row in super::super::table::ROWS {
            let below = row.kind.replace('.', "_");
            let place = ["origin", "batch", "index", "record"].contains(&below.as_str());
            assert!(!place && common_field(&below).is_none(), "{below}");
            assert!(!BESIDE.contains(&below.as_str()) || below == "summary", "{below}");
        }
    }

    #[test]
    fn the_last_part_of_a_path() {
        let check = |path: &str, expected: Option<&str>| assert_eq!(base(path), expected, "{path}");
        check("/usr/bin/id", Some("id"));
        check("id", Some("id"));
        check("/tmp/", Some("tmp"));
        check("/", Some("/"));
        check("", None);
    }
}
