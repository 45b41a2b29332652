//! The executable of each process, as its exec named it: a later rename, another name of the same file or a file that takes
//! its place change nothing about what runs.
//!
//! An exec opens its own `struct file` of the executable, which children and threads share and nobody else has: by it
//! the name is found. So a fork needs no entry, and what has none is unknown.

use aya_ebpf::{macros::map, maps::LruHashMap};
use common::{
    event::Exec,
    filter::{EXECUTABLE_PATH, Executable},
    wire::{Path, mark},
};

use crate::{
    draft::{CallDraft, Draft},
    kernel::{Memory, copy, load},
    path::Subject,
};

/// By the address of the file.
#[map]
static EXECUTABLES: LruHashMap<u64, Executable> = LruHashMap::with_max_entries(4096, 0);

/// `__FMODE_EXEC` (`include/linux/fs.h`): the file was opened by an exec. open(2) cannot set it.
pub const EXEC: u32 = 0x20;

/// Remembers what an exec started, or forgets who had the same address before. `draft` has path and inode already.
#[inline(always)]
pub fn remember<const ROOM: usize>(file: usize, draft: &Draft<Exec, ROOM>) {
    let path = &draft.body.path;
    let file = file as u64;
    let mut it = Executable { inode: draft.body.inode, dev: draft.body.dev, len: path.len, path: [0; EXECUTABLE_PATH] };
    // a path that was cut, or that is none, is compared by the user half
    let is_known = path.marks == 0 && path.len as usize <= EXECUTABLE_PATH;
    // SAFETY: the array has the room.
    if !is_known
        || !unsafe {
            copy(
                (&raw mut it.path).cast(),
                EXECUTABLE_PATH as u64,
                (&raw const draft.tail) as usize + path.start as usize,
            )
        }
        || EXECUTABLES.insert(&file, &it, 0).is_err()
    {
        forget(file as usize);
    }
}

/// Forgets a file.
#[inline(always)]
pub fn forget(file: usize) {
    EXECUTABLES.remove(&(file as u64)).ok();
}

/// What a task runs, if that is known for certain.
#[inline(always)]
fn of<M: Memory>(task: usize) -> Option<&'static Executable> {
    let file = load!(M, usize, load!(M, usize, task, task.mm), mm.exe_file);
    // prctl(PR_SET_MM_EXE_FILE) can put any file there
    if load!(M, u32, file, file.flags) & EXEC == 0 {
        return None;
    }
    // SAFETY: an entry changes by an exec alone, and that of its own file.
    let it = unsafe { EXECUTABLES.get(&(file as u64)) }?;
    let (inode, dev) = Subject::File(file).identity::<M>();
    if it.inode == inode && it.dev == dev { Some(it) } else { None }
}

/// Where the executable is put in the draft of a call, behind all that an event may need: a [`Path`] as those of events,
/// and its components.
pub const AT: usize = 28 << 10;
const COMPONENTS_AT: usize = AT + size_of::<Path>().next_multiple_of(8);
const _: () = assert!(size_of::<CallDraft<[u8; 1024]>>() <= AT && COMPONENTS_AT + EXECUTABLE_PATH <= 8 * 4096);

/// Puts what a task runs into a draft, to be compared as the paths of the event are: a path that was cut when it is not
/// known. `fixed`: where the tail starts in the event.
///
/// # Safety
/// `slot` is [`crate::program::sys_exit::DRAFT`] of this CPU.
#[inline(always)]
pub unsafe fn put<M: Memory>(slot: *mut u8, fixed: u64, task: usize) {
    // SAFETY: within the slot, behind the event.
    unsafe {
        let path = slot.add(AT).cast::<Path>();
        let start = (COMPONENTS_AT - CallDraft::<()>::START) as u32 - fixed as u32;
        path.write(Path { start, marks: mark::TRUNCATED, ..Path::default() });
        let Some(it) = of::<M>(task) else { return };
        let to = slot.add(COMPONENTS_AT).cast::<u64>();
        let from = (&raw const it.path).cast::<u64>();
        for word in 0..EXECUTABLE_PATH / 8 {
            to.add(word).write(from.add(word).read());
        }
        path.write(Path { start, len: it.len, ..Path::default() });
    }
}
