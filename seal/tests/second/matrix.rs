//! Every small change to a log of fifty batches, by both verifiers.

use seal::{BatchKind, Trust, Verdict, Verifier};

use crate::common::{INCOMPLETE, Log, Maker, ORIGIN, TAMPERED, facts, verify};
use crate::two::{Case, both};

/// Fifty batches: runs that stop and start again, and heartbeats between the events.
fn fifty() -> Log {
    let mut maker = Maker::new(ORIGIN, 1);
    for n in 1..50 {
        let kind = match n % 12 {
            1 => BatchKind::Start,
            0 => BatchKind::Stop,
            5 => BatchKind::Heartbeat,
            _ => BatchKind::Events,
        };
        let line = format!("{{\"seq\":\"{n}\"}}");
        let lines =
            if kind == BatchKind::Heartbeat { vec![] } else { vec![line.as_bytes(); 1 + usize::from(n % 4 == 2)] };
        maker.add(&lines, &facts(kind, n));
    }
    maker.finish()
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The crate tries every byte, from a snapshot before its batch: seventy-five thousand logs. The script tries each 67th.
#[test]
fn every_flipped_byte_is_noticed() {
    let log = fifty();
    let mut before = Verifier::new(log.trust());
    let (mut tried, mut survivors, mut sample) = (0, Vec::new(), Vec::new());
    for (n, batch) in log.batches.iter().enumerate() {
        for at in 0..batch.len() {
            let mut changed = batch.clone();
            changed[at] ^= 1 << (at % 8);
            let mut verifier = before.clone();
            verifier.read(changed.as_slice()).unwrap();
            if verifier.finish().findings.is_empty() {
                survivors.push((n, at));
            }
            if tried % 67 == 0 {
                let bytes = [log.batches[..n].concat(), changed, log.batches[n + 1..].concat()].concat();
                sample.push(Case::new(format!("batch {n}, byte {at}"), &log.trust(), bytes));
            }
            tried += 1;
        }
        for line in lines(batch) {
            before.push(&line[..line.len() - 1]);
        }
    }
    assert_eq!(survivors, [], "of {tried}");
    assert!(tried > 75_000 && sample.len() > 1_100, "{tried}");
    let verified = both(&sample).iter().filter(|answer| answer.0 == Verdict::Verified).count();
    assert_eq!(verified, 0);
}

#[test]
fn every_line_deleted_doubled_or_swapped_is_noticed() {
    let log = fifty();
    let bytes = log.bytes();
    let lines = lines(&bytes);
    let is_seal = |at: usize| lines[at].starts_with(b"{\"sigtrail");
    let mut cases = Vec::new();
    for at in 0..lines.len() {
        let mut add = |what: &str, changed: Vec<&[u8]>| {
            cases.push(Case::new(format!("line {at} {what}"), &log.trust(), changed.concat()));
        };
        // without the last seal the end is unsealed; a seal that comes again is a copy of its batch
        add("deleted", [&lines[..at], &lines[at + 1..]].concat());
        if !is_seal(at) {
            add("doubled", [&lines[..=at], &lines[at..]].concat());
        }
        for other in [at + 1, at + 7].into_iter().filter(|other| *other < lines.len() && lines[at] != lines[*other]) {
            let mut changed = lines.clone();
            changed.swap(at, other);
            add("swapped", changed);
        }
    }
    for (case, answer) in cases.iter().zip(both(&cases)) {
        assert_ne!(answer.0, Verdict::Verified, "{}", case.name);
    }
}

#[test]
fn every_batch_deleted_or_swapped_is_noticed_and_twice_is_no_change() {
    let log = fifty();
    let head = verify(log.trust(), &log.bytes()).last.unwrap();
    let known = Trust { heads: vec![head], ..log.trust() };
    let (mut cases, mut expected) = (Vec::new(), Vec::new());
    for n in 0..log.batches.len() {
        let mut add = |what: &str, trust: &Trust, batches: &[Vec<u8>], verdict| {
            cases.push(Case::new(format!("batch {n} {what}"), trust, batches.concat()));
            expected.push(verdict);
        };
        let mut without = log.batches.clone();
        without.remove(n);
        // a pinned key does not replace the beginning; without the last one the log is a shorter log
        let last = n + 1 == log.batches.len();
        add("deleted", &log.trust(), &without, if last { Verdict::Verified } else { INCOMPLETE });
        add("deleted, head known", &known, &without, INCOMPLETE);
        add("twice", &log.trust(), &[&log.batches[..=n], &log.batches[n..]].concat(), Verdict::Verified);
        for other in [n + 1, n + 20].into_iter().filter(|other| *other < log.batches.len()) {
            let mut swapped = log.batches.clone();
            swapped.swap(n, other);
            // all of them are as they were sealed, and one that comes late has nothing to be compared with
            add("swapped", &log.trust(), &swapped, INCOMPLETE);
        }
    }
    for ((case, answer), expected) in cases.iter().zip(both(&cases)).zip(expected) {
        assert_eq!(answer.0, expected, "{}: {answer:?}", case.name);
    }
}

/// A log that ends between two batches is a whole log, only shorter: no seal can say what came after it. A head known
/// from elsewhere does, and then each prefix is incomplete.
#[test]
fn every_prefix_is_noticed_or_needs_a_known_head() {
    let log = fifty();
    let bytes = log.bytes();
    let head = verify(log.trust(), &bytes).last.unwrap();
    let known = Trust { heads: vec![head], ..log.trust() };
    let mut ends = vec![0];
    log.batches.iter().for_each(|batch| ends.push(ends[ends.len() - 1] + batch.len()));
    let cuts = || (0..bytes.len()).step_by(397).chain(ends.iter().copied()).filter(|cut| *cut < bytes.len());
    let mut cases = Vec::new();
    for cut in cuts() {
        cases.push(Case::new(format!("cut at {cut}"), &log.trust(), bytes[..cut].to_vec()));
        cases.push(Case::new(format!("cut at {cut}, head known"), &known, bytes[..cut].to_vec()));
    }
    for (pair, cut) in both(&cases).chunks(2).zip(cuts()) {
        let whole = cut > 0 && ends.contains(&cut);
        assert_eq!(pair[0].0, if whole { Verdict::Verified } else { INCOMPLETE }, "cut at {cut}");
        assert_eq!(pair[1].0, INCOMPLETE, "cut at {cut}, head known");
    }
}

#[test]
fn every_splice_of_two_hosts_is_noticed() {
    let (log, other) = (fifty(), crate::common::log("audit.example.org/sigtrail/other/1", 9));
    let same_name = crate::common::log(ORIGIN, 9);
    let mut cases = Vec::new();
    for n in 1..6 {
        for (what, other) in [("another", &other), ("one of the same name", &same_name)] {
            let bytes = [&log.batches[..n], &other.batches[n..]].concat().concat();
            cases.push(Case::new(format!("{what} from batch {n}"), &log.trust(), bytes.clone()));
            cases.push(Case::new(format!("{what} from batch {n}, no key"), &Trust::default(), bytes));
        }
    }
    for (case, answer) in cases.iter().zip(both(&cases)) {
        assert_eq!(answer.0, TAMPERED, "{}", case.name);
    }
}
