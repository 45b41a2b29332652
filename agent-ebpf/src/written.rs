//! What processes have written by which open files, until they close them.
//!
//! Two maps: by process and open file what was written, and by process the files, so that its end finds them. Both may
//! overflow. A process also has the number of its files, so what was pushed out is missed at its end at the latest, and
//! counted as lost.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray},
};
use common::{Hook, layout::MISSING, wire::Name16};

use crate::{
    draft::lose,
    kernel::{self, Memory, add, copy, layout, load, mask},
};

/// Files of one process that its end finds.
pub const FILES: usize = 32;
/// Words of a table of descriptors that are read at once: tables have a multiple of that.
const WORDS: usize = 64;
/// Most descriptors of a table that are looked at, in parts of [`WORDS`]. Behind these nobody is thought to hold a file,
/// which may be told twice then.
const PARTS: u32 = 32;
/// `S_IFMT` and `S_IFREG` (inode(7)).
const TYPE: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
/// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
const NOEXIST: u64 = 1;

/// What a process has written by an open file.
#[repr(C)]
pub struct Written {
    /// Address of the inode: the address of an open file may be that of another one later.
    pub inode: u64,
    /// When it wrote first, in nanoseconds since boot.
    pub first: u64,
    /// How many bytes.
    pub bytes: u64,
    /// By how many calls.
    pub writes: u64,
    /// The name of the thread that wrote first.
    pub comm: Name16,
    /// 1: among the files of its process; 0: there was no room, and it is counted as lost already.
    pub listed: u32,
    /// 1: it was written to by a ring, which holds its files without descriptors.
    pub by_ring: u32,
}

/// How a file is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a system call, with a descriptor.
    Call,
    /// By an operation of io_uring(7).
    Ring,
}

/// The files of a process.
#[repr(C)]
struct Writer {
    /// How many there are.
    open: u64,
    /// Where a sweep over them stands. In map memory, so that the verifier checks each turn once.
    next: u64,
    files: [u64; FILES],
}

/// The address of an open file, and the process.
type Key = [u64; 2];

#[map]
static WRITTEN: LruHashMap<Key, Written> = LruHashMap::with_max_entries(8192, 0);

/// By process id.
#[map]
static WRITERS: HashMap<u32, Writer> = HashMap::with_max_entries(4096, 0);

/// What a new process is made of.
#[map]
static NO_FILES: Array<Writer> = Array::with_max_entries(1, 0);

/// A part of a table of descriptors.
#[map]
static PART: PerCpuArray<[u64; WORDS]> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn key(process: u32, file: usize) -> Key {
    [file as u64, u64::from(process)]
}

/// What a process has written by an open file, if anything.
#[inline(always)]
pub fn of(process: u32, file: usize) -> Option<*const Written> {
    WRITTEN.get_ptr(key(process, file))
}

/// Adds a write.
#[inline(always)]
pub fn keep<M: Memory>(task: usize, file: usize, bytes: u64, hook: Hook, way: Way) {
    let inode = load!(M, usize, file, file.inode);
    if load!(M, u16, inode, inode.mode) & TYPE != REGULAR {
        return;
    }
    let process = load!(M, u32, task, task.tgid);
    let key = key(process, file);
    if let Some(written) = WRITTEN.get_ptr_mut(key) {
        // SAFETY: a value of the map; another thread may change it, too.
        unsafe {
            if (*written).inode == inode as u64 {
                add(&raw mut (*written).bytes, bytes);
                add(&raw mut (*written).writes, 1);
                if way == Way::Ring {
                    (&raw mut (*written).by_ring).write_volatile(1);
                }
                return;
            }
        }
        // it was closed in a way that we do not see
        lose(hook, 1);
        forget(process, file);
    }
    if WRITERS.get_ptr(process).is_none()
        && let Some(none) = NO_FILES.get(0)
    {
        // when it fails there is no room, or another thread was first
        WRITERS.insert(process, none, NOEXIST).ok();
    }
    let writer = WRITERS.get_ptr_mut(process);
    let comm = M::load::<[u64; 2]>(task, layout!(task.id), layout!(task.comm));
    let written = Written {
        inode: inode as u64,
        first: kernel::boottime(),
        bytes,
        writes: 1,
        // SAFETY: two words are sixteen bytes.
        comm: Name16(unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(comm) }),
        listed: u32::from(writer.is_some()),
        by_ring: u32::from(way == Way::Ring),
    };
    let kept = WRITTEN.insert(key, &written, 0).is_ok();
    match writer {
        // SAFETY: a value of the map; another thread may change it, too.
        Some(writer) if kept => unsafe {
            add(&raw mut (*writer).open, 1);
            replace(writer, 0, file as u64);
        },
        _ => lose(hook, 1),
    }
}

/// Puts a file in the place of another among the files of a process; 0 is no file. When all places are taken, the end of
/// the process does not find it.
#[inline(always)]
unsafe fn replace(writer: *mut Writer, old: u64, new: u64) {
    for turn in 0..FILES as u64 {
        // each file has places that it prefers, so that threads rarely want the same
        let place = mask::<{ FILES as i32 - 1 }>(((old | new) >> 8) + turn);
        // SAFETY: within the array.
        unsafe {
            let place = (&raw mut (*writer).files).cast::<u64>().add(place as usize);
            let there = place.read_volatile();
            if there == old || there == new {
                place.write_volatile(new);
                break;
            }
        }
    }
}

/// Forgets what a process has written by an open file.
#[inline(always)]
pub fn forget(process: u32, file: usize) {
    let key = key(process, file);
    // SAFETY: a value of the map.
    let is_listed = WRITTEN.get_ptr(key).is_some_and(|written| unsafe { (*written).listed != 0 });
    // another thread may have been first
    if WRITTEN.remove(key).is_ok()
        && is_listed
        && let Some(writer) = WRITERS.get_ptr_mut(process)
    {
        // SAFETY: a value of the map; another thread may change it, too.
        unsafe {
            add(&raw mut (*writer).open, u64::MAX);
            replace(writer, file as u64, 0);
        }
    }
}

/// Forgets a process that ends: what it has not told is lost.
#[inline(always)]
pub fn end(process: u32) {
    let Some(writer) = WRITERS.get_ptr(process) else { return };
    // SAFETY: a value of the map.
    let left = unsafe { (&raw const (*writer).open).read_volatile() };
    if left != 0 {
        lose(Hook::Exit, left);
    }
    // only its end does that
    WRITERS.remove(process).ok();
}

/// Begins a sweep over the files of a process. Returns whether it has written to any.
#[inline(always)]
pub fn begin(process: u32) -> bool {
    let Some(writer) = WRITERS.get_ptr_mut(process) else { return false };
    // SAFETY: a value of the map.
    unsafe { (&raw mut (*writer).next).write_volatile(0) };
    true
}

/// The next file of a sweep over those of a process; 0 when there is none.
#[inline(always)]
pub fn next(process: u32) -> usize {
    let Some(writer) = WRITERS.get_ptr_mut(process) else { return 0 };
    for _ in 0..FILES {
        // SAFETY: a value of the map.
        unsafe {
            let next = (&raw const (*writer).next).read_volatile();
            if next >= FILES as u64 {
                return 0;
            }
            (&raw mut (*writer).next).write_volatile(next + 1);
            let place = mask::<{ FILES as i32 - 1 }>(next);
            let file = (&raw const (*writer).files).cast::<u64>().add(place as usize).read_volatile();
            if file != 0 {
                return file as usize;
            }
        }
    }
    0
}

/// How many descriptors of a task are those of an open file: within a range of descriptors, and outside of it.
#[inline(always)]
pub fn descriptors<M: Memory>(task: usize, file: usize, low: u64, high: u64) -> (u64, u64) {
    let Some(part) = PART.get_ptr_mut(0) else { return (0, 0) };
    let files = load!(M, usize, task, task.files);
    let table = load!(M, usize, files, files.fdt);
    let slots = load!(M, usize, table, fdt.fd);
    let most = load!(M, u32, table, fdt.max_fds);
    let mut found = 0;
    for at in 0..PARTS {
        let first = at * WORDS as u32;
        // SAFETY: the slot of this CPU has the room.
        if first >= most || !unsafe { copy(part.cast(), 8 * WORDS as u64, slots.wrapping_add(8 * first as usize)) } {
            break;
        }
        found = count_in_part(file as u64, first.into(), low, high, found);
    }
    (found & INSIDE, found >> OUTSIDE)
}

/// Where in one number are those within the range, and those outside of it.
const INSIDE: u64 = 0xffff_ffff;
const OUTSIDE: u32 = 32;

/// Adds the descriptors of an open file in [`PART`], which begins with the descriptor `first`, to those that were found.
/// A global function with numbers only, as [`crate::kernel::Home`] tells; and the verifier knows nothing of what comes
/// back, so that whatever follows is checked once, and not for each number of parts.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_in_part(file: u64, first: u64, low: u64, high: u64, found: u64) -> u64 {
    let Some(part) = PART.get_ptr_mut(0) else { return found };
    let mut found = found;
    for word in 0..WORDS {
        let descriptor = first + word as u64;
        // SAFETY: within the part.
        let is = is_same(unsafe { part.cast::<u64>().add(word).read_volatile() }, file);
        let is_outside = is_less(descriptor, low) | is_less(high, descriptor);
        found += is << (is_outside * u64::from(OUTSIDE));
    }
    found
}

/// Whether two numbers are the same: 1 or 0. Without a jump: the verifier would follow both ways of each.
#[inline(always)]
pub fn is_same(one: u64, other: u64) -> u64 {
    let difference = mask::<-1>(one ^ other);
    1 ^ (difference | mask::<-1>(difference.wrapping_neg())) >> 63
}

/// Whether a number of 32 bits is less than another: 1 or 0, without a jump.
#[inline(always)]
fn is_less(one: u64, other: u64) -> u64 {
    mask::<-1>(one.wrapping_sub(other)) >> 63
}

/// How many hold an open file: descriptors, mappings, messages, calls. Since Linux 6.13 the first one counts as 0.
#[inline(always)]
pub fn holders<M: Memory>(file: usize) -> u64 {
    let count = if layout!(file.references) == MISSING {
        load!(M, i64, file, file.count)
    } else {
        load!(M, i64, file, file.references) + 1
    };
    if count > 0 { count as u64 } else { 0 }
}
