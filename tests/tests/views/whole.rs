//! Nothing of a record is lost in a view, and a name has one type in all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sigtrail::view::View;

use super::{Fields, golden, own, render};

/// A text and a number that are in no record.
const TEXT: &str = "no record says this";
const NUMBER: i64 = 987_654_321;

/// What is not carried: of a summary its kind, in place of which the view has a member `summary`.
const NOT_CARRIED: &[(&str, &str)] = &[("summary", "/kind")];

/// Golden ones and own ones, one of each kind with the same fields.
fn sorts() -> Vec<Fields> {
    let mut seen = BTreeSet::new();
    let mut records = golden();
    records.extend(own::records());
    records.retain(|fields| {
        let mut paths = Vec::new();
        leaves(&Value::Object(fields.clone()), "", &mut paths);
        let paths: Vec<_> = paths.into_iter().map(|(path, value)| (path, kind_of(&value))).collect();
        seen.insert((fields["kind"].to_string(), fields.get("success").map(Value::to_string), format!("{paths:?}")))
    });
    records
}

/// The values that are no objects and no lists, by their JSON pointers.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| leaves(item, &format!("{path}/{at}"), found));
        }
        leaf => found.push((path.to_owned(), leaf.clone())),
    }
}

/// Each leaf in turn gets a value that is nowhere else: the view has it, as text or number. A flag is turned: the view
/// is another.
#[test]
fn every_leaf_of_a_record_is_in_its_view() {
    let (mut tried, mut missing) = (0, BTreeSet::new());
    for fields in sorts() {
        let kind = fields["kind"].as_str().unwrap().to_owned();
        let record = Value::Object(fields.clone());
        let mut all = Vec::new();
        leaves(&record, "", &mut all);
        for view in [View::Ecs, View::Ocsf] {
            let plain = render(0, &fields, view);
            for (path, leaf) in &all {
                if NOT_CARRIED.contains(&(kind.as_str(), path.as_str())) || path.ends_with("/b64") {
                    continue;
                }
                tried += 1;
                let mut other = record.clone();
                *other.pointer_mut(path).unwrap() = match leaf {
                    Value::String(text) if text.parse::<i64>().is_ok() => json!(NUMBER.to_string()),
                    Value::String(_) => json!(TEXT),
                    Value::Number(_) => json!(NUMBER),
                    Value::Bool(flag) => json!(!flag),
                    _ => Value::String(TEXT.to_owned()),
                };
                let seen = render(0, other.as_object().unwrap(), view);
                let mut there = Vec::new();
                leaves(&seen, "", &mut there);
                let is = |value: &Value| {
                    *value == json!(TEXT) || *value == json!(NUMBER) || *value == json!(NUMBER.to_string())
                };
                let carried = if leaf.is_boolean() { seen != plain } else { there.iter().any(|(_, value)| is(value)) };
                if !carried {
                    missing.insert(format!("{view:?} {kind} {path}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not carried:\n{}", Vec::from_iter(missing).join("\n"));
    println!("{tried} leaves were changed, each was seen in its view");
}

/// Bytes that are no text are there as they are, and in a form that can be read.
#[test]
fn bytes_are_carried_exactly() {
    let of = golden().into_iter().find(|fields| fields.get("path").is_some_and(Value::is_object)).unwrap();
    let base64 = of["path"]["b64"].clone();
    for (view, path, own) in [(View::Ecs, "/file/path", "/sigtrail"), (View::Ocsf, "/file/path", "/unmapped")] {
        let seen = render(0, &of, view);
        assert_eq!(seen.pointer(&format!("{own}/open/path_b64")), Some(&base64), "{seen}");
        assert!(seen.pointer(path).unwrap().as_str().unwrap().ends_with(r"\xff"), "{seen}");
    }
}

/// A search index takes the type of a name from the first event that has it, and refuses events that differ.
#[test]
fn a_name_has_one_type() {
    let mut types: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut records = golden();
    records.extend(own::records());
    for fields in &records {
        for view in [View::Ecs, View::Ocsf] {
            note(&render(0, fields, view), &format!("{view:?}"), &mut types);
        }
    }
    types.retain(|_, types| types.len() > 1);
    assert!(types.is_empty(), "{types:#?}");
}

fn note(value: &Value, path: &str, types: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    match value {
        Value::Null => return,
        // an index has no lists: a list of texts is as good as one text
        Value::Array(items) => return items.iter().for_each(|item| note(item, path, types)),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| note(value, &format!("{path}.{name}"), types));
        }
        _ => {}
    }
    types.entry(path.to_owned()).or_default().insert(kind_of(value));
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
