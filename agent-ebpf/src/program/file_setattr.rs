//! file_setattr; ioctl with FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR.

use common::{
    Call, Kind,
    event::FileSetattr,
    names::{InodeFlags, XFlags},
};

use crate::{
    kernel::{self, Memory},
    path::{self, EMPTY_PATH, Subject},
    program::{on_return, sys_exit::Return},
};

/// `FS_IOC_SETFLAGS`, `FS_IOC32_SETFLAGS`, `FS_IOC_FSSETXATTR` (`include/uapi/linux/fs.h`).
const SET_FLAGS: u32 = 0x4008_6602;
const SET_FLAGS_32: u32 = 0x4004_6602;
const SET_XFLAGS: u32 = 0x401c_5820;

/// Whether a command of ioctl(2) is ours. The others are many, and no events.
#[inline(always)]
pub fn is_ours(command: u64) -> bool {
    let command = command as u32;
    command == SET_FLAGS || command == SET_FLAGS_32 || command == SET_XFLAGS
}

#[inline(always)]
fn file_setattr<M: Memory>(it: &Return) {
    if !it.pass(Kind::FileSetattr) {
        return;
    }
    it.send::<M, FileSetattr>(Kind::FileSetattr, |draft, it| {
        // all of them begin with the flags: struct file_attr, struct fsxattr, an int
        let flags = kernel::read_user::<u32>(it.arg::<2>()).unwrap_or(0);
        let by_ioctl = it.is(Call::Ioctl);
        let (xflags, flags) = if by_ioctl && it.arg::<1>() as u32 != SET_XFLAGS { (0, flags) } else { (flags, 0) };
        draft.body.xflags = XFlags(xflags);
        draft.body.flags = InodeFlags(flags);
        let subject = if by_ioctl {
            Subject::descriptor::<M>(it.task, it.arg::<0>() as u32)
        } else {
            Subject::at::<M>(it.task, it.arg::<0>() as i32, it.arg::<1>(), it.arg::<4>() & EMPTY_PATH != 0)
        };
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(file_setattr_fast, file_setattr_base, file_setattr_perf, file_setattr);
