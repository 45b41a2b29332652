//! C3: kill -9 under load, of agents with a real receiver.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use seal::BatchKind;
use sigtrail::{
    sealed::{is_seal, number_in},
    spool::{Next, Reader},
};
use tests::{
    host::{Host, Sealed, bytes, until},
    nginx::{self, Nginx},
};

/// So many agents are killed side by side, each with a host and a receiver of its own: most of a round is waiting.
const AT_ONCE: u64 = 2;

#[test]
fn a_hundred_kills_cost_what_was_not_sealed_and_are_told() {
    kills(100);
}

#[test]
#[ignore = "a quarter of an hour"]
fn a_thousand_kills() {
    kills(1000);
}

fn kills(count: u64) {
    thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| rounds(count / AT_ONCE));
        }
    });
}

fn rounds(count: u64) {
    let host = Host::new("");
    let dir = host.path("nginx");
    fs::create_dir(&dir).unwrap();
    let nginx = Nginx::start(&dir, &nginx::Options { tls: nginx::Tls::No, ..nginx::Options::default() }).unwrap();
    // not required: the spool keeps all, to compare with
    host.configure(&format!("sinks: [{{ type: http, name: web, url: '{}', required: false }}]", nginx.url()));
    let mut last = 0;
    for round in 0..count {
        let agent = host.start();
        let from = newest(&host, last);
        let kept = under_load(&host, round, || {
            until("batches under load", || (newest(&host, from) > from + 2 + round % 3).then_some(()));
            // at another moment of a batch each time
            thread::sleep(Duration::from_millis(round * 7 % 50));
            agent.kill();
        });
        assert!(kept > 0);
        let number = newest(&host, from);
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    let agent = host.start();
    until("the sink to have all", || (host.status()["sinks"][0]["lag"] == 0).then_some(()));
    assert_eq!(agent.stop().0, Some(0));
    check(&host, count);
    // what it said yes to is on the disk as it was sent, and it has all that is there
    assert!(received(&nginx) == bytes(&host.path("state/spool")));
}

/// The number of the last batch on disk, of which at least this one is there.
fn newest(host: &Host, after: u64) -> u64 {
    let mut reader = Reader::open(&host.path("state/spool"), Some(after));
    let mut newest = after;
    while let Next::Batch(batch) = reader.next().unwrap() {
        newest = batch.number;
    }
    newest
}

/// The batches that a receiver said yes to: each the first time in order, and what came again is the same batch.
pub fn received(nginx: &Nginx) -> Vec<Vec<u8>> {
    let mut received: Vec<Vec<u8>> = Vec::new();
    let mut again = 0;
    for body in nginx.accepted() {
        let body = zstd::decode_all(&*fs::read(body).unwrap()).unwrap();
        let (mut from, mut at) = (0, 0);
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            at += line.len();
            if is_seal(line) {
                let number = number_in(line).unwrap() as usize;
                assert!(number <= received.len(), "batch {number} before {}", received.len());
                match received.get(number) {
                    Some(before) => {
                        assert!(before == &body[from..at], "another batch {number} was sent");
                        again += 1;
                    }
                    None => received.push(body[from..at].to_vec()),
                }
                from = at;
            }
        }
        assert_eq!(from, body.len(), "half a batch");
    }
    println!("{} batches were received, {again} of them again", received.len());
    received
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
        // a test that fails must end, too
        let done = catch_unwind(AssertUnwindSafe(and));
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
        done.unwrap_or_else(|panic| resume_unwind(panic));
    });
    made.into_inner()
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
