//! Numbers with names: flags, options and sets of the system calls, spelled as the man pages spell them. One table each;
//! the type in an event, the JSON, the schema and the policy take it from here.

mod dns;
mod kernel;
mod privilege;

use crate::{
    Call,
    wire::{Type, Value, Wire},
};
pub use dns::*;
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
    /// Operations of io_uring(7) that are told (`enum io_uring_op` in `include/uapi/linux/io_uring.h`).
    Name UringOperation = [
        2 "writev",
        5 "write_fixed",
        9 "sendmsg",
        13 "accept",
        16 "connect",
        17 "fallocate",
        18 "openat",
        23 "write",
        26 "send",
        28 "openat2",
        30 "splice",
        35 "renameat",
        36 "unlinkat",
        38 "symlinkat",
        39 "linkat",
        45 "socket",
        47 "send_zc",
        48 "sendmsg_zc",
        55 "ftruncate",
        56 "bind",
        57 "listen",
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
    /// Which times utimensat(2) and its like change.
    Flags Times = [
        1 "atime",
        2 "mtime",
    ];
    /// Flags of setxattr(2).
    Flags XattrFlags = [
        1 "XATTR_CREATE",
        2 "XATTR_REPLACE",
    ];
    /// Attributes of a file as file_setattr(2) and `FS_IOC_FSSETXATTR` have them (`include/uapi/linux/fs.h`).
    Flags XFlags = [
        0x1 "FS_XFLAG_REALTIME",
        0x2 "FS_XFLAG_PREALLOC",
        0x8 "FS_XFLAG_IMMUTABLE",
        0x10 "FS_XFLAG_APPEND",
        0x20 "FS_XFLAG_SYNC",
        0x40 "FS_XFLAG_NOATIME",
        0x80 "FS_XFLAG_NODUMP",
        0x100 "FS_XFLAG_RTINHERIT",
        0x200 "FS_XFLAG_PROJINHERIT",
        0x400 "FS_XFLAG_NOSYMLINKS",
        0x800 "FS_XFLAG_EXTSIZE",
        0x1000 "FS_XFLAG_EXTSZINHERIT",
        0x2000 "FS_XFLAG_NODEFRAG",
        0x4000 "FS_XFLAG_FILESTREAM",
        0x8000 "FS_XFLAG_DAX",
        0x1_0000 "FS_XFLAG_COWEXTSIZE",
        0x8000_0000 "FS_XFLAG_HASATTR",
    ];
    /// Attributes of a file as chattr(1) and `FS_IOC_SETFLAGS` have them, see ioctl_iflags(2).
    Flags InodeFlags = [
        0x1 "FS_SECRM_FL",
        0x2 "FS_UNRM_FL",
        0x4 "FS_COMPR_FL",
        0x8 "FS_SYNC_FL",
        0x10 "FS_IMMUTABLE_FL",
        0x20 "FS_APPEND_FL",
        0x40 "FS_NODUMP_FL",
        0x80 "FS_NOATIME_FL",
        0x800 "FS_ENCRYPT_FL",
        0x1000 "FS_INDEX_FL",
        0x4000 "FS_JOURNAL_DATA_FL",
        0x8000 "FS_NOTAIL_FL",
        0x1_0000 "FS_DIRSYNC_FL",
        0x2_0000 "FS_TOPDIR_FL",
        0x8_0000 "FS_EXTENT_FL",
        0x10_0000 "FS_VERITY_FL",
        0x80_0000 "FS_NOCOW_FL",
        0x200_0000 "FS_DAX_FL",
        0x1000_0000 "FS_INLINE_DATA_FL",
        0x2000_0000 "FS_PROJINHERIT_FL",
        0x4000_0000 "FS_CASEFOLD_FL",
    ];
    /// Flags of mount(2) (`include/uapi/linux/mount.h`).
    Flags MountFlags = [
        0x1 "MS_RDONLY",
        0x2 "MS_NOSUID",
        0x4 "MS_NODEV",
        0x8 "MS_NOEXEC",
        0x10 "MS_SYNCHRONOUS",
        0x20 "MS_REMOUNT",
        0x40 "MS_MANDLOCK",
        0x80 "MS_DIRSYNC",
        0x100 "MS_NOSYMFOLLOW",
        0x400 "MS_NOATIME",
        0x800 "MS_NODIRATIME",
        0x1000 "MS_BIND",
        0x2000 "MS_MOVE",
        0x4000 "MS_REC",
        0x8000 "MS_SILENT",
        0x1_0000 "MS_POSIXACL",
        0x2_0000 "MS_UNBINDABLE",
        0x4_0000 "MS_PRIVATE",
        0x8_0000 "MS_SLAVE",
        0x10_0000 "MS_SHARED",
        0x20_0000 "MS_RELATIME",
        0x80_0000 "MS_I_VERSION",
        0x100_0000 "MS_STRICTATIME",
        0x200_0000 "MS_LAZYTIME",
    ];
    /// Attributes of a mount, see mount_setattr(2).
    Flags MountAttributes = [
        0x1 "MOUNT_ATTR_RDONLY",
        0x2 "MOUNT_ATTR_NOSUID",
        0x4 "MOUNT_ATTR_NODEV",
        0x8 "MOUNT_ATTR_NOEXEC",
        0x70 "MOUNT_ATTR__ATIME",
        0x10 "MOUNT_ATTR_NOATIME",
        0x20 "MOUNT_ATTR_STRICTATIME",
        0x80 "MOUNT_ATTR_NODIRATIME",
        0x10_0000 "MOUNT_ATTR_IDMAP",
        0x20_0000 "MOUNT_ATTR_NOSYMFOLLOW",
    ];
    /// Commands of fsconfig(2).
    Name FsconfigCommand = [
        0 "FSCONFIG_SET_FLAG",
        1 "FSCONFIG_SET_STRING",
        2 "FSCONFIG_SET_BINARY",
        3 "FSCONFIG_SET_PATH",
        4 "FSCONFIG_SET_PATH_EMPTY",
        5 "FSCONFIG_SET_FD",
        6 "FSCONFIG_CMD_CREATE",
        7 "FSCONFIG_CMD_RECONFIGURE",
        8 "FSCONFIG_CMD_CREATE_EXCL",
    ];
    /// Flags of umount2(2).
    Flags UmountFlags = [
        1 "MNT_FORCE",
        2 "MNT_DETACH",
        4 "MNT_EXPIRE",
        8 "UMOUNT_NOFOLLOW",
    ];
    /// Flags of swapon(2), without the priority.
    Flags SwapFlags = [
        0x8000 "SWAP_FLAG_PREFER",
        0x1_0000 "SWAP_FLAG_DISCARD",
        0x2_0000 "SWAP_FLAG_DISCARD_ONCE",
        0x4_0000 "SWAP_FLAG_DISCARD_PAGES",
    ];
}

/// The [`Access`] of a file that was opened with `O_PATH`.
pub const ACCESS_PATH: u32 = 4;
