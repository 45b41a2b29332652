//! Recorded streams: read, changed, written.

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use common::{Header, Kind, Prefix};
use sigtrail::source::{Replay, replay};
use zerocopy::FromBytes as _;

/// Where the golden pairs are.
pub fn golden(kind: Kind, end: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{}.{end}", kind.name()))
}

/// The events of a stream.
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let mut replay = Replay::open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut events = Vec::new();
    let empty = replay.drain(|event| {
        events.push(event.to_vec());
        ControlFlow::Continue(())
    });
    assert!(empty);
    events
}

/// Writes a stream.
pub fn write(path: &Path, events: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for event in events {
        replay::record(event, &mut bytes).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

/// Changes the header of an event.
pub fn change(event: &mut [u8], change: impl FnOnce(&mut Header)) {
    let at = size_of::<Prefix>();
    let bytes = &mut event[at..at + size_of::<Header>()];
    let mut header = Header::read_from_bytes(bytes).unwrap();
    change(&mut header);
    bytes.copy_from_slice(zerocopy::IntoBytes::as_bytes(&header));
}

/// Numbers the events anew, as a kernel half that lost none.
pub fn number(events: &mut [Vec<u8>]) {
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for event in events {
        change(event, |header| {
            let next = next.entry(header.cpu).or_default();
            header.seq = *next;
            *next += 1;
        });
    }
}

/// All golden streams, one after the other, on two CPUs, numbered as of one run.
pub fn all() -> Vec<Vec<u8>> {
    of(|_| true)
}

/// The golden streams of some kinds, one after the other.
pub fn of(is_asked: impl Fn(Kind) -> bool) -> Vec<Vec<u8>> {
    let kinds = Kind::ALL.iter().filter(|kind| is_asked(**kind));
    let mut events: Vec<_> = kinds.flat_map(|kind| read(&golden(*kind, "events"))).collect();
    for (at, event) in events.iter_mut().enumerate() {
        change(event, |header| header.cpu = (at % 3 == 0).into());
    }
    number(&mut events);
    events
}
