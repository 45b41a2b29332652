//! What sealing costs, beside a plain SHA-256 of the same bytes: `cargo xtask bench --seal`.
//!
//! The events are those of the golden pairs (`tests/golden/`) again and again. The time is that of this thread, the best
//! of some rounds: other load on the machine counts little. The bars are those of the design of the log, where an event had
//! 381 bytes; these are longer, so only the ratio compares.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use seal::{BatchKind, Lines};
use sha2::{Digest as _, Sha256};

#[path = "../tests/common/mod.rs"]
mod common;

/// Events of a batch: as many as it has at most.
const EVENTS: usize = 8192;
/// How often everything is measured.
const ROUNDS: usize = 30;

fn main() -> ExitCode {
    let lines = lines();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let mut maker = common::Maker::new(common::ORIGIN, 1);
    let facts = common::facts(BatchKind::Events, 1);
    let [mut plain, mut hashed, mut sealed] = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        plain = plain.min(time(|| {
            let mut hash = Sha256::new();
            for line in &lines {
                hash.update(line);
            }
            black_box(hash.finalize());
        }));
        let mut batch = Lines::new();
        hashed = hashed.min(time(|| lines.iter().for_each(|line| batch.push(line).unwrap())));
        sealed = sealed.min(time(|| {
            black_box(maker.sealer.seal(&batch, &facts).unwrap());
            assert!(maker.sealer.advance());
        }));
    }
    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / EVENTS as f64;
    println!("{EVENTS} events of {} bytes", bytes / EVENTS);
    println!("plain SHA-256   {:8.3} µs an event", per_event(plain));
    let ratio = (hashed + sealed).as_secs_f64() / plain.as_secs_f64();
    let bars = [
        ("leaf and tree", per_event(hashed), 0.6, "µs an event"),
        ("seal", sealed.as_secs_f64() * 1e6, 100.0, "µs a batch"),
        ("all", ratio, 3.0, "times the plain SHA-256"),
    ];
    for (what, is, bar, unit) in bars {
        println!("{what:<15} {is:8.3} {unit}, the bar is {bar}{}", if is > bar { ": ABOVE" } else { "" });
    }
    if bars.iter().all(|(_, is, bar, _)| is <= bar) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What this thread took.
fn time(work: impl FnOnce()) -> Duration {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    let before = clock();
    work();
    Duration::from(clock() - before)
}

/// Event lines without their LF.
fn lines() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut files: Vec<_> = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "ndjson"));
    files.sort_unstable();
    let texts: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
    let lines: Vec<_> = lines.filter(|line| line.starts_with(b"{") && !line.starts_with(b"{\"sigtrail\"")).collect();
    lines.into_iter().cycle().take(EVENTS).map(<[u8]>::to_vec).collect()
}
