//! mkdir, mkdirat; mknod, mknodat.

use common::{
    Call, Kind,
    event::{Mkdir, Mknod},
    wire::{Device, Mode, UNSET},
};

use crate::{
    kernel::Memory,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn mkdir<M: Memory>(it: &Return) {
    if !it.pass(Kind::Mkdir) {
        return;
    }
    it.send::<M, Mkdir>(Kind::Mkdir, |draft, it| {
        let (dir, name, mode) = if it.is(Call::Mkdirat) {
            (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>())
        } else {
            (CWD, it.arg::<0>(), it.arg::<1>())
        };
        draft.body.mode = Mode(mode as u32 & 0o7777);
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name));
    });
}
on_return!(mkdir_fast, mkdir_base, mkdir_perf, mkdir);

/// `S_IFMT`, `S_IFCHR`, `S_IFBLK` (inode(7)).
const TYPE: u32 = 0o170_000;
const CHARACTER: u32 = 0o20_000;
const BLOCK: u32 = 0o60_000;

#[inline(always)]
fn mknod<M: Memory>(it: &Return) {
    if !it.pass(Kind::Mknod) {
        return;
    }
    it.send::<M, Mknod>(Kind::Mknod, |draft, it| {
        let (dir, name, mode, number) = if it.is(Call::Mknodat) {
            (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>(), it.arg::<3>())
        } else {
            (CWD, it.arg::<0>(), it.arg::<1>(), it.arg::<2>())
        };
        let (mode, number) = (mode as u32 & 0xffff, number as u32);
        draft.body.mode = Mode(mode);
        // as callers write a device (`new_decode_dev` in include/linux/kdev_t.h): the major number in the middle
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
        let is_device = mode & TYPE == CHARACTER || mode & TYPE == BLOCK;
        draft.body.device = Device(if is_device { major << 20 | minor } else { UNSET });
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name));
    });
}
on_return!(mknod_fast, mknod_base, mknod_perf, mknod);
