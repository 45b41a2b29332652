//! Seals a small log as the agent does, with the agent's own code, and no kernel half: `seal-log STATE_DIR`. It is made
//! to be killed at every step (tests/tests/crash/steps.rs). A log that is there goes on.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{env, path::PathBuf, time::Duration};

use seal::BatchKind;
use sigtrail::{
    batch::Limits,
    clock::Now,
    keys::{Keys, KeysError},
    pipeline::{Closed, Log, LogError, LogOptions},
    source::Own,
    spool,
};

fn main() {
    let state_dir = PathBuf::from(env::args_os().nth(1).unwrap());
    let hour = Duration::from_hours(1);
    let limits = Limits { age: hour, alert_age: hour, lines: 100, bytes: 1 << 20, heartbeat: hour };
    // a segment holds one batch or two
    let spool = spool::Options { segment_bytes: 2048, ..spool::Options::new(state_dir.join("spool")) };
    let options = LogOptions { state_dir: state_dir.clone(), spool, limits };
    match Log::enrol(options.clone(), "test.example.org/steps", false, Now::read().unwrap()) {
        Ok(_) | Err(LogError::Keys(KeysError::Enrolled(_))) => {}
        Err(error) => panic!("{error}"),
    }
    let mut log = Log::open(options, Now::read().unwrap()).unwrap();
    let first = log.first_kind();
    if let Some(own) = log.take_recovered() {
        log.own(&own, Now::read().unwrap()).unwrap();
    }
    for kind in [first, BatchKind::Events, BatchKind::Heartbeat, BatchKind::Events, BatchKind::Stop] {
        if kind == BatchKind::Heartbeat {
            // the next batch is that of a rotation; one that was asked for before a kill still waits
            match Keys::make_next(&state_dir) {
                Ok(_) | Err(KeysError::Waiting(_)) => {}
                Err(error) => panic!("{error}"),
            }
        } else {
            log.own(&Own::Policy { text: "rules".into() }, Now::read().unwrap()).unwrap();
        }
        log.seal(kind, &Closed::default(), [7; 32], Vec::new(), &[], Now::read().unwrap()).unwrap();
        log.store().unwrap();
    }
}
