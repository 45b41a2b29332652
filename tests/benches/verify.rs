//! How fast `sigtrail-verify` is, and how much memory it takes: `cargo bench -p tests --bench verify`. The log has a
//! million events, which are those of the golden pairs (`tests/golden/`) again and again, in batches as a busy host makes
//! them. `SIGTRAIL_VERIFY` names the verifier, a release build.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use seal::BatchKind;

#[path = "../../seal/tests/common/mod.rs"]
mod common;

const EVENTS: usize = 1_000_000;
/// Events of a batch: 5 s of a host with 100 events in a second.
const BATCH: usize = 500;
/// The bar: events in a minute of one core, and the memory of the largest of all runs in KiB.
const PER_MINUTE: f64 = 1e6;
const MEMORY: i64 = 64 << 10;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("log.ndjson");
    let key = make(&plain);
    let packed = dir.path().join("log.ndjson.zst");
    let done = Command::new("zstd").args(["-q", "-1"]).arg(&plain).status().unwrap();
    assert!(done.success());
    let mut all_good = true;
    for (what, log) in [("plain", &plain), ("zstd", &packed)] {
        let bytes = fs::metadata(log).unwrap().len();
        let before = used();
        let done = Command::new(tests::host::verifier()).args(["--key", &key]).arg(log).output().unwrap();
        let seconds = used() - before;
        assert!(done.status.success(), "{done:?}");
        let per_minute = EVENTS as f64 / seconds * 60.0;
        // of all children so far: the larger log first would hide the smaller one, so both must keep the bar
        let memory = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
        println!(
            "{what:<6} {EVENTS} events, {} MB: {seconds:.2} s of CPU, {:.1} million events a minute, {memory} KiB at most",
            bytes / 1_000_000,
            per_minute / 1e6,
        );
        all_good &= per_minute >= PER_MINUTE && memory <= MEMORY;
    }
    assert!(all_good, "below {PER_MINUTE} events a minute, or above {MEMORY} KiB");
}

/// CPU seconds of all children so far.
fn used() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// Writes the log; its key.
fn make(path: &Path) -> String {
    let golden = tests::golden::lines().concat();
    let mut lines = golden.iter().map(String::as_bytes).cycle();
    let mut maker = common::Maker::new(common::ORIGIN, 1);
    maker.add(&[br#"{"kind":"agent.start"}"#], &common::facts(BatchKind::Start, 1));
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..(EVENTS / BATCH) as u64 {
        let events: Vec<&[u8]> = lines.by_ref().take(BATCH).collect();
        let mut facts = common::facts(BatchKind::Events, number + 2);
        facts.clock.step_ns = 0;
        maker.add(&events, &facts);
        for batch in maker.batches.drain(..) {
            file.write_all(&batch).unwrap();
        }
    }
    file.flush().unwrap();
    maker.finish().key.to_string()
}
