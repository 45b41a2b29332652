//! Streams with flipped bits: whatever comes, each event is a record or is counted, and nothing panics.

use std::ops::ControlFlow;

use proptest::prelude::*;
use sigtrail::{
    clock::Now,
    enrich::Enrich,
    pipeline::Front,
    policy::Policy,
    record::json,
    source::{Replay, Source},
};

use crate::{flow::KEEP, stream};

/// How many events come out as lines, and how many are counted as undecodable.
fn front(events: &[Vec<u8>], policy: Policy) -> (usize, u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    stream::write(file.path(), events);
    let source = Source::Replay(Replay::open(file.path()).unwrap());
    let mut front = Front::new(source, Enrich::of_events().unwrap(), policy, Now { boot: 0, wall: 0 });
    let (mut records, mut line) = (0, Vec::new());
    let empty = front.drain(|record, judgement, time, tally| {
        line.clear();
        json::line(record, judgement, time, &mut line);
        seal::jcs::check(&line).unwrap_or_else(|error| panic!("{error}: {}", line.escape_ascii()));
        assert!(line.len() <= seal::MAX_LINE);
        tally.emitted(record);
        records += usize::from(record.event.kind() != common::Kind::CredChange);
        ControlFlow::Continue(())
    });
    assert!(empty);
    let closed = front.close(Vec::new(), true).unwrap();
    let undecodable =
        closed.lost_records().map(|lost| serde_json::from_str::<serde_json::Value>(&lost.line("")).unwrap());
    let undecodable = undecodable.filter(|lost| lost["cause"] == "undecodable");
    let undecodable = undecodable.map(|lost| lost["count"].as_str().unwrap().parse::<u64>().unwrap()).sum();
    (records, undecodable)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn flipped_bits_make_other_records_or_a_count(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8), 1..200),
        own_policy in any::<bool>(),
    ) {
        let mut events = stream::all();
        for (event, byte, bit) in flips {
            let event = event.index(events.len());
            let byte = byte.index(events[event].len());
            events[event][byte] ^= 1 << bit;
            // the calls that are told return an int
            stream::change(&mut events[event], |header| header.ret = i64::from(header.ret as i32));
        }
        let policy = if own_policy { Policy::load(&[]).unwrap() } else { Policy::parse(&[("test", KEEP)]).unwrap() };
        let (records, undecodable) = front(&events, policy);
        prop_assert_eq!(records as u64 + undecodable, events.len() as u64);
    }

    #[test]
    fn noise_is_no_stream_or_a_stream_of_noise(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let count = 4096 / 64;
        let events: Vec<_> = bytes.chunks(count).map(<[u8]>::to_vec).collect();
        let (records, undecodable) = front(&events, Policy::parse(&[("test", KEEP)]).unwrap());
        prop_assert_eq!(records as u64 + undecodable, events.len() as u64);
    }
}
