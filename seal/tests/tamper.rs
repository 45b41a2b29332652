//! Every small change to a log is noticed.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{Log, ORIGIN, log, verify};
use seal::{BatchKind, Trust, Verdict, Verifier};

#[test]
fn an_honest_log_verifies_and_reports_what_it_says() {
    let log = log(ORIGIN, 1);
    for trust in [log.trust(), Trust::default()] {
        let pinned = !trust.pins.is_empty();
        let report = verify(trust, &log.bytes());
        assert_eq!(report.verdict(), Verdict::Verified, "{:#?}", report.findings);
        assert_eq!((report.batches, report.events, report.lost, report.pinned), (6, 7, 2, pinned));
        assert_eq!(report.lost_by_hook.get("lsm/bprm_check_security"), Some(&2));
        assert_eq!(report.steps.iter().collect::<Vec<_>>(), [&(3, -2_000_000_000)]);
        assert_eq!(report.policies.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(), [3]);
        assert_eq!((report.starts, report.unclean.count(), report.gaps.count()), (1, 0, 1));
        assert_eq!(report.last.map(|head| head.size), Some(6));
        assert_eq!(report.last_kind, Some(BatchKind::Stop));
    }
}

/// Whether the batches with one of them exchanged go through unnoticed. The verifier is taken from a snapshot before
/// the exchanged batch, which is the same as from the beginning, and much faster.
fn survives(snapshot: &Verifier, changed: &[u8], after: &[Vec<u8>]) -> bool {
    let mut verifier = snapshot.clone();
    let whole = changed.ends_with(b"\n");
    if whole {
        push(&mut verifier, changed);
        if !verifier.report().findings.is_empty() {
            return false;
        }
    }
    // rare: nothing seen in the batch itself, so the rest must tell
    let mut verifier = snapshot.clone();
    verifier.read([changed, &after.concat()].concat().as_slice()).unwrap();
    verifier.finish().findings.is_empty()
}

#[test]
fn no_changed_byte_survives() {
    let Log { batches, key } = log(ORIGIN, 1);
    let mut snapshot = Verifier::new(Trust { pins: vec![key], ..Trust::default() });
    let (mut tried, mut survivors) = (0, Vec::new());
    for (n, batch) in batches.iter().enumerate() {
        for at in 0..batch.len() {
            let was = batch[at];
            for now in [was ^ 1, was ^ 0x20, was ^ 0x80, b'A', b' ', b'\n', b'"', 0] {
                if now == was {
                    continue;
                }
                let mut changed = batch.clone();
                changed[at] = now;
                tried += 1;
                if survives(&snapshot, &changed, &batches[n + 1..]) {
                    survivors.push((n, at, was, now));
                }
            }
        }
        push(&mut snapshot, batch);
    }
    assert_eq!(survivors, [], "of {tried}");
    assert!(tried > 70_000, "{tried}");
}

#[test]
fn no_deleted_inserted_or_moved_byte_or_line_survives() {
    let log = log(ORIGIN, 1);
    let bytes = log.bytes();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let noticed = |lines: &[&[u8]]| !verify(log.trust(), &lines.concat()).findings.is_empty();
    for one in 0..lines.len() {
        let mut changed = lines.clone();
        changed.remove(one);
        assert!(one + 1 == lines.len() || noticed(&changed), "line {one} deleted");
        let mut changed = lines.clone();
        changed.insert(one, lines[one]);
        // a seal that comes again is a copy of its batch: no change, and counted
        let seal = lines[one].starts_with(b"{\"sigtrail");
        assert_eq!(noticed(&changed), !seal, "line {one} doubled");
        assert_eq!(verify(log.trust(), &changed.concat()).duplicates, u64::from(seal), "line {one} doubled");
        for other in one + 1..lines.len() {
            let mut changed = lines.clone();
            changed.swap(one, other);
            assert!(noticed(&changed), "lines {one} and {other} swapped");
        }
    }
    for at in (0..bytes.len()).step_by(7) {
        let without = [&bytes[..at], &bytes[at + 1..]].concat();
        assert!(!verify(log.trust(), &without).findings.is_empty(), "byte {at} deleted");
        let with = [&bytes[..at], b" ", &bytes[at..]].concat();
        assert!(!verify(log.trust(), &with).findings.is_empty(), "byte {at} inserted");
    }
}

#[test]
fn no_truncation_survives_but_one_between_batches() {
    let log = log(ORIGIN, 1);
    let head = verify(log.trust(), &log.bytes()).last.unwrap();
    let known = Trust { heads: vec![head], ..log.trust() };
    let mut snapshot = Verifier::new(log.trust());
    for (n, batch) in log.batches.iter().enumerate() {
        for cut in 0..batch.len() {
            let mut verifier = snapshot.clone();
            verifier.read(&batch[..cut]).unwrap();
            let unseen = verifier.finish().findings.is_empty();
            assert_eq!(unseen, n > 0 && cut == 0, "batch {n} cut at {cut}");
        }
        let report = verify(known.clone(), &log.batches[..n].concat());
        assert!(report.findings.iter().any(|found| found.to_string().contains("a known head has 6 batches")));
        push(&mut snapshot, batch);
    }
}

fn push(verifier: &mut Verifier, batch: &[u8]) {
    for line in batch[..batch.len() - 1].split(|byte| *byte == b'\n') {
        verifier.push(line);
    }
}

#[test]
fn no_batch_is_missed_or_moved_unseen() {
    let log = log(ORIGIN, 1);
    let count = log.batches.len();
    for one in 0..count {
        let mut changed = log.batches.clone();
        changed.remove(one);
        let noticed = !verify(log.trust(), &changed.concat()).findings.is_empty();
        assert!(noticed || one + 1 == count, "batch {one} deleted");
        for other in one + 1..count {
            let mut changed = log.batches.clone();
            changed.swap(one, other);
            assert!(!verify(log.trust(), &changed.concat()).findings.is_empty(), "{one} and {other} swapped");
        }
        // delivery is at least once
        for other in one..count {
            let again = [&log.batches[..=other], &log.batches[one..]].concat().concat();
            let report = verify(log.trust(), &again);
            assert_eq!(report.verdict(), Verdict::Verified, "{one}..={other} twice: {:?}", report.findings);
            assert_eq!((report.batches, report.duplicates), (6, (other - one) as u64 + 1));
        }
    }
}
