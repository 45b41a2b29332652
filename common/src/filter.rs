//! What the kernel half may leave out, and what it counts.

mod matcher;

use crate::{
    call::TABLE,
    wire::{Device, Inode},
};
pub use matcher::{ATOMS, Atom, EXECUTABLE, Matcher, Near, PATHS, PATTERN, PLACES, Place, STEPS, Step, outcome};
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
pub const KINDS: usize = 96;

/// What is wanted: one of two, so that a new one is written beside the one in use and then chosen by one number.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Filter {
    /// Calls of 64-bit programs by number: a [`crate::Call`], or 0 where nobody wants the call.
    pub x86_64: [u8; TABLE],
    /// The same for calls of 32-bit programs.
    pub i386: [u8; TABLE],
    /// The bits of [`class`] that are wanted, by [`crate::Kind`].
    pub wanted: [u8; KINDS],
    /// 1: a [`Matcher`] has the last word about events of the kind. By [`crate::Kind`].
    pub matched: [u8; KINDS],
}

impl Default for Filter {
    fn default() -> Self {
        Self { x86_64: [0; TABLE], i386: [0; TABLE], wanted: [0; KINDS], matched: [0; KINDS] }
    }
}

/// What the user half tells the kernel half, before it starts and while it runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// Events from this time on are made: nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub from: u64,
    /// Events from this time on are no longer made. Two agents that hand over agree on one time.
    pub until: u64,
    /// Start of the agent's process in clock ticks since boot, as in `/proc/PID/stat`: a process that gets the id of a
    /// dead agent is not one.
    pub agent_born: u64,
    /// The agent's own process, in the initial pid namespace: its events are not made.
    pub agent: u32,
    /// Its process group, in the initial pid namespace.
    pub agent_group: u32,
    /// The thread of the agent, in the initial pid namespace, whose unlink(2) makes an event all the same: the agent tries
    /// by it whether its own way works. 0 for none.
    pub tester: u64,
    /// Which of the filters holds: 0 or 1.
    pub chosen: u64,
    /// Number of the variables whose values are told of an exec.
    pub environment: u64,
    /// The filters.
    pub filters: [Filter; 2],
}

/// After a wake-up the reader takes what comes in so many nanoseconds together, so each CPU makes at most one in that time.
pub const REST: u64 = 8_000_000;

/// Of so many threads at most it is known what they left to a kernel half that hands over.
pub const THREADS: usize = 4096;

/// Most variables of the environment whose values are told.
pub const VARIABLES: usize = 16;

/// The name of a variable of the environment with its `=`, as the memory of a process has them, and NULs behind it.
pub type Variable = [u64; 4];

/// A name as a [`Variable`]; `None` for one that is too long (31 bytes at most) or that no variable can have.
pub fn variable(name: &str) -> Option<Variable> {
    let mut it: Variable = [0; 4];
    let bytes = it.as_mut_bytes();
    bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    *bytes.get_mut(name.len())? = b'=';
    (!name.is_empty() && !name.contains(['=', '\0'])).then_some(it)
}

/// The executable of processes, as the exec that started it named it: what the user half knows as `process.exe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Executable {
    /// Its inode.
    pub inode: Inode,
    /// The device of its file system.
    pub dev: Device,
    /// Bytes of `path`.
    pub len: u32,
    /// Its components as events have them: leaf first, each ended by a NUL.
    pub path: [u8; EXECUTABLE_PATH],
}

/// Bytes of the path of an [`Executable`]: one with a longer path is not remembered.
pub const EXECUTABLE_PATH: usize = 128;

/// Something of the agent: a [`crate::names::Touched`], and its number in the kernel (a thread in the initial pid
/// namespace).
pub type Own = [u32; 2];

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
    /// Done by the agent itself, and not counted above: it asks by this whether the hook still runs.
    pub own: u64,
}
