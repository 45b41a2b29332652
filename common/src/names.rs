//! Numbers with names: flags, options and sets of the system calls, spelled as the man pages spell them. One table each;
//! the type in an event, the JSON, the schema and the policy take it from here.

mod kernel;
mod privilege;

use crate::{
    Call,
    wire::{Type, Value, Wire},
};
pub use kernel::*;
pub use privilege::*;

/// Numbers and their names. In a set of flags a name of several bits comes before names of some of them.
pub type Names = &'static [(u64, &'static str)];

/// Declares types of the wire that are numbers with names: `Flags` are bits, `Set` has 64 of them, of `Name` one holds;
/// 0 without a name is null.
macro_rules! names {
    ($( $(#[doc = $doc:literal])* $shape:ident $ty:ident = [$( $number:literal $name:literal, )*]; )*) => {$(
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        pub struct $ty(pub $crate::names::number!($shape));

        impl $ty {
            /// The numbers and their names.
            pub const NAMES: $crate::names::Names = &[$( ($number, $name), )*];
        }

        impl $crate::wire::Wire for $ty {
            const TYPE: $crate::wire::Type = $crate::names::shape::$shape::of($ty::NAMES);
            fn value<'a>(&'a self, _tail: &'a [u8]) -> $crate::wire::Value<'a> {
                $crate::names::shape::$shape::value(self.0, $ty::NAMES)
            }
        }
    )*};
}
use names;

/// What holds a number of each shape: sets are low half first, so that bodies need no padding.
macro_rules! number {
    (Set) => {
        [u32; 2]
    };
    ($other:ident) => {
        u32
    };
}
use number;

/// How a number of each shape is read.
mod shape {
    use super::Names;
    use crate::wire::{Type, UNSET, Value};

    pub struct Flags;
    impl Flags {
        pub const fn of(names: Names) -> Type {
            Type::Flags(names)
        }
        pub fn value(bits: u32, names: Names) -> Value<'static> {
            Value::Flags(u64::from(bits), names)
        }
    }

    pub struct Set;
    impl Set {
        pub const fn of(names: Names) -> Type {
            Type::Flags(names)
        }
        pub fn value(halves: [u32; 2], names: Names) -> Value<'static> {
            Value::Flags(u64::from(halves[0]) | u64::from(halves[1]) << 32, names)
        }
    }

    pub struct Name;
    impl Name {
        pub const fn of(names: Names) -> Type {
            Type::Name(names)
        }
        /// Null for 0 and for an unset number, the number for another one without a name.
        pub fn value(number: u32, names: Names) -> Value<'static> {
            match names.iter().find(|(it, _)| *it == u64::from(number)) {
                Some((_, name)) => Value::Name(name),
                None if number == 0 || number == UNSET => Value::Null,
                None => Value::Uint(number),
            }
        }
    }
}

/// The name of a system call; [`Call::None`] is null.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
pub struct CallName(pub u32);

impl Wire for CallName {
    const TYPE: Type = Type::Name(Call::NAMES);
    fn value<'a>(&'a self, _tail: &'a [u8]) -> Value<'a> {
        shape::Name::value(self.0, Call::NAMES)
    }
}

names! {
    /// What an open file may be used for: `O_ACCMODE` of open(2), and 4 for `O_PATH`.
    Name Access = [
        0 "read",
        1 "write",
        2 "read-write",
        3 "path",
        4 "path",
    ];
    /// Flags of open(2) (`include/uapi/asm-generic/fcntl.h`). `O_RDONLY` is the access mode without a bit.
    Flags OpenFlags = [
        0 "O_RDONLY",
        0o1 "O_WRONLY",
        0o2 "O_RDWR",
        0o100 "O_CREAT",
        0o200 "O_EXCL",
        0o400 "O_NOCTTY",
        0o1000 "O_TRUNC",
        0o2000 "O_APPEND",
        0o4000 "O_NONBLOCK",
        0o4_010_000 "O_SYNC",
        0o10000 "O_DSYNC",
        0o20000 "O_ASYNC",
        0o40000 "O_DIRECT",
        0o100_000 "O_LARGEFILE",
        0o20_200_000 "O_TMPFILE",
        0o200_000 "O_DIRECTORY",
        0o400_000 "O_NOFOLLOW",
        0o1_000_000 "O_NOATIME",
        0o2_000_000 "O_CLOEXEC",
        0o10_000_000 "O_PATH",
    ];
    /// Flags of renameat2(2).
    Flags RenameFlags = [
        1 "RENAME_NOREPLACE",
        2 "RENAME_EXCHANGE",
        4 "RENAME_WHITEOUT",
    ];
    /// Signals of signal(7) on x86; 0 is null.
    Name Signal = [
        1 "SIGHUP",
        2 "SIGINT",
        3 "SIGQUIT",
        4 "SIGILL",
        5 "SIGTRAP",
        6 "SIGABRT",
        7 "SIGBUS",
        8 "SIGFPE",
        9 "SIGKILL",
        10 "SIGUSR1",
        11 "SIGSEGV",
        12 "SIGUSR2",
        13 "SIGPIPE",
        14 "SIGALRM",
        15 "SIGTERM",
        16 "SIGSTKFLT",
        17 "SIGCHLD",
        18 "SIGCONT",
        19 "SIGSTOP",
        20 "SIGTSTP",
        21 "SIGTTIN",
        22 "SIGTTOU",
        23 "SIGURG",
        24 "SIGXCPU",
        25 "SIGXFSZ",
        26 "SIGVTALRM",
        27 "SIGPROF",
        28 "SIGWINCH",
        29 "SIGIO",
        30 "SIGPWR",
        31 "SIGSYS",
    ];
    /// Protocols of internet sockets (`IPPROTO_*`), as protocols(5) spells them; 0 (as unix sockets have it) is null.
    Name Protocol = [
        1 "icmp",
        6 "tcp",
        17 "udp",
        33 "dccp",
        47 "gre",
        50 "esp",
        51 "ah",
        58 "ipv6-icmp",
        132 "sctp",
        136 "udplite",
        255 "raw",
        262 "mptcp",
    ];
    /// Types of sockets (`SOCK_*`), see socket(2); 0 is null.
    Name SocketType = [
        1 "stream",
        2 "dgram",
        3 "raw",
        4 "rdm",
        5 "seqpacket",
        6 "dccp",
        10 "packet",
    ];
}

/// The [`Access`] of a file that was opened with `O_PATH`.
pub const ACCESS_PATH: u32 = 4;
