//! Golden pairs: `golden/<kind>.events`, as the kernel half sent them once, and the lines that they become.

use std::{env, fs, process::Command};

use common::Kind;
use serde_json::Value;
use tests::host::{run, sigtrail};

use crate::{schema, stream};

#[test]
fn every_kind_has_a_golden_pair() {
    let out = tempfile::tempdir().unwrap();
    let ran = run(Command::new(sigtrail()).args(["docs", "--out"]).arg(out.path()));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let schema = fs::read(out.path().join("event.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    for kind in Kind::ALL {
        check(*kind, &schema);
    }
}

/// What `tail --replay` says to the events is what is written down, canonical, and as the schema declares it.
fn check(kind: Kind, root: &Value) {
    let (events, written) = (stream::golden(kind, "events"), stream::golden(kind, "ndjson"));
    let ran = run(Command::new(sigtrail()).args(["tail", "--all", "--json", "--replay"]).arg(&events));
    assert_eq!(ran.code, Some(0), "{}: {ran:?}", kind.name());
    if env::var_os("SIGTRAIL_BLESS").is_some() {
        fs::write(&written, &ran.out).unwrap();
    }
    let expected = fs::read_to_string(&written).unwrap_or_else(|error| panic!("{}: {error}", written.display()));
    for (at, (is, was)) in ran.out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, was, "{}, line {}: SIGTRAIL_BLESS=1 writes them anew", written.display(), at + 1);
    }
    assert!(ran.out == expected, "{}: {} lines", written.display(), ran.out.lines().count());

    let mut found = 0;
    for line in ran.out.lines() {
        seal::jcs::check(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
        let value: Value = serde_json::from_str(line).unwrap();
        let name = value["kind"].as_str().unwrap();
        found += usize::from(name == kind.name());
        let of_kind = root["oneOf"].as_array().unwrap().iter().find(|it| it["properties"]["kind"]["const"] == name);
        schema::check(root, of_kind.unwrap(), &value).unwrap_or_else(|why| panic!("{why} in {line}"));
    }
    assert!(found > 0, "{} has no event of the kind", events.display());
}

/// The stream is edited, see `record.rs`: nobody's process does a call as root, and none that made it root.
#[test]
fn credentials_from_nowhere_are_an_alert() {
    let events = stream::golden(Kind::CredChange, "events");
    let ran = run(Command::new(sigtrail()).args(["tail", "--json", "--replay"]).arg(&events));
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind: Vec<_> = lines.iter().filter(|line| line["kind"] == "cred_change").collect();
    assert_eq!(of_kind.len(), 1, "{ran:?}");
    assert_eq!(of_kind[0]["policy"]["verdict"], "alert");
    assert_eq!((&of_kind[0]["old_euid"], &of_kind[0]["euid"]), (&65534.into(), &0.into()));
}
