//! Bytes that are no event, and events whose numbers make no sense: an error or an empty value, never a panic.

use common::{
    Call, DecodeError, Event, Header, Hook, Kind, Prefix, Value,
    wire::{SocketAddr, items},
};
use zerocopy::IntoBytes as _;

/// Larger than header and body of every kind.
const ROOM: usize = 1024;

/// The bytes of an event that says nothing, with a tail up to the end of the room.
fn words(prefix: Prefix) -> Vec<u64> {
    let mut words = vec![0; ROOM / 8];
    words.as_mut_bytes()[..size_of::<Prefix>()].copy_from_slice(prefix.as_bytes());
    words
}

fn of(kind: u16) -> Prefix {
    Prefix { kind, ..Prefix::default() }
}

#[test]
fn a_cut_event_is_short() {
    for kind in Kind::ALL {
        let words = words(Prefix { tail: 7, ..of(*kind as u16) });
        let bytes = words.as_bytes();
        let whole = (0..ROOM).find(|len| Event::decode(&bytes[..*len]).is_ok()).unwrap();
        assert!(whole > size_of::<Prefix>() + size_of::<Header>() + 7, "{kind:?}");
        for len in 0..ROOM {
            let expected = if len < whole { Err(DecodeError::Short) } else { Ok(*kind) };
            assert_eq!(Event::decode(&bytes[..len]).map(|event| event.kind()), expected, "{kind:?}: {len} bytes");
        }
    }
    for tail in [ROOM as u32, u32::MAX] {
        let words = words(Prefix { tail, ..of(1) });
        assert_eq!(Event::decode(words.as_bytes()).err(), Some(DecodeError::Short));
    }
}

#[test]
fn an_unaligned_event_is_refused() {
    let words = words(of(1));
    for at in 0..=16 {
        let found = Event::decode(&words.as_bytes()[at..]).err();
        assert_eq!(found == Some(DecodeError::Unaligned), at % 8 != 0, "{at}");
    }
}

#[test]
fn unknown_numbers_are_refused() {
    let decode = |prefix| Event::decode(words(prefix).as_bytes()).map(|event| (event.kind(), event.call, event.hook));
    for kind in 0..=u16::MAX {
        let expected = Kind::ALL.iter().find(|it| **it as u16 == kind).copied().ok_or(DecodeError::UnknownKind(kind));
        assert_eq!(decode(of(kind)).map(|(kind, ..)| kind), expected);
    }
    for number in 0..=u8::MAX {
        let call = Call::from_number(number).ok_or(DecodeError::UnknownCall(number));
        assert_eq!(decode(Prefix { call: number, ..of(1) }).map(|(_, call, _)| call), call);
        let hook = Hook::from_number(number).ok_or(DecodeError::UnknownHook(number));
        assert_eq!(decode(Prefix { hook: number, ..of(1) }).map(|(.., hook)| hook), hook);
    }
}

/// Positions and lengths of texts come from the kernel half: wherever they point, they stay in the tail.
#[test]
fn fields_of_any_bytes_are_read() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_u32 {
        for kind in Kind::ALL {
            let tail = round % 300;
            let mut words = words(Prefix { tail, ..of(*kind as u16) });
            for word in &mut words[size_of::<Prefix>() / 8..] {
                // xorshift64 (Marsaglia, 2003)
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // small numbers are more often places in the tail
                *word = if random & 1 == 0 { random } else { random & 0x0000_00ff_0000_00ff };
            }
            let event = Event::decode(words.as_bytes()).unwrap();
            let known: usize = (0..40).map(|at| bytes(event.header_value(at))).sum();
            assert!(known <= 40 * 16, "two names of 16 bytes");
            for at in 0..40 {
                // texts of the tail, or a short name of its own
                assert!(bytes(event.body_value(at)) <= 2 * tail as usize + 16, "{kind:?}: field {at}");
                let beyond = at >= kind.fields().len();
                assert!(!beyond || (event.body_value(at), event.body_marks(at)) == (Value::Null, 0));
            }
        }
    }
}

/// Reads a value to its end: the bytes of its texts.
fn bytes(value: Value<'_>) -> usize {
    match value {
        Value::Text(text) | Value::Addr(SocketAddr::Unix(text) | SocketAddr::Abstract(text)) => text.len(),
        Value::List(list) => items(list).map(<[u8]>::len).sum(),
        Value::Path(path) => path.components().map(<[u8]>::len).sum::<usize>() + path.name.len(),
        Value::Question(question) => question.labels().map(<[u8]>::len).sum(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Big(_)
        | Value::Name(_)
        | Value::Addr(_)
        | Value::Flags(..)
        | Value::Octal(_)
        | Value::Device(_) => 0,
    }
}

#[test]
fn a_list_is_read_as_it_was_passed() {
    let check = |list: &[u8], expected: &[&str]| {
        let found: Vec<_> = items(list).map(|item| str::from_utf8(item).unwrap()).collect();
        assert_eq!(found, expected);
    };
    check(b"", &[]);
    check(b"\0", &[""]);
    check(b"ls\0-l\0", &["ls", "-l"]);
    check(b"ls\0\0", &["ls", ""]);
    check(b"ls\0-", &["ls", "-"]);
}
