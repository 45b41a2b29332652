//! Addresses of sockets: those that the kernel keeps, and those that only the caller's memory has.

use common::{
    Record,
    names::{Protocol, SocketType},
    wire::{Addr, family, mark},
};

use crate::{
    draft::{Draft, TEXT, kernel_read},
    kernel::{self, Memory, clamp, copy, copy_user, layout, load},
    path::file_of,
};

/// Room for a unix socket's name (`sun_path` of unix(7) has 108 bytes).
const NAME: i32 = 128;
/// `S_IFMT` and `S_IFSOCK` (inode(7)).
const TYPE: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

/// A socket of the caller.
#[derive(Clone, Copy)]
pub struct Sock {
    at: usize,
    family: u16,
    /// Its protocol; none for local sockets.
    pub protocol: Protocol,
    /// Its type.
    pub kind: SocketType,
}

impl Sock {
    /// The socket behind a descriptor.
    #[inline(always)]
    pub fn of<M: Memory>(task: usize, descriptor: u32) -> Option<Sock> {
        Self::of_file::<M>(file_of::<M>(task, descriptor))
    }

    /// The socket behind an open file.
    #[inline(always)]
    pub fn of_file<M: Memory>(file: usize) -> Option<Sock> {
        let inode = load!(M, usize, file, file.inode);
        if load!(M, u16, inode, inode.mode) & TYPE != SOCKET {
            return None;
        }
        let socket = load!(M, usize, file, file.private);
        let at = load!(M, usize, socket, socket.sk);
        let family = load!(M, u16, at, sock.family);
        let protocol = if is_internet(family) { load!(M, u16, at, sock.protocol) } else { 0 };
        let kind = load!(M, u16, socket, socket.kind);
        Some(Sock { at, family, protocol: Protocol(u32::from(protocol)), kind: SocketType(u32::from(kind)) })
    }

    /// Its address family.
    #[inline(always)]
    pub fn family(self) -> u32 {
        u32::from(self.family)
    }

    /// Whether it carries IPv4 or IPv6.
    #[inline(always)]
    pub fn is_internet(self) -> bool {
        is_internet(self.family)
    }

    /// Our end, as the kernel has it.
    #[inline(always)]
    pub fn local<M: Memory, R: Record, const ROOM: usize>(self, draft: &mut Draft<R, ROOM>) -> Addr {
        let mut addr = Addr { family: self.family, ..Addr::default() };
        if self.family == family::UNIX {
            return unix_name::<M, R, ROOM>(draft, self.at);
        }
        if self.is_internet() {
            addr.port = load!(M, u16, self.at, sock.num);
            addr.ip = self.ip::<M>(layout!(sock.rcv_saddr), layout!(sock.v6_rcv_saddr));
        }
        addr
    }

    /// The other end, as the kernel has it; no family when there is none.
    #[inline(always)]
    pub fn peer<M: Memory, R: Record, const ROOM: usize>(self, draft: &mut Draft<R, ROOM>) -> Addr {
        if self.family == family::UNIX {
            let peer = load!(M, usize, self.at, unix.peer);
            return if peer == 0 { Addr::default() } else { unix_name::<M, R, ROOM>(draft, peer) };
        }
        let port = self.peer_port::<M>();
        if !self.is_internet() || port == 0 {
            return Addr::default();
        }
        let ip = self.ip::<M>(layout!(sock.daddr), layout!(sock.v6_daddr));
        Addr { family: self.family, port, ip, ..Addr::default() }
    }

    /// The port of the other end of an internet socket; 0 when there is none.
    #[inline(always)]
    pub fn peer_port<M: Memory>(self) -> u16 {
        u16::from_be(load!(M, u16, self.at, sock.dport))
    }

    /// The user id that made it.
    #[inline(always)]
    pub fn uid<M: Memory>(self) -> u32 {
        load!(M, u32, self.at, sock.uid)
    }

    #[inline(always)]
    fn ip<M: Memory>(self, v4: u32, v6: u32) -> [u8; 16] {
        let id = layout!(sock.id);
        let words: [u64; 2] = if self.family == family::INET {
            [u64::from(M::load::<u32>(self.at, id, v4)), 0]
        } else {
            // struct in6_addr is read by words: its bytes are in network order already
            [in6_half::<M>(self.at, v6), in6_half::<M>(self.at, v6 + 8)]
        };
        // SAFETY: two words are sixteen bytes.
        unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(words) }
    }
}

#[inline(always)]
fn in6_half<M: Memory>(at: usize, offset: u32) -> u64 {
    let id = layout!(sock.id);
    u64::from(M::load::<u32>(at, id, offset)) | u64::from(M::load::<u32>(at, id, offset + 4)) << 32
}

/// Whether a family is IPv4 or IPv6.
#[inline(always)]
pub fn is_internet(family: u16) -> bool {
    family == family::INET || family == family::INET6
}

/// The name of a unix socket. `unix_sock` starts with its `sock`.
#[inline(always)]
fn unix_name<M: Memory, R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, at: usize) -> Addr {
    let mut addr = Addr { family: family::UNIX, ..Addr::default() };
    let name = load!(M, usize, at, unix.addr);
    if name == 0 {
        return addr;
    }
    // len counts the two bytes of sun_family
    let len = load!(M, u32, name, unix_addr.len);
    let len = clamp::<NAME>(u64::from(len.saturating_sub(2)));
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a name is shorter than the room behind the last text.
    unsafe {
        copy((&raw mut draft.tail).cast::<u8>().add(start as usize), len, name + layout!(unix_addr.name) as usize + 2);
    }
    draft.used = start + len;
    addr.start = start as u32;
    addr.len = len as u32;
    addr
}

/// Where an address lies (`struct sockaddr`), with its length. No enum: all of it has a value, whichever it is, and so
/// the verifier lets it pass to another function.
#[derive(Clone, Copy)]
pub struct Given {
    at: u64,
    len: u32,
    marks: u32,
    is_kept: bool,
}

impl Given {
    /// In the caller's memory.
    #[inline(always)]
    pub fn by_user(at: u64, len: u64) -> Given {
        Given { at, len: len as u32, marks: mark::USER, is_kept: false }
    }

    /// In memory of the kernel, with the marks that it has already.
    #[inline(always)]
    pub fn kept(at: usize, len: u32, marks: u32) -> Given {
        Given { at: at as u64, len, marks, is_kept: true }
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.at == 0
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u64) -> Option<T> {
        let at = self.at.wrapping_add(offset);
        if self.is_kept { Some(kernel::read(at as usize)) } else { kernel::read_user(at) }
    }
}

/// An address as it was given.
#[inline(always)]
pub fn given<R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, from: Given) -> Addr {
    let len = from.len;
    let mut addr = Addr { marks: from.marks, ..Addr::default() };
    if len < 2 {
        return addr;
    }
    let Some(family) = from.read::<u16>(0) else { return addr };
    addr.family = family;
    if family == family::INET && len >= 8 {
        // struct sockaddr_in { u16 family; be16 port; be32 addr; }
        addr.port = u16::from_be(from.read::<u16>(2).unwrap_or(0));
        let ip = from.read::<[u8; 4]>(4).unwrap_or_default();
        [addr.ip[0], addr.ip[1], addr.ip[2], addr.ip[3]] = ip;
    } else if family == family::INET6 && len >= 24 {
        // struct sockaddr_in6 { u16 family; be16 port; u32 flowinfo; in6_addr addr; }
        addr.port = u16::from_be(from.read::<u16>(2).unwrap_or(0));
        addr.ip = from.read::<[u8; 16]>(8).unwrap_or_default();
    } else if family == family::UNIX {
        let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
        let len = clamp::<NAME>(u64::from(len - 2));
        // SAFETY: a name is shorter than the room behind the last text.
        let copied = unsafe {
            let to = (&raw mut draft.tail).cast::<u8>().add(start as usize);
            let at = from.at.wrapping_add(2);
            if from.is_kept { copy(to, len, at as usize) } else { copy_user(to, len, at) }
        };
        if copied {
            draft.used = start + len;
            addr.start = start as u32;
            addr.len = len as u32;
        }
    }
    addr
}
