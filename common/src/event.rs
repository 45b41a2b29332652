//! The kinds of event, one file each. To add one: a file, and a line in the table below.

use crate::{
    Call, DecodeError, Field, Header, Hook, Prefix, Record, Value,
    wire::{self, record},
};
use zerocopy::FromBytes;

macro_rules! kinds {
    ($( $number:literal = $module:ident::$ty:ident, )*) => {
        $( mod $module; pub use $module::$ty; )*

        /// What happened. The number is part of the wire and never reused.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $( #[doc = concat!("See [`", stringify!($ty), "`].")] $ty = $number, )* }

        impl Kind {
            /// All kinds, in the order of their numbers.
            pub const ALL: &'static [Kind] = &[$( Kind::$ty, )*];
            /// Its name in records and policies.
            pub const fn name(self) -> &'static str { match self { $( Kind::$ty => $ty::NAME, )* } }
            /// Its doc comment, a line each.
            pub const fn doc(self) -> &'static [&'static str] { match self { $( Kind::$ty => $ty::DOC, )* } }
            /// The fields of its body.
            pub const fn fields(self) -> &'static [Field] { match self { $( Kind::$ty => $ty::FIELDS, )* } }
            /// Bytes of its body.
            pub const fn size(self) -> usize { match self { $( Kind::$ty => size_of::<$ty>(), )* } }
            /// Where each field starts in its body, in bytes.
            pub const fn offsets(self) -> &'static [usize] { match self { $( Kind::$ty => $ty::OFFSETS, )* } }
        }

        /// The part of an event that its kind decides.
        #[derive(Clone, Copy, Debug)]
        pub enum Body<'a> { $( #[doc = concat!("See [`", stringify!($ty), "`].")] $ty(&'a $ty), )* }

        impl<'a> Body<'a> {
            fn decode(kind: u16, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
                match kind {
                    $( $number => $ty::ref_from_prefix(bytes).map(|(body, tail)| (Body::$ty(body), tail)).map_err(|_| DecodeError::Short), )*
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }
            /// What happened.
            pub const fn kind(&self) -> Kind { match self { $( Body::$ty(_) => Kind::$ty, )* } }
            fn value(&self, field: usize, tail: &'a [u8]) -> Value<'a> {
                match self { $( Body::$ty(body) => body.value(field, tail), )* }
            }
            fn marks(&self, field: usize) -> u32 {
                match self { $( Body::$ty(body) => body.marks(field), )* }
            }
        }
    };
}

kinds! {
    1 = exec::Exec,
    2 = fork::Fork,
    3 = exit::Exit,
    4 = open::Open,
    5 = unlink::Unlink,
    6 = rmdir::Rmdir,
    7 = rename::Rename,
    8 = link::Link,
    9 = symlink::Symlink,
    10 = chmod::Chmod,
    11 = chown::Chown,
    12 = truncate::Truncate,
    13 = connect::Connect,
    14 = bind::Bind,
    15 = listen::Listen,
    16 = accept::Accept,
    17 = send::Send,
    18 = mkdir::Mkdir,
    19 = mknod::Mknod,
    20 = setxattr::Setxattr,
    21 = removexattr::Removexattr,
    22 = utimes::Utimes,
    23 = file_setattr::FileSetattr,
    24 = mount::Mount,
    25 = umount::Umount,
    26 = pivot_root::PivotRoot,
    27 = chroot::Chroot,
    28 = swap::Swap,
    29 = modify::Modify,
    30 = setid::Setid,
    31 = capset::Capset,
    32 = ptrace::Ptrace,
    33 = process_vm::ProcessVm,
    34 = pidfd::Pidfd,
    35 = kill::Kill,
    36 = module_load::ModuleLoad,
    37 = module_unload::ModuleUnload,
    38 = kexec::Kexec,
    39 = bpf::Bpf,
    40 = perf_event_open::PerfEventOpen,
    41 = namespace::Namespace,
    42 = memfd_create::MemfdCreate,
    43 = prctl::Prctl,
    44 = seccomp::Seccomp,
    45 = keyctl::Keyctl,
    46 = userfaultfd::Userfaultfd,
    47 = landlock::Landlock,
    48 = lsm::Lsm,
    49 = io_uring::IoUring,
    50 = personality::Personality,
    51 = setsid::Setsid,
    52 = settime::Settime,
    53 = hostname::Hostname,
    54 = reboot::Reboot,
    55 = acct::Acct,
    56 = ioport::Ioport,
    57 = syslog::Syslog,
    58 = mprotect::Mprotect,
    59 = cred_change::CredChange,
    60 = socket::Socket,
    61 = io_uring_silent::IoUringSilent,
    62 = dns::Dns,
    63 = capability::Capability,
    64 = prlimit::Prlimit,
}

/// The way of an event to the user half: a flood in one lane takes no room from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Processes, privileges, the kernel itself: few, and never to be lost.
    Critical,
    /// Files, network, use of capabilities: as many as programs like.
    Bulk,
}

impl Kind {
    /// The lane of its events.
    pub const fn lane(self) -> Lane {
        match self {
            Kind::Open
            | Kind::Unlink
            | Kind::Rmdir
            | Kind::Rename
            | Kind::Link
            | Kind::Symlink
            | Kind::Chmod
            | Kind::Chown
            | Kind::Truncate
            | Kind::Mkdir
            | Kind::Mknod
            | Kind::Setxattr
            | Kind::Removexattr
            | Kind::Utimes
            | Kind::FileSetattr
            | Kind::Connect
            | Kind::Bind
            | Kind::Listen
            | Kind::Accept
            | Kind::Send
            | Kind::Socket
            | Kind::Dns
            | Kind::Capability
            | Kind::Modify
            | Kind::IoUringSilent => Lane::Bulk,
            _ => Lane::Critical,
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// One event, read in place from the ring buffer.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// How it came here.
    pub prefix: &'a Prefix,
    /// When, where, who.
    pub header: &'a Header,
    /// What.
    pub body: Body<'a>,
    /// The system call; [`Call::None`] where the hook is none.
    pub call: Call,
    /// The hook that saw it.
    pub hook: Hook,
    tail: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads an event. `bytes` must start at an address that is a multiple of 8, as ring buffer records do; bytes
    /// behind the event are left alone.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if !bytes.as_ptr().addr().is_multiple_of(8) {
            return Err(DecodeError::Unaligned);
        }
        let (prefix, rest) = Prefix::ref_from_prefix(bytes).map_err(|_| DecodeError::Short)?;
        let (header, rest) = Header::ref_from_prefix(rest).map_err(|_| DecodeError::Short)?;
        let (body, tail) = Body::decode(prefix.kind, rest)?;
        let (call, hook) = wire::check(prefix)?;
        let tail = tail.get(..prefix.tail as usize).ok_or(DecodeError::Short)?;
        Ok(Self { prefix, header, body, call, hook, tail })
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// A field of the header, by its position in [`Header::FIELDS`].
    pub fn header_value(&self, field: usize) -> Value<'a> {
        self.header.value(field, &[])
    }

    /// A field of the body, by its position in [`Kind::fields`].
    pub fn body_value(&self, field: usize) -> Value<'a> {
        self.body.value(field, self.tail)
    }

    /// The marks (see [`wire::mark`]) of a field of the body, by its position in [`Kind::fields`].
    pub fn body_marks(&self, field: usize) -> u32 {
        self.body.marks(field)
    }
}
