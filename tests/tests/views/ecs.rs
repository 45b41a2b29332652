//! ECS, as the types say that are made from its release, and as it says which types go with which category.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use serde_json::{Value, json};
use sigtrail::view::{ECS, View};

use super::{golden, own, published, render, render_all, spoiled};

/// The types that ECS allows with the categories that we use (`expected_event_types` of `event.category`).
const TYPES: &[(&str, &[&str])] = &[
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("driver", &["change", "end", "info", "start"]),
    ("file", &["access", "change", "creation", "deletion", "info"]),
    ("host", &["access", "change", "end", "info", "start"]),
    ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
    ("process", &["access", "change", "end", "info", "start"]),
];

/// What the compiler of TypeScript says of events as literals of the published type: in such a literal a key that the
/// type does not have is an error. Of each event its first complaint.
fn wrong(events: &[Value]) -> BTreeMap<usize, String> {
    let dir = tempfile::tempdir().unwrap();
    let tools = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/schemas/node_modules")).unwrap();
    let types = tools.join("@elastic/ecs/build/esm/index");
    let mut text = format!("import type {{ Ecs }} from {:?};\n", types.to_str().unwrap());
    text += "export type Event = Ecs & { sigtrail: Record<string, unknown> };\n";
    let head = text.lines().count();
    for (at, event) in events.iter().enumerate() {
        writeln!(text, "export const e{at}: Event = {event};").unwrap();
    }
    let file = dir.path().join("events.ts");
    fs::write(&file, text).unwrap();
    let compiler = tools.join("typescript/bin/tsc");
    let mut tsc = published("node");
    tsc.arg(compiler).args(["--noEmit", "--strict", "--pretty", "false"]).arg(&file);
    let done = tsc.current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let mut wrong = BTreeMap::new();
    for line in said.lines().filter(|line| !line.starts_with(' ')) {
        // events.ts(12,5): error TS2353: …
        let at = line.strip_prefix("events.ts(").and_then(|line| line.split(',').next()).and_then(|at| at.parse().ok());
        let at: usize = at.unwrap_or_else(|| panic!("{said}"));
        wrong.entry(at - head - 1).or_insert_with(|| line.to_owned());
    }
    assert_eq!(done.status.success(), wrong.is_empty(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    wrong
}

#[test]
fn every_event_is_as_the_types_say() {
    let mut records = golden();
    let from_the_kernel = records.len();
    records.extend(own::records());
    let events = render_all(&records, View::Ecs);
    let found: Vec<String> = wrong(&events).iter().map(|(at, why)| format!("{why}\n  {}", events[*at])).collect();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), events.len(), found.join("\n"));
    let mut actions: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        let category = event["event"]["category"][0].as_str().unwrap();
        let (_, allowed) = TYPES.iter().find(|(name, _)| *name == category).unwrap();
        for ty in event["event"]["type"].as_array().unwrap() {
            assert!(allowed.contains(&ty.as_str().unwrap()), "{category} {ty}");
        }
        assert_eq!(event["ecs"]["version"], ECS);
        *actions.entry(format!("{category} {}", event["event"]["action"].as_str().unwrap())).or_default() += 1;
    }
    let own = records.len() - from_the_kernel;
    println!("ECS {ECS}: {from_the_kernel} golden and {own} own records, none refused: {actions:?}");
}

/// The check sees a wrong key and a wrong type, deep inside, and a field that must be there.
#[test]
fn what_the_types_do_not_say_is_refused() {
    let exec = golden().into_iter().find(|fields| fields["kind"] == "exec").unwrap();
    let event = render(0, &exec, View::Ecs);
    let cases: &[(&str, super::Spoil)] = &[
        ("", |_| {}),
        ("'\"pidd\"' does not exist", |event| event["process"]["pidd"] = json!(1)),
        ("'\"idd\"' does not exist", |event| event["process"]["parent"]["user"] = json!({"idd": "0"})),
        ("'\"unmapped\"' does not exist", |event| event["unmapped"] = json!({})),
        ("'string' is not assignable to type 'number'", |event| event["process"]["pid"] = json!("1")),
        ("'number' is not assignable to type 'string'", |event| event["user"]["id"] = json!(0)),
        ("is not assignable", |event| drop(event.as_object_mut().unwrap().remove("@timestamp"))),
        ("is not assignable", |event| event["ecs"]["version"] = json!("1.0.0")),
    ];
    let events = spoiled(&event, cases);
    let wrong = wrong(&events);
    for (at, (expected, _)) in cases.iter().enumerate() {
        let said = wrong.get(&at).map_or("", String::as_str);
        assert_eq!(said.is_empty(), expected.is_empty(), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
