//! kill -9 under load.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use seal::BatchKind;
use tests::host::{Host, Sealed, until};

#[test]
fn a_kill_costs_what_was_not_sealed_and_is_told() {
    rounds(5);
}

#[test]
#[ignore = "four minutes"]
fn a_hundred_kills() {
    rounds(100);
}

fn rounds(count: u64) {
    let host = Host::new("");
    let mut before = 0;
    for round in 0..count {
        let agent = host.start();
        let kept = under_load(&host, round, || {
            let from = last(&host);
            // at another moment of a batch each time
            until("batches under load", || (last(&host) > from + 2 + round % 3).then_some(()));
            agent.kill();
        });
        assert!(kept > 0);
        let number = host.batches().last().unwrap().header.batch;
        assert!(number > before, "{number} after {before}");
        before = number;
    }
    let agent = host.start();
    assert_eq!(agent.stop().0, Some(0));
    check(&host, count);
}

/// Makes events that the policy keeps while `and` goes on; how many there were.
fn under_load(host: &Host, round: u64, and: impl FnOnce()) -> u64 {
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|threads| {
        let load = threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = made.fetch_add(1, Ordering::Relaxed);
                let file = host.path(&format!("load/{round}-{number}"));
                fs::write(&file, "").unwrap();
                fs::remove_file(&file).unwrap();
                if number.is_multiple_of(64) {
                    assert!(Command::new("/bin/true").status().unwrap().success());
                }
            }
        });
        and();
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    made.into_inner()
}

fn last(host: &Host) -> u64 {
    host.status()["last_batch"].as_u64().unwrap()
}

/// The log of so many kills: whole, numbered on, each end without a stop told with the gap.
fn check(host: &Host, kills: u64) {
    let report = host.verified();
    assert_eq!(report["unclean"]["count"], kills, "{report:#}");
    assert_eq!(report["starts"], kills + 1);
    let sealed = host.batches();
    for (at, batch) in sealed.iter().enumerate() {
        assert_eq!(batch.header.batch, at as u64);
    }
    let mut recovered = 0;
    for (before, batch) in sealed.iter().zip(&sealed[1..]) {
        let told = batch.of_kind("agent.recovered");
        if batch.header.facts.kind == BatchKind::Recovered {
            let [told] = told.as_slice() else { panic!("batch {}: {:?}", batch.header.batch, batch.lines) };
            assert_eq!(told["last_batch"], before.header.batch.to_string());
            assert!(told["gap_seconds"].is_u64() && told["cut_bytes"].is_u64(), "{told}");
            recovered += 1;
        } else {
            assert!(told.is_empty(), "batch {}", batch.header.batch);
        }
    }
    assert_eq!(recovered, kills);
    assert_eq!(sealed.last().unwrap().header.facts.kind, BatchKind::Stop);
    no_holes(&sealed, &host.path("load"));
}

/// Within a run each file that was made between the first and the last one that were seen is seen, or counted as lost.
fn no_holes(sealed: &[Sealed], load: &Path) {
    let prefix = format!("{}/", load.display());
    let lost: u64 = sealed.iter().map(|batch| batch.header.facts.lost).sum();
    let mut seen: BTreeSet<(u64, u64)> = BTreeSet::new();
    for line in sealed.iter().flat_map(|batch| batch.of_kind("open")) {
        // what touches the agent's own files is told too
        let Some(name) = line["path"].as_str().unwrap().strip_prefix(&prefix) else { continue };
        let (round, number) = name.split_once('-').unwrap();
        seen.insert((round.parse().unwrap(), number.parse().unwrap()));
    }
    let mut holes = 0;
    for (one, next) in seen.iter().zip(seen.iter().skip(1)) {
        if one.0 == next.0 {
            holes += next.1 - one.1 - 1;
        }
    }
    assert!(holes <= lost, "{holes} of {} are missing, {lost} are told as lost", seen.len());
}
