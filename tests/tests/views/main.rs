//! Records in the words of other schemas: as these are published, whole, and as docs/mapping.md says.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ecs;
mod ocsf;
mod own;
mod whole;

use std::{path::PathBuf, process::Command};

use serde_json::{Map, Value};
use sigtrail::view::{Event, View};

const ORIGIN: &str = "audit.example.org/sigtrail/test/1";

/// A record in place of its line.
type Fields = Map<String, Value>;

/// What makes an event wrong.
type Spoil = fn(&mut Value);

/// All records that are golden.
fn golden() -> Vec<Fields> {
    tests::golden::lines().iter().flat_map(|lines| records(&lines.join("\n"))).collect()
}

fn records(lines: &str) -> Vec<Fields> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn render(index: u64, fields: &Fields, view: View) -> Value {
    Event { origin: ORIGIN, batch: 7, index, sealed: 0, line: "", fields: fields.clone() }.render(view)
}

fn render_all(records: &[Fields], view: View) -> Vec<Value> {
    records.iter().zip(0..).map(|(fields, index)| render(index, fields, view)).collect()
}

/// An event, spoiled in the way of each case.
fn spoiled(event: &Value, cases: &[(&str, Spoil)]) -> Vec<Value> {
    let spoil = |(_, spoil): &(&str, Spoil)| {
        let mut event = event.clone();
        spoil(&mut event);
        event
    };
    cases.iter().map(spoil).collect()
}

/// A program of the published schemas, which `cargo xtask setup` installs.
fn published(program: &str) -> Command {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/schemas/bin")).join(program);
    assert!(path.is_file(), "{} is not there: run `cargo xtask setup`", path.display());
    Command::new(path)
}
