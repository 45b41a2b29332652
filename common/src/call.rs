//! The system calls that make events.

use crate::Kind;

/// System calls are looked up by number in a table of this many entries.
pub const TABLE: usize = 512;

/// The number of a call that one of the architectures lacks. No call has it.
pub const LACKING: usize = TABLE - 1;

/// The number of socketcall(2), which 32-bit programs have, and what a table of calls says about it: the call is one of
/// [`SOCKET_OPERATIONS`].
pub const SOCKETCALL: (usize, u8) = (102, u8::MAX);

/// The calls that socketcall(2) does, by its first argument (`include/uapi/linux/net.h`).
pub const SOCKET_OPERATIONS: &[(usize, Call)] = &[
    (1, Call::Socket),
    (2, Call::Bind),
    (3, Call::Connect),
    (4, Call::Listen),
    (5, Call::Accept),
    (11, Call::Sendto),
    (16, Call::Sendmsg),
    (18, Call::Accept4),
    (20, Call::Sendmmsg),
];

macro_rules! calls {
    ($( $id:literal $variant:ident $name:literal $x86_64:literal $i386:literal $(| $wide:literal)? $kind:ident, )*) => {
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
            /// The kind of its events. `unlinkat` makes [`Kind::Unlink`] or [`Kind::Rmdir`]; those of [`Kind::Send`] also make
            /// [`Kind::Dns`].
            pub const fn kind(self) -> Option<Kind> { match self { Call::None => None, $( Call::$variant => Some(Kind::$kind), )* } }
            /// The numbers on the wire, and their names.
            pub const NAMES: crate::names::Names = &[$( ($id, $name), )*];
            /// Its number on x86_64 (`arch/x86/entry/syscalls/syscall_64.tbl`).
            pub const fn x86_64(self) -> usize { match self { Call::None => TABLE, $( Call::$variant => $x86_64, )* } }
            /// Its numbers for 32-bit programs (`arch/x86/entry/syscalls/syscall_32.tbl`): where there are two, the first
            /// takes ids of 16 bits, or a length of 32.
            pub const fn i386(self) -> &'static [usize] {
                match self { Call::None => &[TABLE], $( Call::$variant => &[$i386 $(, $wide)?], )* }
            }
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
    21 Chown "chown" 92 182|212 Chown,
    22 Fchown "fchown" 93 95|207 Chown,
    23 Lchown "lchown" 94 16|198 Chown,
    24 Fchownat "fchownat" 260 298 Chown,
    25 Truncate "truncate" 76 92|193 Truncate,
    26 Ftruncate "ftruncate" 77 93|194 Truncate,
    27 Connect "connect" 42 362 Connect,
    28 Bind "bind" 49 361 Bind,
    29 Listen "listen" 50 363 Listen,
    30 Accept "accept" 43 511 Accept,
    31 Accept4 "accept4" 288 364 Accept,
    32 Sendto "sendto" 44 369 Send,
    33 Sendmsg "sendmsg" 46 370 Send,
    34 Sendmmsg "sendmmsg" 307 345 Send,
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
    80 Setuid "setuid" 105 23|213 Setid,
    81 Setgid "setgid" 106 46|214 Setid,
    82 Setreuid "setreuid" 113 70|203 Setid,
    83 Setregid "setregid" 114 71|204 Setid,
    84 Setresuid "setresuid" 117 164|208 Setid,
    85 Setresgid "setresgid" 119 170|210 Setid,
    86 Setfsuid "setfsuid" 122 138|215 Setid,
    87 Setfsgid "setfsgid" 123 139|216 Setid,
    88 Setgroups "setgroups" 116 81|206 Setid,
    89 Capset "capset" 126 185 Capset,
    90 Ptrace "ptrace" 101 26 Ptrace,
    91 ProcessVmReadv "process_vm_readv" 310 347 ProcessVm,
    92 ProcessVmWritev "process_vm_writev" 311 348 ProcessVm,
    93 ProcessMadvise "process_madvise" 440 440 ProcessVm,
    94 PidfdOpen "pidfd_open" 434 434 Pidfd,
    95 PidfdGetfd "pidfd_getfd" 438 438 Pidfd,
    96 Kill "kill" 62 37 Kill,
    97 Tkill "tkill" 200 238 Kill,
    98 Tgkill "tgkill" 234 270 Kill,
    99 RtSigqueueinfo "rt_sigqueueinfo" 129 178 Kill,
    100 RtTgsigqueueinfo "rt_tgsigqueueinfo" 297 335 Kill,
    101 PidfdSendSignal "pidfd_send_signal" 424 424 Kill,
    102 InitModule "init_module" 175 128 ModuleLoad,
    103 FinitModule "finit_module" 313 350 ModuleLoad,
    104 DeleteModule "delete_module" 176 129 ModuleUnload,
    105 KexecLoad "kexec_load" 246 283 Kexec,
    106 KexecFileLoad "kexec_file_load" 320 511 Kexec,
    107 Bpf "bpf" 321 357 Bpf,
    108 PerfEventOpen "perf_event_open" 298 336 PerfEventOpen,
    109 Unshare "unshare" 272 310 Namespace,
    110 Setns "setns" 308 346 Namespace,
    111 Clone "clone" 56 120 Namespace,
    112 Clone3 "clone3" 435 435 Namespace,
    113 MemfdCreate "memfd_create" 319 356 MemfdCreate,
    114 Prctl "prctl" 157 172 Prctl,
    115 Seccomp "seccomp" 317 354 Seccomp,
    116 AddKey "add_key" 248 286 Keyctl,
    117 RequestKey "request_key" 249 287 Keyctl,
    118 Keyctl "keyctl" 250 288 Keyctl,
    119 Userfaultfd "userfaultfd" 323 374 Userfaultfd,
    120 LandlockCreateRuleset "landlock_create_ruleset" 444 444 Landlock,
    121 LandlockAddRule "landlock_add_rule" 445 445 Landlock,
    122 LandlockRestrictSelf "landlock_restrict_self" 446 446 Landlock,
    123 LsmSetSelfAttr "lsm_set_self_attr" 460 460 Lsm,
    124 IoUringSetup "io_uring_setup" 425 425 IoUring,
    125 Personality "personality" 135 136 Personality,
    126 Setsid "setsid" 112 66 Setsid,
    127 ClockSettime "clock_settime" 227 264 Settime,
    128 Settimeofday "settimeofday" 164 79 Settime,
    129 Adjtimex "adjtimex" 159 124 Settime,
    130 ClockAdjtime "clock_adjtime" 305 343 Settime,
    131 Stime "stime" 511 25 Settime,
    132 ClockSettime64 "clock_settime" 511 404 Settime,
    133 ClockAdjtime64 "clock_adjtime" 511 405 Settime,
    134 Sethostname "sethostname" 170 74 Hostname,
    135 Setdomainname "setdomainname" 171 121 Hostname,
    136 Reboot "reboot" 169 88 Reboot,
    137 Acct "acct" 163 51 Acct,
    138 Quotactl "quotactl" 179 131 Acct,
    139 QuotactlFd "quotactl_fd" 443 443 Acct,
    140 Iopl "iopl" 172 110 Ioport,
    141 Ioperm "ioperm" 173 101 Ioport,
    142 Syslog "syslog" 103 103 Syslog,
    143 Mprotect "mprotect" 10 125 Mprotect,
    144 PkeyMprotect "pkey_mprotect" 329 380 Mprotect,
    145 Mmap "mmap" 9 192 Mprotect,
    146 Prlimit64 "prlimit64" 302 340 Prlimit,
    160 Socket "socket" 41 359 Socket,
    170 Write "write" 1 4 Modify,
    171 Pwrite64 "pwrite64" 18 181 Modify,
    172 Writev "writev" 20 146 Modify,
    173 Pwritev "pwritev" 296 334 Modify,
    174 Pwritev2 "pwritev2" 328 379 Modify,
    175 Sendfile "sendfile" 40 187|239 Modify,
    176 Splice "splice" 275 313 Modify,
    177 CopyFileRange "copy_file_range" 326 377 Modify,
    178 Fallocate "fallocate" 285 324 Modify,
    179 Close "close" 3 6 Modify,
    180 Dup2 "dup2" 33 63 Modify,
    181 Dup3 "dup3" 292 330 Modify,
    182 CloseRange "close_range" 436 436 Modify,
}

const _: () = {
    let mut at = 0;
    while at < Call::ALL.len() {
        let (wide, narrow) = (Call::ALL[at].x86_64(), Call::ALL[at].i386());
        assert!(wide < TABLE && narrow[0] < TABLE && narrow[narrow.len() - 1] < TABLE);
        at += 1;
    }
};
