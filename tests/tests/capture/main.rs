//! Captures of the finished agent: what is in a bundle, who may have one, what it may cost, and what a verifier finds.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod load;
mod rights;
mod scene;
mod tamper;
mod trigger;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command},
};

use seal::bundle::{BLOCK, Head};
use serde_json::Value;
use tests::host::{Host, Ran, run, until, verifier};

/// The members of a bundle, in their order.
fn members(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(bundle).unwrap();
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    let mut rest = tar.as_slice();
    let mut found = Vec::new();
    loop {
        let mut block = [0; BLOCK];
        rest.read_exact(&mut block).unwrap();
        if block == [0; BLOCK] {
            return found;
        }
        let head = Head::parse(&block).unwrap();
        let (member, behind) = rest.split_at(head.size as usize);
        found.push((head.name.clone(), member.to_vec()));
        rest = &behind[head.padding()..];
    }
}

/// The same by name.
fn by_name(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    members(bundle).into_iter().collect()
}

/// The objects of a member that has one in each line.
fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// All events of a bundle.
fn events(members: &BTreeMap<String, Vec<u8>>) -> Vec<Value> {
    let parts = members.iter().filter(|(name, _)| name.starts_with("events/"));
    parts.flat_map(|(_, bytes)| lines(bytes)).collect()
}

/// Verifies a bundle in a directory where there is nothing else: the exit code and the report.
fn verify(bundle: &Path, options: &[&str]) -> (i32, Value) {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(bundle, elsewhere.path().join("case.sigtrail")).unwrap();
    let mut command = Command::new(verifier());
    let ran = run(command.current_dir(elsewhere.path()).args(["--json", "case.sigtrail"]).args(options));
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code.unwrap(), report)
}

/// A process that does nothing, and has none below it.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Asks for a capture.
fn capture(host: &Host, options: &[&str]) -> Ran {
    run(host.command("capture").args(options))
}

/// The records of captures with this result.
fn records(host: &Host, result: &str) -> Vec<Value> {
    let batches = host.batches();
    let records = batches.iter().flat_map(|batch| batch.of_kind("agent.capture").into_iter().cloned());
    records.filter(|record| record["result"] == result).collect()
}

/// Waits for so many records of captures with this result.
fn recorded(host: &Host, result: &str, count: usize) -> Vec<Value> {
    until("a record of a capture", || Some(records(host, result)).filter(|it| it.len() >= count))
}

/// Lets everybody look into the directory of a host.
fn open_to_all(host: &Host) {
    fs::set_permissions(host.path("."), fs::Permissions::from_mode(0o755)).unwrap();
}
