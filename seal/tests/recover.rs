//! The sealer and its crashes: one batch for each number, whatever happens.

mod common;

use common::{ORIGIN, facts};
use seal::state::RecoverError;
use seal::{BatchKind, Facts, HostKey, Lines, SealError, Seed, Sealer, State};

fn host() -> HostKey {
    HostKey::new(ORIGIN, &[1; 32]).unwrap()
}

/// A state before batch 3, as it comes from a slot.
fn state() -> State {
    let mut sealer = Sealer::open(host(), State::genesis(ORIGIN, Seed::new([2; 32])).unwrap()).unwrap();
    for (n, kind) in [BatchKind::Genesis, BatchKind::Start, BatchKind::Events].into_iter().enumerate() {
        sealer.seal(&lines(&[b"{}"]), &facts(kind, n as u64)).unwrap();
        assert!(sealer.advance());
    }
    State::decode(&*sealer.state().encode()).unwrap()
}

fn lines(events: &[&[u8]]) -> Lines {
    let mut lines = Lines::new();
    events.iter().for_each(|event| lines.push(event).unwrap());
    lines
}

#[test]
fn sealing_is_deterministic() {
    let seal = || {
        let mut sealer = Sealer::open(host(), state()).unwrap();
        let sealed = sealer.seal(&lines(&[b"{}"]), &facts(BatchKind::Events, 3)).unwrap();
        (sealed.line.clone(), sealed.next.clone())
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
fn a_batch_on_disk_is_gone_over_after_a_crash() {
    let before = state();
    let mut sealer = Sealer::open(host(), before.clone()).unwrap();
    let two = lines(&[b"{}", b"{\"a\":1}"]);
    let sealed = sealer.seal(&two, &facts(BatchKind::Events, 3)).unwrap().clone();
    assert_eq!(before.advance_over(host().vkey(), &two, &sealed.line), Ok(sealed.next.clone()));

    let recover = |state: &State, host: &HostKey, lines: &Lines, line: &[u8]| {
        state.advance_over(host.vkey(), lines, line).map(|_| ())
    };
    let torn = &sealed.line[..sealed.line.len() - 9];
    assert!(matches!(recover(&before, &host(), &two, torn), Err(RecoverError::Batch(_))));
    let one = lines(&[b"{}"]);
    assert_eq!(recover(&before, &host(), &one, &sealed.line), Err(RecoverError::Lines(3, "events")));
    let after = Err(RecoverError::Number { expected: 4, found: 3 });
    assert_eq!(recover(&sealed.next, &host(), &two, &sealed.line), after);
    let other = HostKey::new(ORIGIN, &[9; 32]).unwrap();
    assert_eq!(recover(&before, &other, &two, &sealed.line), Err(RecoverError::Fork(3, "signature")));
    // another past, and another seed
    let mut forked = Sealer::open(host(), State::genesis(ORIGIN, Seed::new([2; 32])).unwrap()).unwrap();
    for (n, kind) in [BatchKind::Genesis, BatchKind::Start, BatchKind::Heartbeat].into_iter().enumerate() {
        forked.seal(&lines(&[b"{}"]), &facts(kind, n as u64)).unwrap();
        assert!(forked.advance());
    }
    assert_eq!(recover(forked.state(), &host(), &two, &sealed.line), Err(RecoverError::Fork(3, "prev")));
    let mut slot = *before.encode();
    slot[40] ^= 1;
    let checksum = crc32c::crc32c(&slot[12..]);
    slot[8..12].copy_from_slice(&checksum.to_le_bytes());
    let seed = State::decode(&slot).unwrap();
    assert_eq!(recover(&seed, &host(), &two, &sealed.line), Err(RecoverError::Fork(3, "next")));
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
    assert!(matches!(Sealer::open(foreign, state()), Err(SealError::Origin)));
    assert!(sealer.seal(&none, &base()).is_ok());
}
