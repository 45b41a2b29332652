//! What was asked for, kept from the submission of an operation to its completion: by then names are freed, and the
//! caller's memory may have changed.

use core::ptr::read_volatile;

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use common::{layout::MISSING, wire::mark};

use super::operation;
use crate::{
    draft::{TEXT, credentials, kernel_read},
    kernel::{self, Memory, clamp, copy, copy_str, copy_user, layout, load},
};

/// Bytes of texts that are kept beside the numbers; longer ones have a map of their own.
const SHORT: usize = 256;
/// Two names.
const LONG: usize = 2 * TEXT;
/// `struct sockaddr_storage` (socket(7)).
const ADDR: i32 = 128;

/// An operation in flight.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kept {
    /// Address of the task that asked for it. The request holds a reference.
    pub task: u64,
    /// With which credentials it is done, in the order of [`credentials`].
    pub ids: [u32; 8],
    /// Their user namespace.
    pub user_ns: u32,
    /// What is to be done.
    code: u32,
    /// What was asked for; what it means depends on the operation.
    pub numbers: [u32; 4],
    /// Where the second text starts.
    second: u32,
    /// Bytes of all texts, or of the address.
    pub len: u32,
    /// Marks of the address.
    pub marks: u32,
    reserved: u32,
    texts: [u8; SHORT],
}

impl Kept {
    /// Whether names were given, and no address.
    #[inline(always)]
    pub fn has_names(&self) -> bool {
        self.second != 0
    }
}

/// Where an operation is put together.
#[repr(C)]
pub struct Bench {
    pub kept: Kept,
    /// Where the texts are; 0 when there are none.
    first: u64,
    texts: [u8; LONG],
    /// For a text that starts late.
    spare: [u8; TEXT],
}

/// An operation that is done.
#[repr(C)]
pub struct Done {
    pub kept: Kept,
    /// Where its texts are; 0 when there are none.
    first: u64,
}

/// Operations in flight, by the address of the request. Each CPU has its share, so that none can fill the other's. The
/// sizes of these maps are set at load, for each CPU.
#[map]
static REQUESTS: LruHashMap<u64, Kept> = LruHashMap::with_max_entries(512, PER_CPU);
/// The texts of those that do not fit into [`Kept`].
#[map]
static LONG_TEXTS: LruHashMap<u64, [u8; LONG]> = LruHashMap::with_max_entries(32, PER_CPU);
/// Requests by ring and the caller's number, where a completion names no request.
#[map]
static TAGS: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(512, PER_CPU);
#[map]
static BENCH: PerCpuArray<Bench> = PerCpuArray::with_max_entries(1, 0);
#[map]
static DONE: PerCpuArray<Done> = PerCpuArray::with_max_entries(1, 0);

/// `BPF_F_NO_COMMON_LRU`.
const PER_CPU: u32 = 2;

/// Keeps what an operation asks for. Returns it if it has to be told now, because its completion will not tell.
#[inline(always)]
pub fn keep<M: Memory>(request: usize, task: usize, code: u8) -> Option<&'static mut Bench> {
    let bench = BENCH.get_ptr_mut(0)?;
    // SAFETY: a slot of this CPU, and one operation is submitted at a time.
    let bench = unsafe { &mut *bench };
    let flags = load!(M, u32, request, request.flags);
    let own = flags >> (layout!(request_flag.creds) & 31) & 1 != 0;
    let cred = if own { load!(M, usize, request, request.creds) } else { load!(M, usize, task, task.cred) };
    start::<M>(&mut bench.kept, task, cred, code);
    ask::<M>(bench, request, code);

    let key = request as u64;
    if bench.kept.len as usize <= SHORT {
        // SAFETY: both have room for a short text.
        unsafe { copy((&raw mut bench.kept.texts).cast(), SHORT as u64, (&raw const bench.texts) as usize) };
    } else if LONG_TEXTS.insert(&key, &bench.texts, 0).is_err() {
        bench.kept.len = 0;
    }
    if REQUESTS.insert(&key, &bench.kept, 0).is_err() {
        // its completion finds nothing, and says so
        return None;
    }
    if layout!(uring_complete_event.request) == MISSING || code == operation::ACCEPT {
        let tag = [load!(M, u64, request, request.ring), load!(M, u64, request, request.tag)];
        // without it, its completion finds nothing
        TAGS.insert(&tag, &key, 0).ok();
    }
    is_silent::<M>(request).then_some(bench)
}

/// Whether an operation completes in silence when it succeeds.
#[inline(always)]
pub fn is_silent<M: Memory>(request: usize) -> bool {
    let flags = load!(M, u32, request, request.flags);
    layout!(request_flag.silent) != MISSING && flags >> (layout!(request_flag.silent) & 31) & 1 != 0
}

#[inline(always)]
fn start<M: Memory>(kept: &mut Kept, task: usize, cred: usize, code: u8) {
    kept.task = task as u64;
    kept.ids = credentials::<M>(cred);
    let user_ns = load!(M, usize, cred, cred.user_ns);
    kept.user_ns = load!(M, u32, user_ns, user_ns.inum);
    kept.code = u32::from(code);
    kept.numbers = [0; 4];
    kept.second = 0;
    kept.len = 0;
    kept.marks = 0;
    kept.reserved = 0;
}

/// Takes what an operation asks for out of the request, which is prepared.
#[inline(always)]
fn ask<M: Memory>(bench: &mut Bench, it: usize, code: u8) {
    match code {
        operation::OPENAT | operation::OPENAT2 => {
            bench.kept.numbers = [
                load!(M, u32, it, uring_open.dir),
                load!(M, u32, it, uring_open.flags),
                load!(M, u32, it, uring_open.mode),
                load!(M, u32, it, uring_open.slot),
            ];
            names::<M>(bench, load!(M, usize, it, uring_open.name), 0);
        }
        operation::UNLINKAT => {
            bench.kept.numbers[0] = load!(M, u32, it, uring_unlink.dir);
            bench.kept.numbers[2] = load!(M, u32, it, uring_unlink.flags);
            names::<M>(bench, load!(M, usize, it, uring_unlink.name), 0);
        }
        operation::RENAMEAT => {
            bench.kept.numbers[0] = load!(M, u32, it, uring_rename.from);
            bench.kept.numbers[1] = load!(M, u32, it, uring_rename.to);
            bench.kept.numbers[2] = load!(M, u32, it, uring_rename.flags);
            names::<M>(bench, load!(M, usize, it, uring_rename.old), load!(M, usize, it, uring_rename.new));
        }
        operation::LINKAT => {
            bench.kept.numbers[0] = load!(M, u32, it, uring_link.from);
            bench.kept.numbers[1] = load!(M, u32, it, uring_link.to);
            names::<M>(bench, load!(M, usize, it, uring_link.old), load!(M, usize, it, uring_link.new));
        }
        operation::SYMLINKAT => {
            bench.kept.numbers[0] = load!(M, u32, it, uring_symlink.dir);
            names::<M>(bench, load!(M, usize, it, uring_symlink.name), load!(M, usize, it, uring_symlink.content));
        }
        operation::FTRUNCATE => {
            let length = load!(M, u64, it, uring_truncate.length);
            bench.kept.numbers[0] = length as u32;
            bench.kept.numbers[1] = (length >> 32) as u32;
        }
        operation::SOCKET => {
            bench.kept.numbers[0] = load!(M, u32, it, uring_socket.family);
            bench.kept.numbers[1] = load!(M, u32, it, uring_socket.kind);
            bench.kept.numbers[2] = load!(M, u32, it, uring_socket.protocol);
        }
        operation::ACCEPT => bench.kept.numbers[0] = load!(M, u32, it, uring_accept.slot),
        operation::LISTEN => bench.kept.numbers[0] = load!(M, u32, it, uring_listen.backlog),
        operation::WRITE | operation::WRITEV | operation::WRITE_FIXED | operation::SPLICE | operation::FALLOCATE => {}
        operation::CONNECT => {
            let len = load!(M, u32, it, uring_connect.len);
            user_addr(bench, load!(M, u64, it, uring_connect.addr), len);
        }
        operation::BIND => kernel_addr::<M>(bench, load!(M, usize, it, request.data), ADDR as u32),
        operation::SENDMSG | operation::SENDMSG_ZC => {
            // struct user_msghdr { void *msg_name; int msg_namelen; ... }
            let name = kernel::read_user::<[u64; 2]>(load!(M, u64, it, uring_message.message)).unwrap_or_default();
            user_addr(bench, name[0], name[1] as u32);
        }
        _ if layout!(uring_message.addr) != MISSING => {
            let len = u32::from(load!(M, u16, it, uring_message.addr_len));
            user_addr(bench, load!(M, u64, it, uring_message.addr), len);
        }
        _ => {
            // the kernel has copied it, if there is one
            let header = load!(M, usize, it, request.data);
            if header != 0 && load!(M, usize, header, uring_header.name) != 0 {
                kernel_addr::<M>(bench, header, load!(M, u32, header, uring_header.name_len));
            }
        }
    }
}

/// Copies one or two names (`struct filename`).
#[inline(always)]
fn names<M: Memory>(bench: &mut Bench, first: usize, second: usize) {
    let to = (&raw mut bench.texts).cast::<u8>();
    // SAFETY: the first name ends in the first half, the second has as much room behind it.
    unsafe {
        let len = copy_str(to, TEXT as u32, load!(M, usize, first, filename.name));
        let mut used = clamp::<{ TEXT as i32 }>(if len > 0 { len as u64 } else { 0 });
        if used == 0 {
            *to = 0;
            used = 1;
        }
        bench.kept.second = used as u32;
        if second != 0 {
            let len = copy_str(to.add(used as usize), TEXT as u32, load!(M, usize, second, filename.name));
            used += clamp::<{ TEXT as i32 }>(if len > 0 { len as u64 } else { 0 });
        }
        bench.kept.len = used as u32;
    }
}

/// Copies an address from the caller's memory.
#[inline(always)]
fn user_addr(bench: &mut Bench, from: u64, len: u32) {
    let len = clamp::<ADDR>(u64::from(len));
    // SAFETY: an address is shorter than the room.
    if from != 0 && unsafe { copy_user((&raw mut bench.texts).cast(), len, from) } {
        bench.kept.len = len as u32;
        bench.kept.marks = mark::USER;
    }
}

/// Copies an address from a `struct io_async_msghdr`.
#[inline(always)]
fn kernel_addr<M: Memory>(bench: &mut Bench, header: usize, len: u32) {
    let len = clamp::<ADDR>(u64::from(len));
    let from = header.wrapping_add(layout!(uring_header.addr) as usize);
    // SAFETY: an address is shorter than the room.
    if header != 0 && unsafe { copy((&raw mut bench.texts).cast(), len, from) } {
        bench.kept.len = len as u32;
    }
}

/// What was kept of a request. Of one that was submitted before we came, or that failed while it was prepared, no more
/// is known than who completes it. It is a copy: the verifier then has one place to think of, whatever was found.
#[inline(always)]
pub fn find<M: Memory>(request: u64, code: u8) -> Option<&'static mut Done> {
    let done = DONE.get_ptr_mut(0)?;
    // SAFETY: a slot of this CPU, and one operation completes at a time.
    let done = unsafe { &mut *done };
    done.first = 0;
    if let Some(kept) = REQUESTS.get_ptr(&request) {
        // SAFETY: values of maps, of one size.
        unsafe { copy((&raw mut done.kept).cast(), size_of::<Kept>() as u64, kept as usize) };
        if kernel_read32(&done.kept.code) == u32::from(code) {
            let len = kernel_read32(&done.kept.len) as usize;
            if len > SHORT {
                done.first = LONG_TEXTS.get_ptr(&request).map_or(0, |texts| texts as u64);
            } else if len > 0 {
                done.first = (&raw const done.kept.texts) as u64;
            }
            return Some(done);
        }
    }
    let task = M::task();
    start::<M>(&mut done.kept, task, load!(M, usize, task, task.cred), code);
    Some(done)
}

impl Done {
    /// Where the first and the second text lie; 0 when there is none. They are plain numbers to the verifier.
    #[inline(always)]
    pub fn texts(&self) -> (usize, usize) {
        let first = kernel_read(&self.first) as usize;
        (first, if first == 0 { 0 } else { first + kernel_read32(&self.kept.second) as usize })
    }
}

impl Bench {
    /// The same while it is submitted.
    #[inline(always)]
    pub fn texts(&mut self) -> (usize, usize) {
        self.first = if self.kept.len == 0 { 0 } else { (&raw const self.texts) as u64 };
        let first = kernel_read(&self.first) as usize;
        (
            first,
            if self.kept.second == 0 || self.kept.second == self.kept.len {
                0
            } else {
                first + self.kept.second as usize
            },
        )
    }
}

#[inline(always)]
fn kernel_read32(number: &u32) -> u32 {
    // SAFETY: a reference.
    unsafe { read_volatile(number) }
}

/// The request behind a tag. One that is done is none: an operation that is not kept may have the same tag.
#[inline(always)]
pub fn tagged(tag: [u64; 2]) -> Option<u64> {
    // SAFETY: the value is copied at once.
    let request = unsafe { TAGS.get(&tag) }.copied()?;
    REQUESTS.get_ptr(&request).map(|_| request)
}

/// The request is done: its address may be that of another one soon, and so may its tag.
#[inline(always)]
pub fn forget(request: u64, tag: [u64; 2]) {
    // what is not there is forgotten already
    REQUESTS.remove(&request).ok();
    LONG_TEXTS.remove(&request).ok();
    if layout!(uring_complete_event.request) == MISSING {
        TAGS.remove(&tag).ok();
    }
}
