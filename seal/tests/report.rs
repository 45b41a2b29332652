//! What the verifier's report tells of a log.

mod common;

use common::{INCOMPLETE, Maker, ORIGIN, TAMPERED, check, facts, log, verify};
use seal::cosign::{Receipt, Witness};
use seal::verify::Capped;
use seal::{Account, BatchKind, Cpu, Trust, Verdict, Verifier};

#[test]
fn what_a_report_tells() {
    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
    for (n, (host, version)) in [("web-1", "1.0"), ("web-2", "1.0"), ("web-2", "2.0")].into_iter().enumerate() {
        let mut facts = facts(BatchKind::Events, n as u64 + 2);
        let lost = n as u64;
        facts.accounts =
            vec![Account { hook: "x".into(), seen: 3, recv: 3 - lost, emit: 3 - lost, lost, ..Account::default() }];
        (facts.cpus, facts.lost) = (vec![Cpu { id: 0, first: 3 * lost, last: 3 * lost + 2, lost }], lost);
        (facts.host, facts.agent.version) = (host.into(), version.into());
        maker.add(&[b"{}"], &facts);
    }
    let log = maker.finish();
    let report = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]);
    assert_eq!((report.host.as_deref(), report.agent.as_deref()), (Some("web-2"), Some("2.0")), "of the last batch");
    assert_eq!(report.lost_by_hook.into_iter().collect::<Vec<_>>(), [("x".to_owned(), 3)]);

    // of 256 witnesses, each with its last receipt
    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
    for (size, names) in [(1, 0..200), (2, 199..257)] {
        let mut facts = facts(BatchKind::Events, size + 1);
        let sign = |n| Witness::new(&format!("w{n:03}.example"), &[1; 32]).unwrap().cosign("text", 5);
        facts.receipts = names.map(|n| Receipt { size, cosignature: sign(n) }.to_string()).collect();
        maker.add(&[b"{}"], &facts);
    }
    let log = maker.finish();
    let receipts = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]).receipts;
    let sizes: Vec<_> = receipts.values().map(|told| told.size).collect();
    assert_eq!(sizes, [vec![1; 199], vec![2; 57]].concat());

    let mut capped = Capped::default();
    (0..2000).for_each(|n| capped.push(n));
    assert_eq!((capped.count(), capped.iter().copied().eq(0..1000)), (2000, true));
}

#[test]
fn which_batches_are_missing() {
    let log = log(ORIGIN, 1);
    let missing = |trust: &Trust, batches: &[usize]| {
        let mut verifier = Verifier::new(trust.clone());
        for batch in batches {
            verifier.read(log.batches[*batch].as_slice()).unwrap();
        }
        verifier.finish().missing.iter().copied().collect::<Vec<_>>()
    };
    assert_eq!(missing(&log.trust(), &[0, 3, 5]), [(1, 2), (4, 4)]);
    assert_eq!(missing(&log.trust(), &[2, 3, 4, 5]), [(0, 1)]);
    // before the time that is asked about, or behind the batch that the input is known to begin with
    let since = Trust { since: Some(facts(BatchKind::Events, 4).wall.1), ..log.trust() };
    assert_eq!(missing(&since, &[0, 2, 3, 4, 5]), []);
    assert_eq!(missing(&Trust { from: Some(4), ..log.trust() }, &[2, 3, 4, 5]), []);
    // a batch that was changed is there
    let mut batches = log.batches.clone();
    batches[2][3] ^= 1;
    let report = check(&log.trust(), &batches.concat(), TAMPERED, &["batch 2"]);
    assert_eq!((report.missing.count(), report.batches), (0, 5));
}

#[test]
fn which_batches_are_without_their_lines() {
    let log = log(ORIGIN, 1);
    let seal = |batch: usize| log.batches[batch].split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
    let absent = |bytes: &[&[u8]]| {
        let report = verify(log.trust(), &bytes.concat());
        (report.absent, report.absent_ranges.iter().copied().collect::<Vec<_>>())
    };
    let whole = |batch: usize| log.batches[batch].as_slice();
    // the heartbeat among them has no lines to be missed
    let all: Vec<_> = (1..6).map(seal).collect();
    assert_eq!(absent(&[&[whole(0)], &all[..]].concat()), (4, vec![(1, 5)]));
    assert_eq!(absent(&[whole(0), seal(1), seal(3)]), (2, vec![(1, 1), (3, 3)]));
    assert_eq!(absent(&[whole(0), seal(1), whole(2), seal(3)]), (2, vec![(1, 1), (3, 3)]));
}

#[test]
fn clock_steps_and_policies() {
    let log = log(ORIGIN, 1);
    let report = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]);
    assert_eq!(report.steps.iter().collect::<Vec<_>>(), [&(3, -2_000_000_000)]);
    assert_eq!(report.policies.iter().collect::<Vec<_>>(), [&(3, [0x22; 32])]);

    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
    for (n, step_ns) in [(4, 99_999_999), (5, -99_999_999), (6, 100_000_000), (7, -100_000_000)] {
        let mut facts = facts(BatchKind::Events, n);
        facts.clock.step_ns = step_ns;
        maker.add(&[b"{}"], &facts);
    }
    let log = maker.finish();
    let steps = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]).steps;
    assert_eq!(steps.iter().collect::<Vec<_>>(), [&(4, 100_000_000), &(5, -100_000_000)]);
}

#[test]
fn losses_of_4096_hooks_and_of_the_others() {
    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
    let lost = |n: u64| Account {
        hook: format!("h{n:04}"),
        seen: 1,
        lost: n.min(1),
        recv: 1 - n.min(1),
        ..Account::default()
    };
    let accounts: Vec<_> = (0..4099).map(|n| Account { ufilter: 1 - n.min(1), ..lost(n) }).collect();
    for accounts in accounts.chunks(500) {
        let lost = accounts.iter().map(|account| account.lost).sum();
        maker.add(&[b"{}"], &seal::Facts { accounts: accounts.to_vec(), lost, ..facts(BatchKind::Events, 2) });
    }
    let log = maker.finish();
    let lost = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]).lost_by_hook;
    // the first lost nothing
    assert_eq!((lost.len(), lost.get("h0000"), lost["h4096"], lost["other"]), (4097, None, 1, 2));
}

#[test]
fn a_finding_without_a_line() {
    let log = log(ORIGIN, 1);
    let head = check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]).last.unwrap();
    let trust = Trust { heads: vec![head], ..log.trust() };
    let report = check(&trust, &log.batches[..4].concat(), INCOMPLETE, &[""]);
    let found: Vec<_> = (&report.findings).into_iter().map(ToString::to_string).collect();
    assert_eq!(found, ["batch 4, a known head has 6 batches, the log does not show it"]);
}
