//! Numbers with names: flags, options and sets of the system calls, spelled as the man pages spell them. One table each;
//! the type in an event, the JSON, the schema and the policy take it from here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::wire::{Type, Value, Wire};

/// Numbers and their names. In a set of flags a name of several bits comes before names of some of them.
pub type Names = &'static [(u32, &'static str)];

/// Declares types of the wire that are numbers with names: `Flags` are bits, of `Name` one holds; 0 without a name is null.
macro_rules! names {
    ($( $(#[doc = $doc:literal])* $shape:ident $ty:ident = [$( $number:literal $name:literal, )*]; )*) => {$(
        $(#[doc = $doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct $ty(pub u32);

        impl $ty {
            /// The numbers and their names.
            pub const NAMES: Names = &[$( ($number, $name), )*];
        }

        impl Wire for $ty {
            const TYPE: Type = Type::$shape($ty::NAMES);
            fn value<'a>(&'a self, _tail: &'a [u8]) -> Value<'a> { shape::$shape(self.0, $ty::NAMES) }
        }
    )*};
}

/// How a number of each shape is read.
#[expect(non_snake_case, reason = "named like the variants of Type that they make")]
mod shape {
    use super::Names;
    use crate::wire::Value;

    pub const fn Flags(bits: u32, names: Names) -> Value<'static> {
        Value::Flags(bits, names)
    }

    /// A name for a number; null for 0, the number for one without a name.
    pub fn Name(number: u32, names: Names) -> Value<'static> {
        match names.iter().find(|(it, _)| *it == number) {
            Some((_, name)) => Value::Name(name),
            None if number == 0 => Value::Null,
            None => Value::Uint(number),
        }
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
