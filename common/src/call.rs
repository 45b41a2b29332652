//! The system calls that make events.

use crate::Kind;

/// System calls are looked up by number in a table of this many entries.
pub const TABLE: usize = 512;

/// The number where an architecture lacks a call: no call has it.
pub const NONE: usize = 511;

/// Kinds that [`Call::Socketcall`] makes.
const SOCKETS: &[Kind] =
    &[Kind::Socket, Kind::Bind, Kind::Connect, Kind::Listen, Kind::Accept, Kind::Send, Kind::Dns];

/// The call that the first argument of socketcall(2) stands for (`include/uapi/linux/net.h`).
pub const fn of_socketcall(number: u64) -> Call {
    match number {
        1 => Call::Socket,
        2 => Call::Bind,
        3 => Call::Connect,
        4 => Call::Listen,
        5 => Call::Accept,
        11 => Call::Sendto,
        16 => Call::Sendmsg,
        18 => Call::Accept4,
        20 => Call::Sendmmsg,
        _ => Call::None,
    }
}

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
            /// The kind of its events, or the first of [`Call::kinds`].
            pub const fn kind(self) -> Option<Kind> { match self { Call::None => None, $( Call::$variant => Some(Kind::$kind), )* } }
            /// All kinds of its events.
            pub const fn kinds(self) -> &'static [Kind] {
                match self {
                    Call::None => &[],
                    Call::Unlinkat => &[Kind::Unlink, Kind::Rmdir],
                    Call::Sendto | Call::Sendmsg | Call::Sendmmsg => &[Kind::Send, Kind::Dns],
                    Call::Socketcall => SOCKETS,
                    $( #[allow(unreachable_patterns, reason = "calls of several kinds are above")] Call::$variant => &[Kind::$kind], )*
                }
            }
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
    160 Socket "socket" 41 359 Socket,
    161 Socketcall "socketcall" 511 102 Socket,
    162 Sendmmsg "sendmmsg" 307 345 Send,
}

const _: () = {
    let mut at = 0;
    while at < Call::ALL.len() {
        assert!(Call::ALL[at].x86_64() < TABLE && Call::ALL[at].i386() < TABLE);
        at += 1;
    }
};
