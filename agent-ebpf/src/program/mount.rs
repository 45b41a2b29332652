//! mount; fsopen, fsconfig, fsmount, fspick, open_tree, open_tree_attr, move_mount, mount_setattr; umount, umount2.

use common::{
    Call, Kind,
    event::{Mount, Umount},
    names::{FsconfigCommand, MountAttributes, MountFlags, UmountFlags},
    wire::UNSET,
};

use crate::{
    draft::TEXT,
    kernel::{self, Memory, load},
    path::{self, CWD, EMPTY_PATH, Place, Subject, file_of},
    program::{on_return, sys_exit::Return},
    text::{self, Words},
};

/// Bytes of a source, and of the options: with a type they leave room for place and name of the path.
const SOURCE: i32 = TEXT as i32;
const OPTIONS: i32 = TEXT as i32 - text::NAME;
/// `MS_MGC_VAL`: old programs have it in the upper half of the flags, the kernel takes it out.
const MAGIC: u32 = 0xc0ed_0000;
/// `MOVE_MOUNT_F_EMPTY_PATH`, `MOVE_MOUNT_T_EMPTY_PATH`; `FSPICK_EMPTY_PATH`; `OPEN_TREE_CLONE`.
const FROM_EMPTY: u64 = 4;
const TO_EMPTY: u64 = 0x40;
const PICK_EMPTY: u64 = 8;
const CLONE: u64 = 1;

/// What a call asks for, and what the kernel has made of it.
struct Asked {
    place: Spot,
    source: Words,
    fstype: Words,
    options: u64,
    /// Flags, attributes to set, to clear.
    bits: [u32; 3],
    /// A file that stands for a mount.
    mount: usize,
    /// A file that stands for a file system to be (`struct fs_context`).
    context: usize,
}

/// What becomes a [`Subject`]. All of it is always set: an enum leaves parts open, and the verifier of Linux 6.1 refuses
/// a copy of these.
#[derive(Clone, Copy)]
struct Spot {
    file: usize,
    name: u64,
    dir: i32,
    is_name: bool,
    may_be_empty: bool,
}

impl Spot {
    const NONE: Spot = Spot { file: 0, name: 0, dir: 0, is_name: false, may_be_empty: false };

    /// An open file, if it is one.
    #[inline(always)]
    fn file(file: usize) -> Spot {
        Spot { file, ..Self::NONE }
    }

    /// See [`Subject::at`].
    #[inline(always)]
    fn name(dir: i32, name: u64, may_be_empty: bool) -> Spot {
        Spot { name, dir, is_name: true, may_be_empty, ..Self::NONE }
    }

    #[inline(always)]
    fn subject<M: Memory>(self, task: usize) -> Subject {
        if self.is_name {
            Subject::at::<M>(task, self.dir, self.name, self.may_be_empty)
        } else if self.file != 0 {
            Subject::File(self.file)
        } else {
            Subject::Nothing
        }
    }
}

impl Asked {
    #[inline(always)]
    fn of<M: Memory>(it: &Return) -> Asked {
        let mut asked = Asked {
            place: Spot::NONE,
            source: Words::NONE,
            fstype: Words::NONE,
            options: 0,
            bits: [0; 3],
            mount: 0,
            context: 0,
        };
        let made = if it.is_error() { 0 } else { file_of::<M>(it.task, it.ret as u32) };
        let dir = it.arg::<0>() as i32;
        if it.is(Call::Mount) {
            asked.place = Spot::name(CWD, it.arg::<1>(), false);
            asked.source = Words::user(it.arg::<0>());
            asked.fstype = Words::user(it.arg::<2>());
            asked.options = it.arg::<4>();
            let flags = it.arg::<3>() as u32;
            asked.bits[0] = if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags };
        } else if it.is(Call::MoveMount) {
            let from_file = it.arg::<4>() & FROM_EMPTY != 0;
            asked.source = Words::user(it.arg::<1>());
            asked.place = Spot::name(it.arg::<2>() as i32, it.arg::<3>(), it.arg::<4>() & TO_EMPTY != 0);
            if from_file && !it.is_error() {
                // the mount hangs where it was to go: its own place is the evidence
                asked.mount = file_of::<M>(it.task, dir as u32);
            }
            if asked.mount != 0 {
                asked.place = Spot::file(asked.mount);
            }
        } else if it.is(Call::Fsopen) {
            asked.fstype = Words::user(it.arg::<0>());
            asked.context = made;
        } else if it.is(Call::Fsconfig) {
            if !it.is_error() {
                asked.context = file_of::<M>(it.task, dir as u32);
            }
        } else if it.is(Call::Fsmount) {
            asked.mount = made;
            asked.bits[1] = it.arg::<2>() as u32;
        } else if it.is(Call::Fspick) {
            asked.place = Spot::name(dir, it.arg::<1>(), it.arg::<2>() & PICK_EMPTY != 0);
            asked.context = made;
        } else {
            // open_tree, open_tree_attr, mount_setattr
            let is_tree = !it.is(Call::MountSetattr);
            asked.place = Spot::name(dir, it.arg::<1>(), it.arg::<2>() & EMPTY_PATH != 0);
            asked.mount = if is_tree { made } else { 0 };
            if is_tree && made != 0 && it.arg::<2>() & CLONE == 0 {
                asked.place = Spot::file(made);
            }
            if !it.is(Call::OpenTree) {
                // struct mount_attr { u64 attr_set; u64 attr_clr; u64 propagation; u64 userns_fd; }
                let attr = kernel::read_user::<[u64; 3]>(it.arg::<3>()).unwrap_or_default();
                asked.bits = [attr[2] as u32, attr[0] as u32, attr[1] as u32];
            }
        }
        asked.known::<M>()
    }

    /// Puts what the kernel keeps in place of what the caller says.
    #[inline(always)]
    fn known<M: Memory>(mut self) -> Asked {
        let mut kind = 0;
        if self.context != 0 {
            let context = load!(M, usize, self.context, file.private);
            kind = load!(M, usize, context, fs_context.fs_type);
        } else if self.mount != 0 {
            let place = Place::of_file::<M>(self.mount);
            self.source = Words::kernel(place.source::<M>());
            kind = place.kind::<M>();
        }
        if kind != 0 {
            self.fstype = Words::kernel(load!(M, usize, kind, fs_type.name));
        }
        self
    }
}

#[inline(always)]
fn mount<M: Memory>(it: &Return) {
    /// `FSCONFIG_SET_STRING`, `FSCONFIG_SET_PATH`, `FSCONFIG_SET_PATH_EMPTY`, `FSCONFIG_SET_FD`.
    const STRING: u32 = 1;
    const PATH: u32 = 3;
    const FD: u32 = 5;

    if !it.pass(Kind::Mount) {
        return;
    }
    it.send::<M, Mount>(Kind::Mount, |draft, it| {
        let mut asked = Asked::of::<M>(it);
        let (mut key, mut value) = (Words::NONE, Words::NONE);
        draft.body.command = FsconfigCommand(UNSET);
        if it.is(Call::Fsconfig) {
            let command = it.arg::<1>() as u32;
            draft.body.command = FsconfigCommand(command);
            key = Words::user(it.arg::<2>());
            if command == STRING {
                value = Words::user(it.arg::<3>());
            } else if command == FD {
                asked.place = Spot::file(file_of::<M>(it.task, it.arg::<4>() as u32));
            } else if command >= PATH && command < FD {
                asked.place = Spot::name(it.arg::<4>() as i32, it.arg::<3>(), command != PATH);
            }
        }
        draft.body.flags = MountFlags(asked.bits[0]);
        draft.body.attributes = MountAttributes(asked.bits[1]);
        draft.body.cleared = MountAttributes(asked.bits[2]);
        draft.body.source = text::of::<SOURCE, _>(draft, asked.source);
        draft.body.fstype = text::of::<{ text::NAME }, _>(draft, asked.fstype);
        draft.body.key = text::of::<{ text::NAME }, _>(draft, key);
        draft.body.value = text::of::<{ text::NAME }, _>(draft, value);
        draft.body.options = text::of::<OPTIONS, _>(draft, Words::user(asked.options));
        // the path comes last: the verifier follows the walk for each state that is needed behind it
        draft.body.path = path::of::<M, _, _>(draft, it.task, asked.place.subject::<M>(it.task));
    });
}
on_return!(mount_fast, mount_base, mount_perf, mount);

#[inline(always)]
fn umount<M: Memory>(it: &Return) {
    if !it.pass(Kind::Umount) {
        return;
    }
    it.send::<M, Umount>(Kind::Umount, |draft, it| {
        draft.body.flags = UmountFlags(if it.is(Call::Umount2) { it.arg::<1>() as u32 } else { 0 });
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(CWD, it.arg::<0>()));
    });
}
on_return!(umount_fast, umount_base, umount_perf, umount);
