use common::{Kind, event::Unlink};
use proptest::prelude::*;

use super::*;
use crate::record::sample;

const BOOT: &str = "0b6a4cf0-61f5-4b0e-8f2d-2a1f0e0c9d11";

/// An event as the backlog has it.
fn event(cpu: u32, seq: u64) -> Vec<u64> {
    let header = Header { cpu, seq, ..Header::default() };
    let words = sample::event(sample::prefix(Kind::Unlink), &header, Unlink::default().as_bytes(), b"");
    [vec![words.as_bytes().len() as u64], words.clone()].concat()
}

fn base_of(batch: u64, next: u64) -> Base {
    Base { batch, cpus: vec![(0, next)], ..Base::default() }
}

/// The numbers of the events of a lane.
fn told(found: &Found, lane: usize) -> Vec<u64> {
    Events(&found.events[lane]).map(|event| numbers(event[1..].as_bytes()).unwrap().1).collect()
}

fn resume(dir: &Path, last_batch: u64) -> (Journal, Found) {
    Journal::resume(dir, BOOT, 7, last_batch).unwrap()
}

fn names(dir: &Path) -> Vec<u32> {
    files(dir, 7).unwrap().into_iter().map(|(number, _)| number).collect()
}

#[test]
fn what_is_not_sealed_comes_again() {
    let written = |closing: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(dir.path(), BOOT, 7, base_of(3, 0)).unwrap();
        for seq in 0..4 {
            journal.events(usize::from(seq % 2 == 1), &event(0, seq));
        }
        if closing {
            journal.closing(base_of(4, 2));
        }
        dir
    };
    let check = |closing, last_batch, lanes: [&[u64]; 2]| {
        let dir = written(closing);
        // the first time, and after a crash right behind it
        for _ in 0..2 {
            let (_, found) = resume(dir.path(), last_batch);
            assert_eq!([told(&found, 0), told(&found, 1)], lanes.map(<[u64]>::to_vec), "batch {last_batch}");
            assert_eq!(found.last, [Some((0, 2)), Some((0, 3))]);
        }
    };
    check(false, 3, [&[0, 2], &[1, 3]]);
    // batch 4 is being sealed: whether it got to the disk decides
    check(true, 3, [&[0, 2], &[1, 3]]);
    check(true, 4, [&[2], &[3]]);
    check(true, 9, [&[2], &[3]]);
    // what another run says is worth nothing
    let dir = written(true);
    assert!(matches!(Journal::resume(dir.path(), BOOT, 8, 4), Err(JournalError::None)));
    assert!(matches!(Journal::resume(dir.path(), "another boot", 7, 4), Err(JournalError::None)));
    assert!(matches!(Journal::resume(dir.path(), BOOT, 7, 2), Err(JournalError::None)));
}

#[test]
fn a_file_goes_when_all_its_events_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(dir.path(), BOOT, 7, base_of(0, 0)).unwrap();
    let many: Vec<u64> = (0..2000).flat_map(|seq| event(0, seq)).collect();
    journal.events(1, &many);
    journal.closing(base_of(1, 1999));
    journal.sealed([0, 2000], [0, 1999]);
    assert_eq!(names(dir.path()), [0, 1]);
    assert_eq!(told(&resume(dir.path(), 1).1, 1), [1999]);
    journal.closing(base_of(2, 2000));
    journal.sealed([0, 2000], [0, 2000]);
    assert!(!names(dir.path()).contains(&0));
    journal.remove();
    assert!(names(dir.path()).is_empty());
}

proptest! {
    /// Whatever a crash or a hand made of a file: no panic, and nothing that was not written, in its order.
    #[test]
    fn damage_costs_what_is_behind_it(cut in 0_usize..4000, at in 0_usize..4000, byte: u8, more: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(dir.path(), BOOT, 7, base_of(1, 0)).unwrap();
        for seq in 0..8 {
            journal.events(0, &event(0, seq));
        }
        let file = path(dir.path(), 7, 0);
        let mut bytes = fs::read(&file).unwrap();
        bytes.truncate(cut);
        if let Some(there) = bytes.get_mut(at) {
            *there = byte;
        }
        bytes.extend(more);
        fs::write(&file, bytes).unwrap();
        if let Ok((_, found)) = Journal::resume(dir.path(), BOOT, 7, 1) {
            let seen = told(&found, 0);
            prop_assert!(seen.iter().copied().eq(0..seen.len() as u64), "{:?}", seen);
        }
    }
}
