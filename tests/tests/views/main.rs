//! Records in the words of other schemas: as these are published, whole, and as docs/mapping.md says.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ecs;
mod ocsf;
mod own;
mod whole;

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Map, Value};
use sigtrail::view::{Event, View};

const ORIGIN: &str = "audit.example.org/sigtrail/test/1";

/// A record in place of its line.
type Fields = Map<String, Value>;

/// What makes an event wrong.
type Spoil = fn(&mut Value);

/// All records that are golden.
fn golden() -> Vec<Fields> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort_unstable();
    files.iter().flat_map(|file| records(&fs::read_to_string(file).unwrap())).collect()
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

/// A program of the published schemas, which `cargo xtask setup` installs.
fn published(program: &str) -> Command {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/schemas/bin")).join(program);
    assert!(path.is_file(), "{} is not there: run `cargo xtask setup`", path.display());
    Command::new(path)
}
