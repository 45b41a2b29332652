//! Events for tests, as the kernel half would send them.

use common::{Header, Kind, Prefix};
use zerocopy::IntoBytes as _;

/// The start of an event.
pub fn prefix(kind: Kind) -> Prefix {
    Prefix { kind: kind as u16, ..Prefix::default() }
}

/// The bytes of an event, at an address that a ring buffer could have. The length of the tail is filled in.
pub fn event(prefix: Prefix, header: &Header, body: &[u8], tail: &[u8]) -> Vec<u64> {
    let prefix = Prefix { tail: tail.len() as u32, ..prefix };
    let bytes = [prefix.as_bytes(), header.as_bytes(), body, tail].concat();
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(&bytes);
    words
}
