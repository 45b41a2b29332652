//! What the kernel half may leave out, and what it counts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Classes of events of one kind, as bits: an event is sent when the bit of its class is set.
pub mod class {
    /// It succeeded (of an open: for more than reading, or it created the file).
    pub const SUCCESS: u8 = 1;
    /// It failed with `EACCES` or `EPERM`.
    pub const DENIED: u8 = 2;
    /// It failed in another way.
    pub const FAILED: u8 = 4;
    /// An open for reading only that succeeded.
    pub const READ: u8 = 8;
    /// All of them.
    pub const ALL: u8 = 15;
}

/// Kinds are numbered below this.
pub const KINDS: usize = 32;

/// What the kernel half is told once, before it starts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// The agent's own process, in the initial pid namespace: its events are not made.
    pub agent: u32,
    /// Bytes waiting in the ring buffer at which the reader is woken before its time.
    pub wake_bytes: u32,
    /// The bits of [`class`] that are wanted, by [`crate::Kind`].
    pub wanted: [u8; KINDS],
}

/// What happened to the events of one hook on one CPU. `seen = filtered + sent + lost`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counts {
    /// Events of the audited calls that came by.
    pub seen: u64,
    /// Not wanted.
    pub filtered: u64,
    /// Put into the ring buffer.
    pub sent: u64,
    /// Wanted, but there was no room in the ring buffer.
    pub lost: u64,
    /// Sent, with at least one value cut short.
    pub truncated: u64,
}
