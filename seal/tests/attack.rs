//! What an attacker with root would do, and what ends a log badly without one: each with the words it is named in.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::io::Read as _;

use common::{INCOMPLETE, Log, Maker, ORIGIN, TAMPERED, check, facts, log, vector, verify};
use seal::line::SealLine;
use seal::proof::Checkpoint;
use seal::revocation::Revocation;
use seal::verify::What;
use seal::{Account, Batch, BatchKind, Cpu, HostKey, Lines, Sealer, State, Trust, Verdict};

const EVENT: &[u8] = br#"{"seq":"1"}"#;

/// A log whose third batch onwards is as the test says.
fn begun() -> Maker {
    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[EVENT], &facts(BatchKind::Start, 1));
    maker
}

fn seal(sealer: &mut Sealer, event: &[u8], n: u64) -> Vec<u8> {
    let mut lines = Lines::new();
    lines.push(event).unwrap();
    let line = sealer.seal(&lines, &facts(BatchKind::Events, n)).unwrap().line.clone();
    assert!(sealer.advance());
    [event, b"\n", &line].concat()
}

#[test]
fn a_wrong_key_is_named() {
    let (ours, other) = (log(ORIGIN, 1), log(ORIGIN, 9));
    let report = check(&other.trust(), &ours.bytes(), TAMPERED, &["batch 0, line 2: the host signature"]);
    assert_eq!(report.batches, 0);
}

#[test]
fn a_stolen_key_signs_up_to_where_it_was_revoked() {
    let log = log(ORIGIN, 1);
    for (after, verdict, what) in [(5, Verdict::Verified, ""), (4, TAMPERED, "batch 5, line 13: ")] {
        let revoked = Revocation { hostkey: log.key.clone(), after, time: 0 };
        let trust = Trust { revoked: vec![revoked], ..log.trust() };
        check(&trust, &log.bytes(), verdict, &[what]);
    }
}

#[test]
fn a_broken_seal_is_named() {
    let log = log(ORIGIN, 1);
    let line = String::from_utf8(log.batches[2].clone()).unwrap();
    let changed = line.replace(r"\nlost 0\n", r"\nlost 1\n");
    let bytes = [&log.batches[..2].concat(), changed.as_bytes(), &log.batches[3..].concat()].concat();
    check(&log.trust(), &bytes, TAMPERED, &["batch 2, line 7: the seal is broken"]);
}

#[test]
fn two_hosts_in_one_log_are_named() {
    let (a, b) = (log(ORIGIN, 1), log("audit.example.org/sigtrail/other/1", 9));
    let spliced = [&a.batches[..3], &b.batches[3..]].concat().concat();
    check(&a.trust(), &spliced, TAMPERED, &["batch 3, line 10: the batch belongs to another log"]);
    let same_name = log(ORIGIN, 9);
    let spliced = [&a.batches[..3], &same_name.batches[3..]].concat().concat();
    for trust in [a.trust(), Trust::default()] {
        check(&trust, &spliced, TAMPERED, &["batch 3, line 10: the host signature", "`prev` does not continue"]);
    }
}

/// CVE-2023-31439 of journald: old entries sealed anew with the current key. The attacker has the host key and the
/// seed of batch 4, and wants another batch 3.
#[test]
fn sealing_anew_with_a_later_key_is_named() {
    let host = HostKey::new(ORIGIN, &[1; 32]).unwrap();
    let mut maker = begun();
    maker.add(&[EVENT], &facts(BatchKind::Events, 2));
    let before = maker.sealer.state().clone();
    maker.add(&[br#"{"seq":"the crime"}"#], &facts(BatchKind::Events, 3));
    let stolen = maker.sealer.state().clone();

    let mut slot = *before.encode();
    slot[40..72].copy_from_slice(&stolen.encode()[40..72]);
    let checksum = crc32c::crc32c(&slot[12..]);
    slot[8..12].copy_from_slice(&checksum.to_le_bytes());
    let mut forger = Sealer::open(host, State::decode(&slot).unwrap()).unwrap();
    maker.batches.pop();
    maker.batches.push(seal(&mut forger, br#"{"seq":"nothing"}"#, 3));
    maker.batches.push(seal(&mut forger, EVENT, 4));
    let log = maker.finish();
    check(&log.trust(), &log.bytes(), TAMPERED, &["batch 3, line 8: the chain signature"]);
}

/// CVE-2023-31438 of journald: cut the tail, go on.
#[test]
fn cutting_and_going_on_is_named() {
    let log = log(ORIGIN, 1);
    let cut = [&log.batches[..2], &log.batches[3..]].concat().concat();
    let report = check(&log.trust(), &cut, INCOMPLETE, &["batches 2 up to the one before this are missing"]);
    assert_eq!(report.missing.iter().collect::<Vec<_>>(), [&(2, 2)]);
}

/// A clone, or a snapshot put back: both go on from the same state.
#[test]
fn a_fork_is_named() {
    let mut maker = begun();
    let host = HostKey::new(ORIGIN, &[1; 32]).unwrap();
    let mut clone = Sealer::open(host, State::decode(&*maker.sealer.state().encode()).unwrap()).unwrap();
    maker.add(&[EVENT], &facts(BatchKind::Events, 2));
    maker.batches.push(seal(&mut clone, b"{}", 2));
    let log = maker.finish();
    check(&log.trust(), &log.bytes(), TAMPERED, &["batch 2, line 8: the log forks"]);
}

/// A copy is the same to the last bit of what the agent signed.
#[test]
fn a_copy_with_another_signature_is_no_duplicate() {
    let mut maker = begun();
    let new = HostKey::new(ORIGIN, &[77; 32]).unwrap();
    let kind = facts(BatchKind::Rotate, 2);
    maker.add_with(&[], |sealer, lines| sealer.rotate(lines, &kind, new).unwrap().line.clone());
    let log = maker.finish();
    let key = HostKey::new(ORIGIN, &[1; 32]).unwrap().vkey().clone();
    let trust = Trust { pins: vec![key], ..Trust::default() };
    for (number, signatures) in [(1, 2), (2, 3)] {
        let line = log.batches[number].split(|byte| *byte == b'\n').nth_back(1).unwrap();
        let batch = Batch::parse(line).unwrap();
        assert_eq!(batch.proof.signatures.len(), signatures);
        for at in 0..signatures {
            let mut proof = batch.proof.clone();
            proof.signatures[at].bytes[0] ^= 1;
            let copy = SealLine { header: batch.header.to_string(), proof: proof.to_string() }.write();
            let events = &log.batches[number][..log.batches[number].len() - line.len() - 1];
            let bytes = [&log.bytes(), events, &copy[..]].concat();
            check(&trust, &bytes, TAMPERED, &[&format!("batch {number}, line "), "the log forks"]);
        }
        let report = check(&trust, &[log.bytes(), log.batches[number].clone()].concat(), Verdict::Verified, &[]);
        assert_eq!(report.duplicates, 1);
    }
}

/// A fork that shows only behind a hole, in the subtrees the two pasts should have in common.
#[test]
fn a_fork_behind_a_hole_is_named() {
    let mut maker = begun();
    let host = HostKey::new(ORIGIN, &[1; 32]).unwrap();
    let mut clone = Sealer::open(host, State::decode(&*maker.sealer.state().encode()).unwrap()).unwrap();
    for n in 2..6 {
        maker.add(&[EVENT], &facts(BatchKind::Events, n));
    }
    let forked: Vec<_> = (2..8).map(|n| seal(&mut clone, b"{}", n)).collect();
    maker.batches.extend_from_slice(&forked[5..]);
    let log = maker.finish();
    check(&log.trust(), &log.bytes(), TAMPERED, &["batch 7, line 14: the log forks"]);
}

/// systemd issue 15425: a file that is not sealed at all passes `--verify`.
#[test]
fn what_is_not_sealed_is_not_verified() {
    let log = log(ORIGIN, 1);
    for trust in [log.trust(), Trust::default()] {
        check(&trust, b"", INCOMPLETE, &["no sealed batch"]);
        check(&trust, b"{\"a\":1}\n{\"a\":2}\n", INCOMPLETE, &["2 unsealed lines at the end"]);
        check(&trust, b"{\"a\":1}\n{\"a\":2", INCOMPLETE, &["2 unsealed lines at the end, the last one cut off"]);
        check(&trust, &[0x80; 3000], INCOMPLETE, &["1 unsealed lines"]);
    }
    let tail = [log.bytes(), b"{}\n".to_vec()].concat();
    let report = check(&log.trust(), &tail, INCOMPLETE, &["1 unsealed lines at the end"]);
    assert_eq!((report.unsealed, report.batches), (1, 6));
}

#[test]
fn a_log_that_begins_later_is_read_as_far_as_it_can_be() {
    let log = log(ORIGIN, 1);
    let tail = log.batches[2..].concat();
    let report = check(&log.trust(), &tail, INCOMPLETE, &["batch 2, line 3: the input begins with this batch"]);
    assert_eq!((report.batches, report.events), (4, 5));
    let report = check(&Trust::default(), &tail, INCOMPLETE, &["batch 2, line 3: no host key is known"]);
    assert_eq!(report.findings.iter().filter(|found| matches!(found.what, What::NoKey)).count(), 1, "told once");
    check(&Trust { from: Some(2), ..log.trust() }, &tail, Verdict::Verified, &[]);
    check(&Trust { from: Some(1), ..log.trust() }, &tail, INCOMPLETE, &[]);
}

#[test]
fn a_known_head_shows_what_the_log_hides() {
    let log = log(ORIGIN, 1);
    let head = verify(log.trust(), &log.bytes()).last.unwrap();
    let with = |head: Checkpoint| Trust { heads: vec![head], ..log.trust() };
    check(&with(head.clone()), &log.bytes(), Verdict::Verified, &[]);
    check(&with(head.clone()), &log.batches[..5].concat(), INCOMPLETE, &["a known head has 6 batches"]);
    check(&with(Checkpoint { root: [0; 32], ..head }), &log.bytes(), TAMPERED, &["batch 5, line 13: the root is not"]);

    // one that lies before what is there cannot be compared, and that is said
    let early = verify(log.trust(), &log.batches[..2].concat()).last.unwrap();
    let tail = log.batches[3..].concat();
    check(&Trust { from: Some(3), ..with(early.clone()) }, &tail, INCOMPLETE, &["a known head has 2 batches"]);
    let tail = log.batches[2..].concat();
    check(&Trust { from: Some(2), ..with(early.clone()) }, &tail, Verdict::Verified, &[]);
    let other = Checkpoint { root: [0; 32], ..early };
    check(&Trust { from: Some(2), ..with(other) }, &tail, TAMPERED, &["not that of the known head"]);
}

#[test]
fn payloads_may_be_gone_but_not_unseen() {
    let log = log(ORIGIN, 1);
    let seals: Vec<u8> = log
        .bytes()
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{\"sigtrail\""))
        .flatten()
        .copied()
        .collect();
    let report = check(&log.trust(), &seals, INCOMPLETE, &["batch 0, line 1: the 1 event lines are not there"]);
    assert_eq!((report.batches, report.absent, report.lost), (6, 5, 2));
    let ranges = |report: &seal::Report| report.absent_ranges.iter().copied().collect::<Vec<_>>();
    assert_eq!((ranges(&report), report.findings.count()), (vec![(0, 5)], 1));

    // one batch with its lines in between: two ranges, and each is named
    let lines: Vec<_> = seals.split_inclusive(|byte| *byte == b'\n').collect();
    let with_two = [&lines[..2].concat(), &log.batches[2], &lines[3..].concat()].map(Vec::as_slice).concat();
    let report = check(&log.trust(), &with_two, INCOMPLETE, &["batch 0, line 1", "batch 3, line 6: the 2 event lines"]);
    assert_eq!((ranges(&report), report.findings.count()), (vec![(0, 1), (3, 5)], 2));

    // the seals beside the lines say the same again; those of another past are a fork also without lines
    let report = check(&log.trust(), &[log.bytes(), seals].concat(), Verdict::Verified, &[]);
    assert_eq!((report.batches, report.duplicates, report.events), (6, 6, 7));
    let mut maker = begun();
    maker.add(&[br#"{"another":"past"}"#], &facts(BatchKind::Events, 2));
    let seal = maker.batches[2].split_inclusive(|byte| *byte == b'\n').next_back().unwrap().to_vec();
    check(&log.trust(), &[log.bytes(), seal].concat(), TAMPERED, &["the log forks"]);

    let text = String::from_utf8(log.bytes()).unwrap();
    let leaf = seal::text::base64(&seal::tree::leaf(br#"{"seq":"4"}"#));
    let redacted = text.replace(r#"{"seq":"4"}"#, &format!(r#"{{"sigtrail":"redacted/v1","leaf":"{leaf}"}}"#));
    assert_ne!(text, redacted);
    let report =
        check(&log.trust(), redacted.as_bytes(), INCOMPLETE, &["batch 3, line 10: 1 event lines are redacted"]);
    assert_eq!((report.batches, report.redacted), (6, 1));
    let other = redacted.replace("seq\":\"5", "seq\":\"6");
    check(&log.trust(), other.as_bytes(), TAMPERED, &["`root` differs"]);
    // the length is not that of the lines, and none is redacted
    let longer = std::fs::read(vector("cases/another-length-signed.ndjson")).unwrap();
    check(&log.trust(), &longer, TAMPERED, &["`bytes` differs"]);
}

#[test]
fn a_new_host_key_is_followed_if_both_sign() {
    let mut maker = begun();
    let new = HostKey::new(ORIGIN, &[77; 32]).unwrap();
    let kind = facts(BatchKind::Rotate, 2);
    maker.add_with(&[], |sealer, lines| sealer.rotate(lines, &kind, new.clone()).unwrap().line.clone());
    maker.add(&[EVENT], &facts(BatchKind::Events, 3));
    let Log { batches, .. } = maker.finish();
    let key = HostKey::new(ORIGIN, &[1; 32]).unwrap().vkey().clone();
    let trust = Trust { pins: vec![key], ..Trust::default() };
    let report = check(&trust, &batches.concat(), Verdict::Verified, &[]);
    assert_eq!(report.rotations.iter().collect::<Vec<_>>(), [&2]);

    // without the third signature
    let line = String::from_utf8(batches[2].clone()).unwrap();
    let at = line.rfind("— ").unwrap();
    let stripped = format!("{}\"}}\n", &line[..at]);
    let changed = [&batches[0], &batches[1], stripped.as_bytes(), &batches[3]].concat();
    check(&trust, &changed, TAMPERED, &["batch 2, line 5: the new host key did not sign"]);

    // the old key is pinned still, and signs no more
    let mut old = begun();
    (2..4).for_each(|n| old.add(&[EVENT], &facts(BatchKind::Events, n)));
    let stolen = [&batches[..3], &old.batches[3..]].concat().concat();
    let both = Trust { pins: vec![trust.pins[0].clone(), new.vkey().clone()], ..Trust::default() };
    check(&both, &stolen, TAMPERED, &["batch 3, line 7: the host signature"]);

    // behind a hole where the key changed, the new key must be pinned too
    let hole = [&batches[..2], &batches[3..]].concat().concat();
    check(&trust, &hole, TAMPERED, &["batch 3, line 6: the host signature"]);
    check(&both, &hole, INCOMPLETE, &["batches 2 up to"]);
}

/// Headers that a sealer with the right keys signs, and that cannot be true all the same.
#[test]
fn what_cannot_follow_is_named() {
    let base = || facts(BatchKind::Events, 2);
    let account = Account { hook: "x".into(), seen: 5, recv: 5, emit: 5, ..Account::default() };
    let none = Account { recv: 0, emit: 0, ..account.clone() };
    let with = |change: fn(&mut seal::Facts)| {
        let mut facts = base();
        change(&mut facts);
        facts
    };
    for (facts, verdict, what) in [
        (with(|f| f.boot = "other".into()), TAMPERED, "`boot` does not continue"),
        (with(|f| f.mono = (1, 2)), TAMPERED, "`mono` does not continue"),
        (with(|f| f.mono.0 = 1), TAMPERED, "`mono` does not continue"),
        (with(|f| f.mono = (6_000_000_000, 9_000_000_000)), TAMPERED, "`mono` does not continue"),
        (with(|f| f.mono.1 = f.mono.0 - 1), TAMPERED, "`mono` does not continue"),
        (with(|f| f.cpus = vec![Cpu { id: 0, first: 5, last: 9, lost: 0 }]), Verdict::Verified, ""),
        (with(|f| f.cpus = vec![Cpu { id: 0, first: 5, last: 9, lost: 6 }]), INCOMPLETE, "cpu 0: more events lost"),
        (with(|f| f.cpus = vec![Cpu { id: 0, first: 5, last: 9, lost: 5 }]), INCOMPLETE, "`lost` is 0"),
        (seal::Facts { accounts: vec![Account { seen: 6, ..account.clone() }], ..base() }, INCOMPLETE, "hook x"),
        (seal::Facts { accounts: vec![Account { emit: 4, ..account.clone() }], ..base() }, INCOMPLETE, "hook x"),
        (seal::Facts { accounts: vec![Account { trunc: 6, ..account.clone() }], ..base() }, INCOMPLETE, "hook x"),
        (seal::Facts { accounts: vec![Account { trunc: 5, ..account.clone() }], ..base() }, Verdict::Verified, ""),
        (seal::Facts { accounts: vec![Account { lost: 5, ..none.clone() }], ..base() }, INCOMPLETE, "`lost` is 0"),
        (seal::Facts { accounts: vec![account], ..base() }, Verdict::Verified, ""),
    ] {
        let mut maker = begun();
        maker.add(&[EVENT], &facts);
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[what]);
    }
}

#[test]
fn the_numbers_of_a_cpu_go_on() {
    let cpu = |first, last| vec![Cpu { id: 3, first, last, lost: 0 }];
    for (kind, first, verdict) in [
        (BatchKind::Events, 10, Verdict::Verified),
        (BatchKind::Events, 11, INCOMPLETE),
        (BatchKind::Events, 9, INCOMPLETE),
        (BatchKind::Recovered, 11, INCOMPLETE),
        (BatchKind::Events, 0, INCOMPLETE),
        (BatchKind::Recovered, 0, Verdict::Verified),
        (BatchKind::Start, 1, Verdict::Verified),
    ] {
        let mut maker = begun();
        maker.add(&[EVENT], &seal::Facts { cpus: cpu(1, 9), ..facts(BatchKind::Events, 2) });
        maker.add(&[], &facts(BatchKind::Heartbeat, 3));
        maker.add(&[EVENT], &seal::Facts { cpus: cpu(first, 20), ..facts(kind, 4) });
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[]);
    }
}

/// After a crash a CPU may be silent for a while, and then begin anew.
#[test]
fn the_numbers_of_a_silent_cpu_begin_anew_after_a_crash() {
    for (kind, verdict) in [(BatchKind::Recovered, Verdict::Verified), (BatchKind::Events, INCOMPLETE)] {
        let mut maker = begun();
        let cpu = |last| vec![Cpu { id: 3, first: 1, last, lost: 0 }];
        maker.add(&[EVENT], &seal::Facts { cpus: cpu(9), ..facts(BatchKind::Events, 2) });
        maker.add(&[], &facts(kind, 3));
        maker.add(&[EVENT], &seal::Facts { cpus: cpu(20), ..facts(BatchKind::Events, 4) });
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[]);
    }
}

/// As many CPUs are remembered as any machine may have, and not more.
#[test]
fn the_numbers_of_65535_cpus_are_remembered() {
    for (most, verdict) in [(65_535, INCOMPLETE), (65_536, Verdict::Verified)] {
        let mut maker = begun();
        let cpus: Vec<_> = (0..most).map(|id| Cpu { id, first: 1, last: 1, lost: 0 }).collect();
        for cpus in cpus.chunks(3000) {
            maker.add(&[EVENT], &seal::Facts { cpus: cpus.to_vec(), ..facts(BatchKind::Events, 2) });
        }
        maker.add(&[EVENT], &seal::Facts { cpus: cpus[..1].to_vec(), ..facts(BatchKind::Events, 2) });
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[]);
    }
}

/// Two loads one after the other: whatever the kind of the batch, the numbers go on within one, and only within one.
#[test]
fn the_numbers_of_a_cpu_go_on_within_a_load() {
    let cpu = |first, last| vec![Cpu { id: 3, first, last, lost: 0 }];
    for (kind, load, first, verdict) in [
        (BatchKind::Events, 7, 10, Verdict::Verified),
        (BatchKind::Events, 7, 0, INCOMPLETE),
        (BatchKind::Events, 8, 0, Verdict::Verified),
        (BatchKind::Start, 7, 10, Verdict::Verified),
        (BatchKind::Start, 7, 0, INCOMPLETE),
        (BatchKind::Start, 8, 0, Verdict::Verified),
        (BatchKind::Recovered, 7, 10, Verdict::Verified),
        (BatchKind::Recovered, 7, 0, INCOMPLETE),
        (BatchKind::Recovered, 8, 0, Verdict::Verified),
    ] {
        let mut maker = begun();
        maker.add(&[EVENT], &seal::Facts { load: Some(7), cpus: cpu(0, 9), ..facts(BatchKind::Events, 2) });
        maker.add(&[], &seal::Facts { load: Some(7), ..facts(BatchKind::Heartbeat, 3) });
        maker.add(&[EVENT], &seal::Facts { load: Some(load), cpus: cpu(first, 20), ..facts(kind, 4) });
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[]);
    }
}

#[test]
fn a_start_without_a_stop_is_reported() {
    let mut maker = begun();
    maker.add(&[], &facts(BatchKind::Start, 2));
    maker.add(&[], &facts(BatchKind::Stop, 3));
    maker.add(&[], &facts(BatchKind::Start, 4));
    let mut other_boot = facts(BatchKind::Recovered, 0);
    other_boot.boot = "other".into();
    maker.add(&[], &other_boot);
    let log = maker.finish();
    let report = check(&log.trust(), &log.bytes(), Verdict::Verified, &[]);
    assert_eq!(report.unclean.iter().collect::<Vec<_>>(), [&2, &5]);
    assert_eq!(report.starts, 4);
}

#[test]
fn events_after_a_stop_need_a_start() {
    let mut maker = begun();
    maker.add(&[], &facts(BatchKind::Stop, 2));
    maker.add(&[EVENT], &facts(BatchKind::Events, 3));
    let log = maker.finish();
    check(&log.trust(), &log.bytes(), TAMPERED, &["`kind` does not continue"]);
}

#[test]
fn the_keys_of_batch_0_are_those_of_the_log() {
    let host = HostKey::new(ORIGIN, &[1; 32]).unwrap();
    let other = HostKey::new(ORIGIN, &[2; 32]).unwrap();
    let seed = || seal::Seed::new([3; 32]);
    let note = |key: &HostKey, seed| {
        let note = seal::enrol::Enrolment::new(key, &seed, vec![], 0).unwrap().sign(key).unwrap();
        seal::enrol::genesis_line(&note)
    };
    for (events, verdict, what) in [
        (vec![note(&host, seed())], Verdict::Verified, ""),
        (vec![note(&other, seed())], TAMPERED, "batch 0 is not the enrolment"),
        (vec![note(&host, seal::Seed::new([4; 32]))], TAMPERED, "the chain signature"),
        (vec![b"{}".to_vec()], TAMPERED, "batch 0 is not the enrolment"),
        (vec![note(&host, seed()), b"{}".to_vec()], TAMPERED, "batch 0 is not the enrolment"),
    ] {
        let mut sealer = Sealer::open(host.clone(), State::genesis(host.vkey(), seed()).unwrap()).unwrap();
        let mut lines = Lines::new();
        for line in &events {
            lines.push(line).unwrap();
        }
        let end = sealer.seal(&lines, &facts(BatchKind::Genesis, 0)).unwrap().line.clone();
        let trust = Trust { pins: vec![host.vkey().clone()], ..Trust::default() };
        check(&trust, &[events.join(&b'\n'), b"\n".to_vec(), end].concat(), verdict, &[what]);
    }
}

#[test]
fn lines_that_are_no_events_are_named_though_they_are_sealed() {
    for (line, what) in [
        (br#"{"b":1,"a":1}"#.as_slice(), "keys out of order"),
        (br#"{"a":1,"sigtrail":1}"#, "kept for the seal"),
        (b"{\"a\":\"\xff\"}", "not UTF-8"),
        (b"", "not a JSON object"),
    ] {
        let mut maker = begun();
        maker.add(&[EVENT, line], &facts(BatchKind::Events, 2));
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), TAMPERED, &["batch 2, line 6: ", what]);
    }
}

/// A reader that gives the same byte for ever would be too slow a test: 64 MiB without a LF are enough to see that
/// nothing grows, since the line would have to be held.
#[test]
fn a_line_without_end_is_not_held() {
    let log = log(ORIGIN, 1);
    let mut verifier = seal::Verifier::new(log.trust());
    let endless = std::io::repeat(b'a').take(64 << 20);
    let input = endless.chain(std::io::Cursor::new([b"\n".as_slice(), &log.bytes()].concat()));
    verifier.read(std::io::BufReader::new(input)).unwrap();
    let report = verifier.finish();
    assert_eq!(report.verdict(), TAMPERED);
    let first = report.findings.iter().next().unwrap().to_string();
    assert!(first.starts_with("batch 0, line 1: an event line is not in canonical form: the line has"), "{first}");
}

#[test]
fn what_is_before_the_time_may_be_gone_but_not_changed() {
    let log = log(ORIGIN, 1);
    let time = |batch: usize| facts(BatchKind::Events, batch as u64).wall.1;
    for from in 0..6 {
        // batch `from` is the first that was closed then
        let trust = Trust { since: Some(time(from)), ..log.trust() };
        let report = check(&trust, &log.bytes(), Verdict::Verified, &[]);
        assert_eq!((report.older, report.batches), (from as u64, 6 - from as u64));
        assert_eq!(report.wall.map(|(first, _)| first), Some(facts(BatchKind::Events, from as u64).wall.0));
        for gone in 0..6 {
            let mut batches = log.batches.clone();
            batches.remove(gone);
            let said = verify(trust.clone(), &batches.concat()).verdict();
            // a hole counts if a batch of that time is in it or right behind it; nothing is missed at the end but all
            let hole = (gone + 1 >= from && gone < 5) || (from, gone) == (5, 5);
            let expected = if hole { INCOMPLETE } else { Verdict::Verified };
            assert_eq!(said, expected, "from {from} without {gone}");
        }
        for changed in [0, 1, 2, 3, 5] {
            let mut batches = log.batches.clone();
            batches[changed][3] ^= 1;
            assert_eq!(verify(trust.clone(), &batches.concat()).verdict(), TAMPERED, "from {from}, changed {changed}");
        }
    }
    let trust = Trust { since: Some(time(5) + 1), ..log.trust() };
    check(&trust, &log.bytes(), INCOMPLETE, &["nothing was sealed since then: the last batch is 5"]);
    check(&trust, b"", INCOMPLETE, &["no sealed batch"]);
}
