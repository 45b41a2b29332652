//! The system calls that make events, and the names of the numbers they take.

use crate::Kind;

/// System calls are looked up by number in a table of this many entries.
pub const TABLE: usize = 512;

macro_rules! calls {
    ($( $id:literal $variant:ident $name:literal $x86_64:literal $i386:literal $kind:ident, )*) => {
        /// A system call that makes events. The number is part of the wire and never reused.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Call {
            /// The event comes from no system call.
            None = 0,
            $( #[doc = concat!("See ", $name, "(2).")] $variant = $id, )*
        }

        impl Call {
            /// All calls.
            pub const ALL: &'static [Call] = &[$( Call::$variant, )*];
            /// The call of a number on the wire.
            pub const fn from_number(number: u8) -> Option<Call> {
                match number { 0 => Some(Call::None), $( $id => Some(Call::$variant), )* _ => None }
            }
            /// Its name in man section 2; empty for [`Call::None`].
            pub const fn name(self) -> &'static str { match self { Call::None => "", $( Call::$variant => $name, )* } }
            /// The kind of its events. `unlinkat` makes [`Kind::Unlink`] or [`Kind::Rmdir`].
            pub const fn kind(self) -> Option<Kind> { match self { Call::None => None, $( Call::$variant => Some(Kind::$kind), )* } }
            /// Its number on x86_64 (`arch/x86/entry/syscalls/syscall_64.tbl`).
            pub const fn x86_64(self) -> usize { match self { Call::None => TABLE, $( Call::$variant => $x86_64, )* } }
            /// Its number for 32-bit programs (`arch/x86/entry/syscalls/syscall_32.tbl`).
            pub const fn i386(self) -> usize { match self { Call::None => TABLE, $( Call::$variant => $i386, )* } }
        }
    };
}

calls! {
    1 Execve "execve" 59 11 Exec,
    2 Execveat "execveat" 322 358 Exec,
    3 Open "open" 2 5 Open,
    4 Openat "openat" 257 295 Open,
    5 Openat2 "openat2" 437 437 Open,
    6 Creat "creat" 85 8 Open,
    7 Unlink "unlink" 87 10 Unlink,
    8 Unlinkat "unlinkat" 263 301 Unlink,
    9 Rmdir "rmdir" 84 40 Rmdir,
    10 Rename "rename" 82 38 Rename,
    11 Renameat "renameat" 264 302 Rename,
    12 Renameat2 "renameat2" 316 353 Rename,
    13 Link "link" 86 9 Link,
    14 Linkat "linkat" 265 303 Link,
    15 Symlink "symlink" 88 83 Symlink,
    16 Symlinkat "symlinkat" 266 304 Symlink,
    17 Chmod "chmod" 90 15 Chmod,
    18 Fchmod "fchmod" 91 94 Chmod,
    19 Fchmodat "fchmodat" 268 306 Chmod,
    20 Fchmodat2 "fchmodat2" 452 452 Chmod,
    21 Chown "chown" 92 212 Chown,
    22 Fchown "fchown" 93 207 Chown,
    23 Lchown "lchown" 94 198 Chown,
    24 Fchownat "fchownat" 260 298 Chown,
    25 Truncate "truncate" 76 92 Truncate,
    26 Ftruncate "ftruncate" 77 93 Truncate,
    27 Connect "connect" 42 362 Connect,
    28 Bind "bind" 49 361 Bind,
    29 Listen "listen" 50 363 Listen,
    30 Accept "accept" 43 511 Accept,
    31 Accept4 "accept4" 288 364 Accept,
    32 Sendto "sendto" 44 369 Send,
    33 Sendmsg "sendmsg" 46 370 Send,
}

/// `O_ACCMODE` and the access it gives, see open(2).
pub const fn access(mode: u32) -> &'static str {
    match mode {
        0 => "read",
        1 => "write",
        2 => "read-write",
        _ => "path",
    }
}

/// The [`access`] of a file that was opened with `O_PATH`.
pub const ACCESS_PATH: u32 = 4;

/// Flags of open(2) (`include/uapi/asm-generic/fcntl.h`). `O_RDONLY` is the access mode without a bit.
pub const OPEN_FLAGS: &[(u32, &str)] = &[
    (0, "O_RDONLY"),
    (0o1, "O_WRONLY"),
    (0o2, "O_RDWR"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4_010_000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (0o20000, "O_ASYNC"),
    (0o40000, "O_DIRECT"),
    (0o100_000, "O_LARGEFILE"),
    (0o20_200_000, "O_TMPFILE"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
];

/// Flags of renameat2(2).
pub const RENAME_FLAGS: &[(u32, &str)] = &[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")];

/// Signals of signal(7) on x86.
pub const SIGNALS: &[(u32, &str)] = &[
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (16, "SIGSTKFLT"),
    (17, "SIGCHLD"),
    (18, "SIGCONT"),
    (19, "SIGSTOP"),
    (20, "SIGTSTP"),
    (21, "SIGTTIN"),
    (22, "SIGTTOU"),
    (23, "SIGURG"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (28, "SIGWINCH"),
    (29, "SIGIO"),
    (30, "SIGPWR"),
    (31, "SIGSYS"),
];

/// Protocols of internet sockets (`IPPROTO_*`), as protocols(5) spells them.
pub const PROTOCOLS: &[(u32, &str)] = &[
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (132, "sctp"),
    (136, "udplite"),
    (255, "raw"),
    (262, "mptcp"),
];

/// Types of sockets, see socket(2).
pub const SOCKET_TYPES: &[(u32, &str)] =
    &[(1, "stream"), (2, "dgram"), (3, "raw"), (4, "rdm"), (5, "seqpacket"), (6, "dccp"), (10, "packet")];

const _: () = {
    let mut at = 0;
    while at < Call::ALL.len() {
        assert!(Call::ALL[at] as usize == at + 1 && Call::ALL[at].x86_64() < TABLE && Call::ALL[at].i386() < TABLE);
        at += 1;
    }
};
