//! Paths: resolved by a walk through the kernel's directory entries, across mounts, up to the root of the mount
//! namespace; and names that only the caller's memory has.

use common::wire::{Device, Inode, Path, UNSET, mark};

use crate::{
    draft::{CallDraft, Draft, TEXT, kernel_read},
    kernel::{self, Base, Memory, clamp, copy, copy_str, copy_user_str, layout, load, mask},
    notes::Note,
};
use common::Record;

/// `AT_FDCWD` (fcntl.h).
pub const CWD: i32 = -100;
/// `AT_EMPTY_PATH` (fcntl.h).
pub const EMPTY_PATH: u64 = 0x1000;

/// A `struct path` of the kernel.
#[derive(Clone, Copy)]
pub struct Place {
    mount: usize,
    entry: usize,
}

impl Place {
    /// The path of an open file.
    #[inline(always)]
    pub fn of_file<M: Memory>(file: usize) -> Place {
        Self::at::<M>(file, layout!(file.id), layout!(file.path))
    }

    /// The inode of the entry; 0 when it is only about to be made.
    #[inline(always)]
    pub fn inode<M: Memory>(self) -> usize {
        load!(M, usize, self.entry, dentry.inode)
    }

    /// What a `struct path` names.
    #[inline(always)]
    pub fn of_path<M: Memory>(path: usize) -> Place {
        // struct path { struct vfsmount *mnt; struct dentry *dentry; }
        Place { mount: M::load(path, layout!(path.id), 0), entry: M::load(path, layout!(path.id), 8) }
    }

    /// An entry, below a directory that a `struct path` names.
    #[inline(always)]
    pub fn in_dir<M: Memory>(dir: usize, entry: usize) -> Place {
        Place { entry, ..Self::of_path::<M>(dir) }
    }

    /// The working directory of a task.
    #[inline(always)]
    pub fn working<M: Memory>(task: usize) -> Place {
        Self::at::<M>(load!(M, usize, task, task.fs), layout!(fs.id), layout!(fs.pwd))
    }

    /// The root directory of a task.
    #[inline(always)]
    pub fn root<M: Memory>(task: usize) -> Place {
        Self::at::<M>(load!(M, usize, task, task.fs), layout!(fs.id), layout!(fs.root))
    }

    /// The place that a name is relative to.
    #[inline(always)]
    pub fn base<M: Memory>(task: usize, absolute: bool, dir: i32) -> Place {
        if absolute {
            Self::root::<M>(task)
        } else if dir == CWD {
            Self::working::<M>(task)
        } else {
            Self::of_file::<M>(file_of::<M>(task, dir as u32))
        }
    }

    /// Inode and device of what is there.
    #[inline(always)]
    pub fn identity<M: Memory>(self) -> (Inode, Device) {
        inode_and_device::<M>(load!(M, usize, self.entry, dentry.inode))
    }

    /// What was mounted there, as a text of the kernel: `mnt_devname`.
    #[inline(always)]
    pub fn source<M: Memory>(self) -> usize {
        load!(M, usize, self.mount.wrapping_sub(layout!(mount.mnt) as usize), mount.source)
    }

    /// The `struct file_system_type` of what is mounted there.
    #[inline(always)]
    pub fn kind<M: Memory>(self) -> usize {
        load!(M, usize, load!(M, usize, self.mount, vfsmount.sb), sb.kind)
    }

    #[inline(always)]
    fn at<M: Memory>(at: usize, id: u32, offset: u32) -> Place {
        // struct path { struct vfsmount *mnt; struct dentry *dentry; }
        Place { mount: M::load(at, id, offset), entry: M::load(at, id, offset + 8) }
    }
}

#[inline(always)]
fn inode_and_device<M: Memory>(inode: usize) -> (Inode, Device) {
    let device = load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev);
    (Inode::from(load!(M, u64, inode, inode.ino)), Device(device))
}

/// The open file of a descriptor; 0 when there is none.
#[inline(always)]
pub fn file_of<M: Memory>(task: usize, descriptor: u32) -> usize {
    let files = load!(M, usize, task, task.files);
    let table = load!(M, usize, files, files.fdt);
    if descriptor >= load!(M, u32, table, fdt.max_fds) {
        return 0;
    }
    let slots = load!(M, usize, table, fdt.fd);
    kernel::read::<usize>(slots + descriptor as usize * size_of::<usize>())
}

/// Where a walk stands: words of the draft's state. They are in map memory, so the verifier forgets their values
/// between two turns and checks each turn once.
const POS: usize = 0;
const ENTRY: usize = 1;
const MOUNT: usize = 2;
const ROOT: usize = 3;
const MARKS: usize = 4;

/// A walk from a directory entry up to the root: its state, and where the components go.
#[repr(C)]
pub struct Walk {
    state: *mut u64,
    tail: *mut u8,
    /// Where the components go, in bytes from the start of the draft.
    pub at: u64,
}

/// Turns of a walk that [`turns`] takes.
pub const PART: u32 = 8;

/// The last place in a draft where components start: behind it, every draft has room for a path and one more name.
const LAST: usize = size_of::<Note>() - TEXT - 256;

/// Goes on with the walk of a draft, see [`crate::kernel::Home::turns`].
///
/// # Safety
/// `draft` must be a [`CallDraft`], or a longer one.
#[inline(always)]
pub unsafe fn turns(draft: *mut u8, at: u64) -> bool {
    let at = clamp::<{ LAST as i32 }>(at);
    // SAFETY: within the draft; the verifier checks each access.
    let walk = unsafe {
        Walk { state: draft.add(core::mem::offset_of!(CallDraft<()>, state)).cast(), tail: draft.add(at as usize), at }
    };
    for _ in 0..PART {
        if walk.turn::<Base>() {
            return true;
        }
    }
    false
}

impl Walk {
    /// Takes one component, or crosses one mount. Returns whether the walk is over.
    #[inline(always)]
    pub fn turn<M: Memory>(&self) -> bool {
        // SAFETY: state and tail are parts of a draft; the verifier checks each access.
        unsafe {
            let set = |at: usize, value: u64| self.state.add(at).write_volatile(value);
            let see = |at: usize| self.state.add(at).read_volatile();
            let entry = see(ENTRY) as usize;
            let root = see(ROOT) as usize;
            let parent = load!(M, usize, entry, dentry.parent);
            if entry == root || parent == entry {
                let mount = see(MOUNT) as usize;
                let above = load!(M, usize, mount, mount.parent);
                if entry != root || above == mount || above == 0 {
                    // the root of all, or an entry in no tree: its name is all there is
                    set(MARKS, if entry == root { 0 } else { u64::from(mark::DETACHED) });
                    return true;
                }
                set(ENTRY, load!(M, u64, mount, mount.mountpoint));
                set(MOUNT, above as u64);
                set(ROOT, load!(M, u64, above + layout!(mount.mnt) as usize, vfsmount.root));
                return false;
            }
            // struct qstr { u32 hash; u32 len; const unsigned char *name; }
            let len = mask::<0xff>(u64::from(M::load::<u32>(entry, layout!(dentry.id), layout!(dentry.name) + 4)));
            let name = M::load::<usize>(entry, layout!(dentry.id), layout!(dentry.name) + 8);
            if see(POS) + len + 1 > TEXT as u64 {
                return true;
            }
            let pos = mask::<{ TEXT as i32 - 1 }>(see(POS));
            let to = self.tail.add(pos as usize);
            copy(to, len, name);
            *to.add(len as usize) = 0;
            set(POS, pos + len + 1);
            set(ENTRY, parent as u64);
            false
        }
    }
}

/// Appends the components of a place, leaf first.
#[inline(always)]
pub fn resolve<M: Memory, R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, place: Place) -> Path {
    const { assert!(ROOM >= 5 * TEXT && core::mem::offset_of!(Draft<R, ROOM>, tail) + 3 * TEXT <= LAST) };

    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    let at = start + core::mem::offset_of!(Draft<R, ROOM>, tail) as u64;
    // SAFETY: the state and the tail are parts of the draft; the verifier checks each access.
    unsafe {
        let tail = (&raw mut draft.tail).cast::<u8>().add(start as usize);
        let state = (&raw mut draft.state).cast::<u64>();
        state.add(POS).write_volatile(0);
        state.add(ENTRY).write_volatile(place.entry as u64);
        state.add(MOUNT).write_volatile(place.mount.wrapping_sub(layout!(mount.mnt) as usize) as u64);
        state.add(ROOT).write_volatile(load!(M, u64, place.mount, vfsmount.root));
        state.add(MARKS).write_volatile(u64::from(mark::TRUNCATED));
        M::walk(Walk { state, tail, at });
        let len = clamp::<{ TEXT as i32 }>(state.add(POS).read_volatile());
        let marks = state.add(MARKS).read_volatile() as u32;
        draft.used = start + len;
        draft.note(marks);
        Path { start: start as u32, len: len as u32, marks, ..Path::default() }
    }
}

/// What a path is about.
#[derive(Clone, Copy)]
pub enum Subject {
    /// An open file.
    File(usize),
    /// A place that the kernel resolved.
    Place(Place),
    /// A name in the caller's memory, relative to a directory (a descriptor, or [`CWD`]).
    Name(i32, u64),
    /// The same in memory of the kernel, where the caller cannot change it.
    Kept(i32, usize),
    /// Nothing: the call names a file by a descriptor that is not open.
    Nothing,
}

impl Subject {
    /// The open file of a descriptor, if there is one.
    #[inline(always)]
    pub fn descriptor<M: Memory>(task: usize, descriptor: u32) -> Subject {
        match file_of::<M>(task, descriptor) {
            0 => Subject::Nothing,
            file => Subject::File(file),
        }
    }

    /// A name below a directory. `may_be_empty`: no name means the descriptor itself. An empty one means the same, but it
    /// lies in the caller's memory, where it may have been another one: it stays a name.
    #[inline(always)]
    pub fn at<M: Memory>(task: usize, dir: i32, name: u64, may_be_empty: bool) -> Subject {
        if may_be_empty && name == 0 {
            if dir == CWD { Subject::Place(Place::working::<M>(task)) } else { Self::descriptor::<M>(task, dir as u32) }
        } else {
            Subject::Name(dir, name)
        }
    }

    /// Inode and device of an open file; null when there is only a name.
    #[inline(always)]
    pub fn identity<M: Memory>(self) -> (Inode, Device) {
        match self {
            Subject::File(file) => inode_and_device::<M>(load!(M, usize, file, file.inode)),
            Subject::Place(place) => place.identity::<M>(),
            Subject::Name(..) | Subject::Kept(..) | Subject::Nothing => (Inode::default(), Device(UNSET)),
        }
    }
}

/// The path of a subject. For a file in no tree (memfd, pipe) its bare name. There is one walk for all, because the
/// verifier follows each.
#[inline(always)]
pub fn of<M: Memory, R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, task: usize, subject: Subject) -> Path {
    let (place, name) = match subject {
        Subject::File(file) => (Place::of_file::<M>(file), 0),
        Subject::Place(place) => (place, 0),
        Subject::Name(dir, name) => {
            let first = kernel::read_user::<u8>(name);
            (Place::base::<M>(task, first == Some(b'/'), dir), name)
        }
        Subject::Kept(dir, name) => {
            let first = kernel::read::<u8>(name);
            (Place::base::<M>(task, first == b'/', dir), name as u64)
        }
        Subject::Nothing => return Path { marks: mark::ABSENT, ..Path::default() },
    };
    let mut path = resolve::<M, R, ROOM>(draft, place);
    if !matches!(subject, Subject::Name(..) | Subject::Kept(..)) {
        if path.marks & mark::DETACHED != 0 {
            (path.start, path.len) = bare_name::<M, R, ROOM>(draft, place.entry);
        }
        return path;
    }
    let is_kept = matches!(subject, Subject::Kept(..));
    path.marks = path.marks & mark::TRUNCATED | if is_kept { 0 } else { mark::USER };
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a text is at most as long as the room behind the last one.
    let len = unsafe {
        let to = (&raw mut draft.tail).cast::<u8>().add(start as usize);
        if is_kept { copy_str(to, TEXT as u32, name as usize) } else { copy_user_str(to, TEXT as u32, name) }
    };
    if len > 0 {
        path.name = start as u32;
        path.name_len = len as u32;
        draft.used = start + clamp::<{ TEXT as i32 }>(len as u64);
    } else {
        // the page is gone meanwhile: say so
        path.marks |= mark::ABSENT | mark::TRUNCATED;
        draft.note(mark::TRUNCATED);
    }
    path
}

#[inline(always)]
fn bare_name<M: Memory, R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, entry: usize) -> (u32, u32) {
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    let len = mask::<0xff>(u64::from(M::load::<u32>(entry, layout!(dentry.id), layout!(dentry.name) + 4)));
    let name = M::load::<usize>(entry, layout!(dentry.id), layout!(dentry.name) + 8);
    // SAFETY: a name is shorter than the room behind the last text.
    unsafe { copy((&raw mut draft.tail).cast::<u8>().add(start as usize), len, name) };
    draft.used = start + len;
    (start as u32, len as u32)
}
