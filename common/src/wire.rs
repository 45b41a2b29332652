//! The wire vocabulary: what an event consists of.
//!
//! ```text
//! | Prefix | Header | body of the kind | tail: the bytes that texts, lists and paths point into |
//! ```
//!
//! All integers are in the byte order of the machine: events never leave it in this form.

mod question;
mod value;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use question::Question;
pub use value::{PathParts, SocketAddr, Type, Value, Wire, items};

use crate::{Call, Hook};

/// Declares a struct of the wire: its bytes, its names and its docs, in one place. A padding hole is a compile error.
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        $name:literal => $ty:ident { $( $(#[doc = $fdoc:literal])* $field:ident: $fty:ty, )* }
    ) => {
        $(#[doc = $doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        pub struct $ty { $( $(#[doc = $fdoc])* pub $field: $fty, )* }

        impl $crate::Record for $ty {
            const NAME: &'static str = $name;
            const DOC: &'static [&'static str] = &[$($doc),*];
            const FIELDS: &'static [$crate::Field] = &[$(
                $crate::Field { name: stringify!($field), doc: &[$($fdoc),*], ty: <$fty as $crate::wire::Wire>::TYPE },
            )*];
            const OFFSETS: &'static [usize] = &[$( core::mem::offset_of!($ty, $field), )*];
            fn value<'a>(&'a self, field: usize, tail: &'a [u8]) -> $crate::Value<'a> {
                let mut at = 0;
                $( if field == at { return $crate::wire::Wire::value(&self.$field, tail) } at += 1; )*
                debug_assert!(field >= at);
                $crate::Value::Null
            }
            fn marks(&self, field: usize) -> u32 {
                let mut at = 0;
                $( if field == at { return $crate::wire::Wire::marks(&self.$field) } at += 1; )*
                debug_assert!(field >= at);
                0
            }
        }
    };
}
pub(crate) use record;

/// Where a value came from and what happened to it on the way.
pub mod mark {
    /// Copied from the memory of the calling process, which may have changed it meanwhile.
    pub const USER: u32 = 1;
    /// Longer than the kernel half's buffer: the end (of a path: the root side) is missing.
    pub const TRUNCATED: u32 = 2;
    /// The file has no name any more (`i_nlink` is 0).
    pub const DELETED: u32 = 4;
    /// The file hangs in no directory tree (memfd, pipe, socket): the path is its bare name.
    pub const DETACHED: u32 = 8;
    /// There is no such value in this event.
    pub const ABSENT: u32 = 16;
    /// Of a path: a security hook was asked with this very object. The name beside it is what the memory of the caller
    /// said when the call returned; it tells nothing about the object.
    pub const OBJECT: u32 = 32;
}

/// The number that stands for "unset" in ids, as in `loginuid` (see `audit_getloginuid` and auditctl(8)).
pub const UNSET: u32 = u32::MAX;

/// The first bytes of an event: how to read the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Prefix {
    /// Start of the process (of its first thread), nanoseconds since boot.
    pub start: u64,
    /// Bytes of the tail.
    pub tail: u32,
    /// A [`crate::Kind`], as a number.
    pub kind: u16,
    /// A [`Call`], as a number.
    pub call: u8,
    /// A [`Hook`], as a number.
    pub hook: u8,
}

record! {
    /// What every event says: when, on which CPU, who, in which namespaces.
    "header" => Header {
        /// Time since boot including suspend (`CLOCK_BOOTTIME`), in nanoseconds.
        ktime: u64,
        /// Number of the event on its CPU, counted by the kernel half from its start: a gap is a loss.
        seq: u64,
        /// Id of the control group (cgroup v2), which is the inode of its directory.
        cgroup_id: u64,
        /// What the call returned; 0 where the kernel half sees no return value.
        ret: i64,
        /// The CPU on which it happened.
        cpu: u32,
        /// Process id (`tgid` in the kernel), in the initial pid namespace.
        pid: u32,
        /// Thread id (`pid` in the kernel), in the initial pid namespace.
        tid: u32,
        /// Process id of the parent.
        ppid: u32,
        /// Real user id.
        uid: Id,
        /// Real group id.
        gid: Id,
        /// Saved set-user-id.
        suid: Id,
        /// Saved set-group-id.
        sgid: Id,
        /// Effective user id.
        euid: Id,
        /// Effective group id.
        egid: Id,
        /// User id for file access.
        fsuid: Id,
        /// Group id for file access.
        fsgid: Id,
        /// Audit user id: who logged in (`loginuid`); null when nobody did.
        auid: Id,
        /// Audit session id; null when unset.
        sessionid: Id,
        /// Inode of the mount namespace.
        mnt_ns: u32,
        /// Inode of the pid namespace in which children are born.
        pid_ns: u32,
        /// Inode of the network namespace.
        net_ns: u32,
        /// Inode of the user namespace of the credentials.
        user_ns: u32,
        /// Name of the thread (`comm`).
        comm: Name16,
        /// Controlling terminal; null when there is none.
        tty: Name16,
    }
}

/// A user, group or session id; [`UNSET`] is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Id(pub u32);

/// A truth value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Bool(pub u32);

/// A short name ended by a NUL, as `comm`; null when empty.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Name16(pub [u8; 16]);

/// File type and permission bits (`st_mode`); [`UNSET`] is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mode(pub u32);

/// A device as the kernel numbers it (`dev_t`: major in the upper 12 bits); [`UNSET`] is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Device(pub u32);

/// An inode number, low half first, so that bodies need no padding; 0 is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Inode(pub [u32; 2]);

/// A 64-bit number, low half first, so that bodies need no padding; [`u64::MAX`] is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Wide(pub [u32; 2]);

impl From<u64> for Wide {
    fn from(number: u64) -> Self {
        Self([number as u32, (number >> 32) as u32])
    }
}

/// A value that was copied from the memory of the caller ([`mark::USER`]).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct User<T>(pub T);

impl From<u64> for Inode {
    fn from(number: u64) -> Self {
        Self([number as u32, (number >> 32) as u32])
    }
}

/// A moment in nanoseconds since 1970, low half first, so that bodies need no padding; [`Moment::NONE`] is null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Moment(pub [u32; 2]);

impl Moment {
    /// No moment.
    pub const NONE: Moment = Moment([0, 0x8000_0000]);
}

impl From<i64> for Moment {
    fn from(nanoseconds: i64) -> Self {
        let bits = nanoseconds.cast_unsigned();
        Self([bits as u32, (bits >> 32) as u32])
    }
}

/// Bytes of the tail, by position.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Text {
    /// Offset in the tail.
    pub start: u32,
    /// Bytes, without a NUL at the end.
    pub len: u32,
    /// Bits of [`mark`].
    pub marks: u32,
}

/// Strings of the tail, each ended by a NUL (a truncated last one may lack it).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TextList {
    /// Offset in the tail.
    pub start: u32,
    /// Bytes, NULs counted.
    pub len: u32,
    /// Bits of [`mark`].
    pub marks: u32,
}

/// A path: a place that the kernel resolved and, where the kernel kept no more, a name that the caller gave.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Path {
    /// Offset in the tail of the components as the kernel half met them: leaf first, each ended by a NUL.
    pub start: u32,
    /// Bytes of the components.
    pub len: u32,
    /// Offset of the name that the caller gave, relative to the place.
    pub name: u32,
    /// Bytes of that name; 0 when the kernel resolved all of it.
    pub name_len: u32,
    /// Bits of [`mark`].
    pub marks: u32,
}

/// The beginning of a DNS message in the tail: [`Question::MOST`] bytes, or all there is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Dns {
    /// Offset in the tail.
    pub start: u32,
    /// Bytes.
    pub len: u32,
    /// Bits of [`mark`].
    pub marks: u32,
}

/// Address family numbers of socket(2).
pub mod family {
    /// Local sockets.
    pub const UNIX: u16 = 1;
    /// IPv4.
    pub const INET: u16 = 2;
    /// IPv6.
    pub const INET6: u16 = 10;
}

/// The address of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Addr {
    /// IPv4 in the first four bytes, or IPv6; network order.
    pub ip: [u8; 16],
    /// One of [`family`]; 0 when there is no address.
    pub family: u16,
    /// Port, in the byte order of the machine.
    pub port: u16,
    /// Offset in the tail of a unix socket's name (an abstract one starts with a NUL).
    pub start: u32,
    /// Bytes of that name.
    pub len: u32,
    /// Bits of [`mark`].
    pub marks: u32,
}

/// A field as it was declared.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in records and policies.
    pub name: &'static str,
    /// Its doc comment, a line each.
    pub doc: &'static [&'static str],
    /// What it is.
    pub ty: Type,
}

/// A declared struct: the header or the body of a kind.
pub trait Record: FromBytes + IntoBytes + Immutable + KnownLayout {
    /// Its name in records and policies.
    const NAME: &'static str;
    /// Its doc comment, a line each.
    const DOC: &'static [&'static str];
    /// Its fields, in the order of the wire.
    const FIELDS: &'static [Field];
    /// Where each field starts in the struct, in bytes.
    const OFFSETS: &'static [usize];
    /// The value of a field by its position in [`Record::FIELDS`]; null beyond.
    fn value<'a>(&'a self, field: usize, tail: &'a [u8]) -> Value<'a>;
    /// The marks of a field by its position in [`Record::FIELDS`].
    fn marks(&self, field: usize) -> u32;
}

/// Why bytes from the ring buffer are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the event does.
    Short,
    /// The bytes do not start at an address that is a multiple of 8.
    Unaligned,
    /// No kind has this number.
    UnknownKind(u16),
    /// No system call of ours has this number.
    UnknownCall(u8),
    /// No hook of ours has this number.
    UnknownHook(u8),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("the event is cut short"),
            Self::Unaligned => f.write_str("the event does not start at a multiple of 8"),
            Self::UnknownKind(it) => write!(f, "kind {it} is unknown"),
            Self::UnknownCall(it) => write!(f, "call {it} is unknown"),
            Self::UnknownHook(it) => write!(f, "hook {it} is unknown"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Checks the numbers of a prefix that stand for names.
pub(crate) fn check(prefix: &Prefix) -> Result<(Call, Hook), DecodeError> {
    let call = Call::from_number(prefix.call).ok_or(DecodeError::UnknownCall(prefix.call))?;
    let hook = Hook::from_number(prefix.hook).ok_or(DecodeError::UnknownHook(prefix.hook))?;
    Ok((call, hook))
}
