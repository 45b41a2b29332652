//! The question of a DNS message (RFC 1035, 4.1): what is asked is read from the bytes that a program sends.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Text, Type, Value, Wire, mark, value::slice};
use crate::names::RecordType;

/// Bytes of a header.
const HEADER: usize = 12;
/// Bytes of the longest name, lengths and the empty label at its end included.
const NAME: usize = 255;
/// Bytes of the longest label.
const LABEL: u8 = 63;

/// The first question of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The number of the message.
    pub id: u16,
    /// The labels, each after its length; empty for the root.
    pub labels: &'a [u8],
    /// The type of records.
    pub qtype: u16,
}

impl<'a> Question<'a> {
    /// Reads a message. `None` for anything but a query with a question that is whole: no answers, no pointers into
    /// other parts of the message.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER] = message.first_chunk()?;
        // QR is 0 and the opcode QUERY
        let is_query = header[2] & 0xf8 == 0;
        if !is_query || u16::from_be_bytes([header[4], header[5]]) == 0 {
            return None;
        }
        let name = message.get(HEADER..)?;
        let mut end = 0;
        loop {
            match *name.get(end)? {
                0 => break,
                len if len <= LABEL => end += 1 + usize::from(len),
                _ => return None,
            }
            if end >= NAME {
                return None;
            }
        }
        let qtype = name.get(end + 1..)?.first_chunk::<4>()?;
        Some(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            labels: name.get(..end)?,
            qtype: u16::from_be_bytes([qtype[0], qtype[1]]),
        })
    }
}

/// The labels of a name in turn; each is at most as long as the bytes that are there.
pub fn labels(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (len, rest) = bytes.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        bytes = rest;
        Some(label)
    })
}

macro_rules! parts {
    ($( $(#[doc = $doc:literal])* $ty:ident => $shape:expr, |$question:ident| $value:expr; )*) => {$(
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct $ty(pub Text);

        impl Wire for $ty {
            const TYPE: Type = $shape;
            fn value<'a>(&'a self, tail: &'a [u8]) -> Value<'a> {
                let message = if self.0.marks & mark::ABSENT == 0 { slice(tail, self.0.start, self.0.len) } else { &[] };
                match Question::read(message) {
                    Some($question) => $value,
                    None => Value::Null,
                }
            }
            fn marks(&self) -> u32 { self.0.marks }
        }
    )*};
}

parts! {
    /// The name in a message.
    QuestionName => Type::Text, |it| Value::Domain(it.labels);
    /// The type of records in a message.
    QuestionType => Type::Name(RecordType::NAMES), |it| match RecordType::NAMES.iter().find(|(number, _)| *number == u32::from(it.qtype)) {
        Some((_, name)) => Value::Name(name),
        None => Value::Uint(it.qtype.into()),
    };
    /// The number of a message.
    MessageId => Type::Uint, |it| Value::Uint(it.id.into());
}
