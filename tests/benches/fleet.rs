//! How much faster `sigtrail-verify` reads the archive of a fleet with more threads: `cargo bench -p tests --bench fleet`.
//! 200 hosts, each with 10 batches of 100 events in the form of the receiver's store; the events are those of the golden
//! pairs (`tests/golden/`). `SIGTRAIL_VERIFY` names the verifier, a release build.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use seal::{BatchKind, Facts, frame};

#[path = "../../seal/tests/common/mod.rs"]
mod common;

const HOSTS: u64 = 200;
const BATCHES: u64 = 10;
const EVENTS: usize = 100;
const ROUNDS: usize = 5;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let cores = thread::available_parallelism().unwrap();
    println!("{HOSTS} hosts, {BATCHES} batches of {EVENTS} events each, {cores} cores; the best of {ROUNDS}");
    // in turn: what else this machine does hits all alike
    let mut best = BTreeMap::new();
    let mut reports = BTreeSet::new();
    for jobs in [1, 2, 4].repeat(ROUNDS) {
        let (wall, report) = verify(dir.path(), jobs);
        best.entry(jobs).and_modify(|best: &mut Duration| *best = wall.min(*best)).or_insert(wall);
        reports.insert(report);
    }
    assert_eq!(reports.len(), 1, "the report depends on the number of jobs");
    for (jobs, wall) in &best {
        let ratio = best[&1].as_secs_f64() / wall.as_secs_f64();
        println!("{jobs} jobs: {:.2} s, {ratio:.2} times as fast", wall.as_secs_f64());
    }
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("{memory} KiB at most");
}

fn verify(dir: &Path, jobs: usize) -> (Duration, String) {
    let mut command = Command::new(tests::host::verifier());
    command.arg("--key").arg(dir.join("keys")).args(["--jobs", &jobs.to_string()]).arg(dir.join("hosts"));
    let before = Instant::now();
    let done = command.output().unwrap();
    let wall = before.elapsed();
    let report = String::from_utf8(done.stdout).unwrap();
    assert!(report.ends_with(&format!("{HOSTS} logs: {HOSTS} verified\n")), "{report}");
    (wall, report)
}

fn make(dir: &Path) {
    let golden = tests::golden::lines().concat();
    let mut lines = golden.iter().map(String::as_bytes).cycle();
    let mut keys = String::new();
    for host in 0..HOSTS {
        let origin = format!("host-{host:03}.example.org/sigtrail");
        let mut maker = common::Maker::new(&origin, host as u8);
        for number in 1..=BATCHES {
            let kind = if number == 1 { BatchKind::Start } else { BatchKind::Events };
            let mut facts = Facts { host: format!("host-{host:03}"), ..common::facts(kind, number) };
            facts.clock.step_ns = 0;
            let events: Vec<&[u8]> = lines.by_ref().take(EVENTS).collect();
            maker.add(&events, &facts);
        }
        let log = maker.finish();
        keys.extend([log.key.to_string().as_str(), "\n"]);
        let place = dir.join("hosts").join(format!("host-{host:03}"));
        fs::create_dir_all(place.join("log")).unwrap();
        fs::write(place.join("origin"), format!("{origin}\n")).unwrap();
        let mut segment = Vec::new();
        for (number, batch) in (0..).zip(&log.batches) {
            frame::write(number, &zstd::bulk::compress(batch, 1).unwrap(), &mut segment).unwrap();
        }
        fs::write(place.join("log/seg-00000000000000000000.stl"), segment).unwrap();
    }
    fs::write(dir.join("keys"), keys).unwrap();
}
