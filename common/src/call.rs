//! The system calls that make events.

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
    40 Mkdir "mkdir" 83 39 Mkdir,
    41 Mkdirat "mkdirat" 258 296 Mkdir,
    42 Mknod "mknod" 133 14 Mknod,
    43 Mknodat "mknodat" 259 297 Mknod,
    44 Setxattr "setxattr" 188 226 Setxattr,
    45 Lsetxattr "lsetxattr" 189 227 Setxattr,
    46 Fsetxattr "fsetxattr" 190 228 Setxattr,
    47 Setxattrat "setxattrat" 463 463 Setxattr,
    48 Removexattr "removexattr" 197 235 Removexattr,
    49 Lremovexattr "lremovexattr" 198 236 Removexattr,
    50 Fremovexattr "fremovexattr" 199 237 Removexattr,
    51 Removexattrat "removexattrat" 466 466 Removexattr,
    52 Utime "utime" 132 30 Utimes,
    53 Utimes "utimes" 235 271 Utimes,
    54 Futimesat "futimesat" 261 299 Utimes,
    55 Utimensat "utimensat" 280 320 Utimes,
    56 UtimensatTime64 "utimensat_time64" 511 412 Utimes,
    57 FileSetattr "file_setattr" 469 469 FileSetattr,
    58 Ioctl "ioctl" 16 54 FileSetattr,
    59 OpenByHandleAt "open_by_handle_at" 304 342 Open,
    60 Mount "mount" 165 21 Mount,
    61 MoveMount "move_mount" 429 429 Mount,
    62 OpenTree "open_tree" 428 428 Mount,
    63 OpenTreeAttr "open_tree_attr" 467 467 Mount,
    64 Fsopen "fsopen" 430 430 Mount,
    65 Fsconfig "fsconfig" 431 431 Mount,
    66 Fsmount "fsmount" 432 432 Mount,
    67 Fspick "fspick" 433 433 Mount,
    68 MountSetattr "mount_setattr" 442 442 Mount,
    69 Umount2 "umount2" 166 52 Umount,
    70 Umount "umount" 511 22 Umount,
    71 PivotRoot "pivot_root" 155 217 PivotRoot,
    72 Chroot "chroot" 161 61 Chroot,
    73 Swapon "swapon" 167 87 Swap,
    74 Swapoff "swapoff" 168 115 Swap,
}

const _: () = {
    let mut at = 0;
    while at < Call::ALL.len() {
        assert!(Call::ALL[at].x86_64() < TABLE && Call::ALL[at].i386() < TABLE);
        at += 1;
    }
};
