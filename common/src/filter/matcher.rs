//! What the kernel half asks of an event that is written but not sent: a small program for each kind.
//!
//! It answers questions, each of which has a bit: yes, no, or "that cannot be told here". Then it takes the steps in
//! their order: the first one whose conditions are met for certain decides. An event is not discarded if a step before
//! may have sent it. So nothing is left out that the policy might have kept.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most numbers that are looked at.
pub const ATOMS: usize = 64;
/// Most paths that paths are compared with: a power of two.
pub const PLACES: usize = 64;
/// Most steps.
pub const STEPS: usize = 64;
/// Most bytes of a path that paths are compared with.
pub const PATTERN: usize = 64;
/// Most paths of an event that are looked at.
pub const PATHS: usize = 2;
/// Stands for the executable of the process, among the paths of an event.
pub const EXECUTABLE: u8 = PATHS as u8;

/// What becomes of an event.
pub mod outcome {
    /// It is not sent.
    pub const DISCARD: u32 = 0;
    /// It is sent in the lane of its kind.
    pub const SEND: u32 = 1;
    /// It is an alert: sent in [`crate::Lane::Critical`].
    pub const ALERT: u32 = 2;
}

/// A number of the event within bounds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Atom {
    /// Bits of the number that count.
    pub mask: u64,
    /// The least value.
    pub low: u64,
    /// The greatest value.
    pub high: u64,
    /// Where the eight bytes of the number start in the event: a multiple of 4.
    pub offset: u32,
    /// The bit of the question; one atom that says yes is enough.
    pub bit: u16,
    /// 1: it holds only together with the next atom.
    pub joined: u16,
}

/// A path that a path of the event is or begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Place {
    /// Its components as events have them: leaf first, each ended by a NUL; at the end of the array.
    pub leaf_first: [u8; PATTERN],
    /// Its text; at the start of the array. A whole path has its NUL, the beginning of one its last slash.
    pub root_first: [u8; PATTERN],
    /// Bytes of `leaf_first`.
    pub leaf_len: u8,
    /// Bytes of `root_first`.
    pub root_len: u8,
    /// Bytes of the component next to the root, its NUL counted.
    pub first_len: u8,
    /// 1: the whole path; 0: the beginning.
    pub whole: u8,
    /// 1: a yes is only a "may be": the real pattern goes on.
    pub loose: u8,
    /// The bit of the question; one place that says yes is enough.
    pub bit: u8,
    /// Which of the paths in [`Matcher::paths`], or [`EXECUTABLE`].
    pub path: u8,
    /// Nothing.
    pub reserved: u8,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            leaf_first: [0; PATTERN],
            root_first: [0; PATTERN],
            leaf_len: 0,
            root_len: 0,
            first_len: 0,
            whole: 0,
            loose: 0,
            bit: 0,
            path: 0,
            reserved: 0,
        }
    }
}

/// The part of a place next to the root: a path that differs there is elsewhere.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Near {
    /// The last words of [`Place::leaf_first`], or the first of [`Place::root_first`].
    pub words: [u64; 2],
    /// Bits of them that are part of the place.
    pub bits: [u64; 2],
}

/// What decides about an event, if no step before did.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Step {
    /// Questions that must be answered with yes.
    pub with: u64,
    /// Questions that must be answered with no.
    pub without: u64,
    /// One of [`outcome`].
    pub outcome: u32,
    /// 1: the rule has more conditions than these questions: they are never met for certain.
    pub partly: u32,
}

/// What is asked of the events of a kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Matcher {
    /// Questions that have more answers than are looked for here: there is no certain no.
    pub open: u64,
    /// Number of atoms.
    pub atom_count: u32,
    /// Number of places.
    pub place_count: u32,
    /// Number of steps.
    pub step_count: u32,
    /// What becomes of an event about which no step decides: one of [`outcome`].
    pub otherwise: u32,
    /// Bits of [`super::class`]: events of these classes are sent, whatever else they say, unless a path of theirs is near one
    /// of the places.
    pub elsewhere: u32,
    /// 1: some place is about the executable of the process.
    pub asks_executable: u32,
    /// Where the paths that are looked at ([`crate::wire::Path`]) start in the event; 0 for none.
    pub paths: [u32; PATHS],
    /// Where the words of each path start in `leaves` and `roots`, and where they end.
    pub near: [[u32; 2]; PATHS],
    /// The last words of the places that are about each of the paths, as events have them.
    pub leaves: [Near; PLACES],
    /// Their first words, as they are written.
    pub roots: [Near; PLACES],
    /// The atoms.
    pub atoms: [Atom; ATOMS],
    /// The places.
    pub places: [Place; PLACES],
    /// The steps.
    pub steps: [Step; STEPS],
}

impl Default for Matcher {
    fn default() -> Self {
        Self {
            open: 0,
            atom_count: 0,
            place_count: 0,
            step_count: 0,
            otherwise: outcome::SEND,
            elsewhere: 0,
            asks_executable: 0,
            paths: [0; PATHS],
            near: [[0; 2]; PATHS],
            leaves: [Near::default(); PLACES],
            roots: [Near::default(); PLACES],
            atoms: [Atom::default(); ATOMS],
            places: [Place::default(); PLACES],
            steps: [Step::default(); STEPS],
        }
    }
}
