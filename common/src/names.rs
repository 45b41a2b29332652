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
    /// Address families (`AF_*` in `include/linux/socket.h`), see socket(2) and address_families(7); 0 is null.
    Name Family = [
        1 "unix",
        2 "inet",
        3 "ax25",
        4 "ipx",
        5 "appletalk",
        6 "netrom",
        8 "atmpvc",
        9 "x25",
        10 "inet6",
        11 "rose",
        15 "key",
        16 "netlink",
        17 "packet",
        20 "atmsvc",
        21 "rds",
        23 "irda",
        24 "pppox",
        26 "llc",
        27 "ib",
        28 "mpls",
        29 "can",
        30 "tipc",
        31 "bluetooth",
        33 "rxrpc",
        35 "phonet",
        36 "ieee802154",
        37 "caif",
        38 "alg",
        39 "nfc",
        40 "vsock",
        41 "kcm",
        42 "qipcrtr",
        43 "smc",
        44 "xdp",
        45 "mctp",
    ];
    /// Types of records of the domain name system (IANA, "Resource Record (RR) TYPEs"); 0 is null.
    Name RecordType = [
        1 "A",
        2 "NS",
        5 "CNAME",
        6 "SOA",
        10 "NULL",
        12 "PTR",
        13 "HINFO",
        15 "MX",
        16 "TXT",
        28 "AAAA",
        29 "LOC",
        33 "SRV",
        35 "NAPTR",
        39 "DNAME",
        41 "OPT",
        43 "DS",
        44 "SSHFP",
        46 "RRSIG",
        47 "NSEC",
        48 "DNSKEY",
        50 "NSEC3",
        52 "TLSA",
        64 "SVCB",
        65 "HTTPS",
        99 "SPF",
        251 "IXFR",
        252 "AXFR",
        255 "ANY",
        257 "CAA",
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
