//! open, openat, openat2, creat, open_by_handle_at.

use common::{
    Call, Hook, Kind,
    event::Open,
    filter::class,
    names::ACCESS_PATH,
    names::{Access, OpenFlags},
    wire::{Bool, Device, Inode, Mode, UNSET},
};

use crate::{
    draft::CallDraft,
    filter,
    kernel::{self, Memory, load},
    path::{self, CWD, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

/// Flags of open(2) on x86.
const O_ACCMODE: u32 = 3;
const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;
const O_TMPFILE: u32 = 0o20_000_000;
const O_PATH: u32 = 0o10_000_000;
/// `FMODE_CREATED` (`include/linux/fs.h`): this open created the file.
const CREATED: u32 = 0x10_0000;

/// What the caller asked for.
struct Wish {
    dir: i32,
    name: u64,
    flags: u32,
    mode: u32,
}

impl Wish {
    #[inline(always)]
    fn of(it: &Return) -> Wish {
        if it.is(Call::Open) {
            Wish { dir: CWD, name: it.arg::<0>(), flags: it.arg::<1>() as u32, mode: it.arg::<2>() as u32 }
        } else if it.is(Call::Creat) {
            // creat(2): open with O_CREAT|O_WRONLY|O_TRUNC
            Wish { dir: CWD, name: it.arg::<0>(), flags: O_CREAT | 1 | O_TRUNC, mode: it.arg::<1>() as u32 }
        } else if it.is(Call::Openat2) {
            // struct open_how { u64 flags; u64 mode; u64 resolve; }
            let how = kernel::read_user::<[u64; 2]>(it.arg::<2>()).unwrap_or_default();
            Wish { dir: it.arg::<0>() as i32, name: it.arg::<1>(), flags: how[0] as u32, mode: how[1] as u32 }
        } else if it.is(Call::OpenByHandleAt) {
            // a handle is no name
            Wish { dir: CWD, name: 0, flags: it.arg::<2>() as u32, mode: 0 }
        } else {
            Wish {
                dir: it.arg::<0>() as i32,
                name: it.arg::<1>(),
                flags: it.arg::<2>() as u32,
                mode: it.arg::<3>() as u32,
            }
        }
    }
}

/// Whether an open is certainly not wanted: most opens are for reading, and they should not even jump to the program.
#[inline(always)]
pub fn is_left_out(it: &Return) -> bool {
    let class = if it.is_error() {
        filter::class_of(it.ret)
    } else if it.is(Call::Openat) && reads_only(it.arg::<2>()) || it.is(Call::Open) && reads_only(it.arg::<1>()) {
        class::READ
    } else {
        return false;
    };
    !filter::is_wanted(Kind::Open as u32, class)
}

#[inline(always)]
fn reads_only(flags: u64) -> bool {
    flags as u32 & (O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE) == 0
}

/// An open file, and what the open did to it.
#[derive(Clone, Copy)]
pub struct Opened {
    /// The file; 0 when there is none.
    pub file: usize,
    created: bool,
}

impl Opened {
    /// Judges an open that was asked for with these flags.
    #[inline(always)]
    pub fn of<M: Memory>(file: usize, flags: u32) -> Opened {
        // a file without a name is always new, and the kernel does not say so
        let creates = flags & O_CREAT != 0 && file != 0 && load!(M, u32, file, file.mode) & CREATED != 0;
        Opened { file, created: file != 0 && flags & O_TMPFILE != 0 || creates }
    }

    /// The class of the event.
    #[inline(always)]
    pub fn class(self, flags: u32, ret: i64) -> u8 {
        let class = filter::class_of(ret);
        let reads = flags & O_ACCMODE == 0 || flags & O_PATH != 0;
        if class == class::SUCCESS && reads && !self.created && flags & O_TRUNC == 0 { class::READ } else { class }
    }

    /// Fills in what is known of it, but for the names.
    #[inline(always)]
    pub fn describe<M: Memory>(self, draft: &mut CallDraft<Open>, flags: u32, mode: u32) {
        let body = &mut draft.body;
        body.flags = OpenFlags(flags);
        body.access = Access(if flags & O_PATH != 0 { ACCESS_PATH } else { flags & O_ACCMODE });
        let creates = flags & (O_CREAT | (O_TMPFILE & !0o200_000)) != 0;
        body.create_mode = Mode(if creates { mode & 0o7777 } else { UNSET });
        body.created = Bool(u32::from(self.created));
        body.deleted = Bool(0);
        if self.file == 0 {
            body.inode = Inode::default();
            body.dev = Device(UNSET);
            body.mode = Mode(UNSET);
        } else {
            let inode = load!(M, usize, self.file, file.inode);
            body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            body.mode = Mode(u32::from(load!(M, u16, inode, inode.mode)));
            body.deleted = Bool(u32::from(load!(M, u32, inode, inode.nlink) == 0));
            body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
        }
    }
}

#[inline(always)]
fn open<M: Memory>(it: &Return) {
    let wish = Wish::of(it);
    let file = if it.is_error() { 0 } else { file_of::<M>(it.task, it.ret as u32) };
    let opened = Opened::of::<M>(file, wish.flags);
    if !filter::pass(Hook::SysExit, Kind::Open, opened.class(wish.flags, it.ret)) {
        return;
    }
    it.send::<M, Open>(Kind::Open, |draft, it| {
        opened.describe::<M>(draft, wish.flags, wish.mode);
        let subject = match file {
            0 if it.is(Call::OpenByHandleAt) => Subject::Nothing,
            0 => Subject::Name(wish.dir, wish.name),
            file => Subject::File(file),
        };
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(open_fast, open_base, open_perf, open);
