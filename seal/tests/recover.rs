//! The sealer and its crashes: one batch for each number, whatever happens.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{ORIGIN, facts};
use seal::line::SealLine;
use seal::proof::Proof;
use seal::state::RecoverError;
use seal::{BatchKind, Facts, HostKey, Lines, SealError, Sealer, Seed, State};

fn host() -> HostKey {
    HostKey::new(ORIGIN, &[1; 32]).unwrap()
}

/// A state before batch 3, as it comes from a slot.
fn state() -> State {
    let mut sealer = Sealer::open(host(), State::genesis(host().vkey(), Seed::new([2; 32])).unwrap()).unwrap();
    for (n, kind) in [BatchKind::Genesis, BatchKind::Start, BatchKind::Events].into_iter().enumerate() {
        sealer.seal(&lines(&[b"{}"]), &facts(kind, n as u64)).unwrap();
        assert!(sealer.advance());
    }
    State::decode(&*sealer.state().encode()).unwrap()
}

fn lines(events: &[&[u8]]) -> Lines {
    let mut lines = Lines::new();
    for event in events {
        lines.push(event).unwrap();
    }
    lines
}

#[test]
fn sealing_is_deterministic() {
    let seal = || {
        let mut sealer = Sealer::open(host(), state()).unwrap();
        let batch = sealer.seal(&lines(&[b"{}"]), &facts(BatchKind::Events, 3)).unwrap();
        (batch.line.clone(), batch.next.clone())
    };
    assert_eq!(seal(), seal());
}

#[test]
fn a_number_is_signed_once() {
    let mut sealer = Sealer::open(host(), state()).unwrap();
    let line = sealer.seal(&lines(&[b"{}"]), &facts(BatchKind::Events, 3)).unwrap().line.clone();
    for _ in 0..2 {
        let again = sealer.seal(&lines(&[b"[]"]), &facts(BatchKind::Events, 3)).map(|_| ());
        assert_eq!(again, Err(SealError::Pending(3)));
        assert_eq!(sealer.pending().map(|sealed| &sealed.line), Some(&line), "the same bytes for another try");
    }
    assert_eq!(sealer.state().batch(), 3);
    assert!(sealer.advance());
    assert!(!sealer.advance());
    assert_eq!(sealer.state().batch(), 4);
}

#[test]
fn a_batch_that_others_signed_is_not_gone_over() {
    let before = state();
    let mut sealer = Sealer::open(host(), before.clone()).unwrap();
    let events = lines(&[b"{}"]);
    let line = sealer.seal(&events, &facts(BatchKind::Events, 3)).unwrap().line.clone();
    assert!(before.advance_over(&events, &line).is_ok());
    for signer in [0, 1] {
        let SealLine { header, proof } = SealLine::parse(line.trim_ascii_end()).unwrap();
        let mut proof = Proof::parse(&proof).unwrap();
        proof.signatures[signer].bytes[0] ^= 1;
        let line = SealLine { header, proof: proof.to_string() }.write();
        let told = before.advance_over(&events, &line).map(|_| ());
        assert!(matches!(told, Err(RecoverError::Fork(3, "signature"))), "signature {signer}: {told:?}");
    }
}

#[test]
fn a_batch_on_disk_is_gone_over_after_a_crash() {
    let before = state();
    let mut sealer = Sealer::open(host(), before.clone()).unwrap();
    let two = lines(&[b"{}", b"{\"a\":1}"]);
    let batch = sealer.seal(&two, &facts(BatchKind::Events, 3)).unwrap().clone();
    assert_eq!(before.advance_over(&two, &batch.line), Ok(batch.next.clone()));

    let recover = |state: &State, lines: &Lines, line: &[u8]| state.advance_over(lines, line).map(|_| ());
    let torn = &batch.line[..batch.line.len() - 9];
    assert!(matches!(recover(&before, &two, torn), Err(RecoverError::Batch(_))));
    let one = lines(&[b"{}"]);
    assert_eq!(recover(&before, &one, &batch.line), Err(RecoverError::Lines(3, "events")));
    let after = Err(RecoverError::Number { expected: 4, found: 3 });
    assert_eq!(recover(&batch.next, &two, &batch.line), after);
    let changed = |at: usize| {
        let mut slot = *before.encode();
        slot[at] ^= 1;
        let checksum = crc32c::crc32c(&slot[12..]);
        slot[8..12].copy_from_slice(&checksum.to_le_bytes());
        State::decode(&slot).unwrap()
    };
    assert_eq!(recover(&changed(40), &two, &batch.line), Err(RecoverError::Fork(3, "next")), "another seed");
    assert_eq!(recover(&changed(32), &two, &batch.line), Err(RecoverError::Fork(3, "first")), "another sequence");
    // another past
    let mut forked = Sealer::open(host(), State::genesis(host().vkey(), Seed::new([2; 32])).unwrap()).unwrap();
    for (n, kind) in [BatchKind::Genesis, BatchKind::Start, BatchKind::Heartbeat].into_iter().enumerate() {
        forked.seal(&lines(&[b"{}"]), &facts(kind, n as u64)).unwrap();
        assert!(forked.advance());
    }
    assert_eq!(recover(forked.state(), &two, &batch.line), Err(RecoverError::Fork(3, "prev")));
}

#[test]
fn a_rotation_on_disk_hands_over_to_the_new_key() {
    let new = HostKey::new(ORIGIN, &[9; 32]).unwrap();
    let before = state();
    let mut sealer = Sealer::open(host(), before.clone()).unwrap();
    let line = sealer.rotate(&lines(&[]), &facts(BatchKind::Rotate, 3), new.clone()).unwrap().line.clone();
    let next = before.advance_over(&lines(&[]), &line).unwrap();
    assert!(sealer.advance());
    assert_eq!((sealer.vkey(), sealer.state()), (new.vkey(), &next));
    assert!(matches!(Sealer::open(host(), next.clone()), Err(SealError::Host)), "the old key is over");
    assert!(Sealer::open(new, next).is_ok());
}

#[test]
fn facts_that_do_not_fit_are_refused_and_nothing_is_signed() {
    let mut sealer = Sealer::open(host(), state()).unwrap();
    let base = || facts(BatchKind::Events, 3);
    let none = lines(&[]);
    for facts in [
        Facts { host: "two\nlines".into(), ..base() },
        Facts { host: String::new(), ..base() },
        Facts { boot: "a b".into(), ..base() },
        Facts { receipts: vec!["x\nnext y".into()], ..base() },
        Facts { extensions: vec![("y-a".into(), "b".into())], ..base() },
        Facts { extensions: vec![("x-a".into(), "b ".into())], ..base() },
        Facts { host: "x".repeat(65_535), ..base() },
    ] {
        assert!(matches!(sealer.seal(&none, &facts), Err(SealError::Facts(_))), "{facts:?}");
        assert!(sealer.pending().is_none());
    }
    for kind in [BatchKind::Genesis, BatchKind::Rotate] {
        assert!(matches!(sealer.seal(&none, &facts(kind, 3)), Err(SealError::Kind(3))));
    }
    assert!(matches!(sealer.rotate(&none, &base(), host()), Err(SealError::Kind(3))));
    let foreign = HostKey::new("other", &[1; 32]).unwrap();
    assert!(matches!(Sealer::open(foreign, state()), Err(SealError::Host)));
    assert!(sealer.seal(&none, &base()).is_ok());
}
