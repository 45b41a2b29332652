//! OCSF, as the schema of its release says.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek as _, Write as _},
};

use serde_json::{Value, json};
use sigtrail::view::{OCSF, View};

use super::{golden, own, published, render, render_all, spoiled};

/// What is wrong with each event.
fn wrong(events: &[Value]) -> Vec<Vec<String>> {
    let mut lines: File = tempfile::tempfile().unwrap();
    for event in events {
        writeln!(lines, "{event}").unwrap();
    }
    lines.rewind().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/views/ocsf.py");
    let done = published("python3").arg(script).stdin(lines).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    let wrong: Vec<Vec<String>> = said
        .lines()
        .map(|line| {
            let mut said: Value = serde_json::from_str(line).unwrap();
            serde_json::from_value(said["wrong"].take()).unwrap()
        })
        .collect();
    assert_eq!(wrong.len(), events.len());
    wrong
}

#[test]
fn every_event_is_as_its_class_says() {
    let mut records = golden();
    let from_the_kernel = records.len();
    records.extend(own::records());
    let events = render_all(&records, View::Ocsf);
    let found: Vec<String> = wrong(&events)
        .iter()
        .zip(&events)
        .filter(|(wrong, _)| !wrong.is_empty())
        .map(|(wrong, event)| format!("{}: {wrong:?} in {event}", event["metadata"]["event_code"]))
        .collect();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), events.len(), found.join("\n"));
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        *classes.entry(format!("{} {}", event["type_uid"], event["activity_name"])).or_default() += 1;
    }
    let own = records.len() - from_the_kernel;
    println!("OCSF {OCSF}: {from_the_kernel} golden and {own} own records, none refused: {classes:?}");
}

/// The check sees a wrong key, a wrong type, a wrong number and a missing attribute, deep inside.
#[test]
fn what_the_class_does_not_say_is_refused() {
    let exec = golden().into_iter().find(|fields| fields["kind"] == "exec").unwrap();
    let event = render(0, &exec, View::Ocsf);
    let cases: &[(&str, super::Spoil)] = &[
        ("", |_| {}),
        ("Additional properties", |event| event["process"]["user"]["uidd"] = json!("0")),
        ("is not of type 'integer'", |event| event["process"]["pid"] = json!("1")),
        ("is not of type 'string'", |event| event["metadata"]["uid"] = json!(1)),
        ("is not one of", |event| event["activity_id"] = json!(6)),
        ("is a required property", |event| drop(event.as_object_mut().unwrap().remove("process"))),
        ("is not Launch", |event| event["activity_name"] = json!("Start")),
        ("No such file", |event| event["metadata"]["version"] = json!("0.0.1")),
    ];
    let events = spoiled(&event, cases);
    for ((expected, _), wrong) in cases.iter().zip(wrong(&events)) {
        assert_eq!(wrong.is_empty(), expected.is_empty(), "{expected}: {wrong:?}");
        assert!(wrong.join("\n").contains(expected), "{expected}: {wrong:?}");
    }
}
