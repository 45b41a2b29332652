//! The executable of each process, as its exec named it: a later rename, another name of the same file or a file that takes
//! its place change nothing about what runs.
//!
//! An exec opens its own `struct file` of the executable, which children and threads share and nobody else has: by it
//! the name is found. So a fork needs no entry, and what has none is unknown.

use aya_ebpf::{macros::map, maps::LruHashMap};
use common::{
    event::Exec,
    filter::{EXECUTABLE_PATH, Executable},
};

use crate::{
    draft::Draft,
    kernel::{Memory, copy, load},
    path::Subject,
};

/// By the address of the file.
#[map]
static EXECUTABLES: LruHashMap<u64, Executable> = LruHashMap::with_max_entries(4096, 0);

/// `__FMODE_EXEC` (`include/linux/fs.h`): the file was opened by an exec. open(2) cannot set it.
const EXEC: u32 = 0x20;

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
pub fn of<M: Memory>(task: usize) -> Option<&'static Executable> {
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
