//! The question of a DNS message (RFC 1035 section 4), read in place.

use super::Value;
use crate::names::{RECORD_CLASSES, RECORD_TYPES, name_of};

/// Bytes of the header of a message.
const HEADER: usize = 12;
/// Most bytes of a label, and of a name with the lengths of its labels and the root.
const LABEL: usize = 63;
const NAME: usize = 255;
/// Type and class behind a name.
const BEHIND: usize = 4;

/// What a name server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The number that ties the answer to the question.
    pub id: u16,
    /// The labels, each behind its length, without the root.
    name: &'a [u8],
    /// Number of the type of record that is asked for.
    record_type: u16,
    /// Number of its class.
    class: u16,
}

impl<'a> Question<'a> {
    /// Nothing behind this many bytes of a message belongs to its first question.
    pub const MOST: usize = HEADER + NAME + BEHIND;

    /// Reads the beginning of a message. `None` when it is no query with one question whose name is written out: an
    /// answer, another operation, a length that leads out of the name or the message, a pointer.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let (header, rest) = message.split_at_checked(HEADER)?;
        let word = |bytes: &[u8], at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        // QR and the operation are the upper five bits
        let (flags, questions) = (word(header, 2)?, word(header, 4)?);
        if flags >> 11 != 0 || questions != 1 {
            return None;
        }
        let mut end = 0;
        loop {
            match usize::from(*rest.get(end)?) {
                0 => break,
                len if len > LABEL => return None,
                len => end += 1 + len,
            }
            if end >= NAME {
                return None;
            }
        }
        let (name, behind) = rest.split_at_checked(end)?;
        Some(Self { id: word(header, 0)?, name, record_type: word(behind, 1)?, class: word(behind, 3)? })
    }

    /// The labels of the name from the left; none for the root.
    pub fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.name;
        core::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (label, after) = behind.split_at_checked(usize::from(*len))?;
            rest = after;
            Some(label)
        })
    }

    /// The type of record that is asked for: its name, or its number when it has none.
    pub fn record_type(self) -> Value<'static> {
        name_of(self.record_type, RECORD_TYPES)
    }

    /// Its class, in the same way.
    pub fn class(self) -> Value<'static> {
        name_of(self.class, RECORD_CLASSES)
    }
}
