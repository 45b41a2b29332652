//! truncate, ftruncate.

use common::{
    Call, Kind,
    event::Truncate,
    wire::{Device, Inode, UNSET},
};

use crate::{
    kernel::{Memory, load},
    path::{self, CWD, file_of},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn truncate<M: Memory>(it: &Return) {
    if !it.pass(Kind::Truncate) {
        return;
    }
    it.send::<M, Truncate>(Kind::Truncate, |draft, it| {
        draft.body.length = it.arg::<1>() as i64;
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        let by_file = it.is(Call::Ftruncate);
        let file = if by_file { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
            draft.body.path = path::of_file::<M, _, _>(draft, file);
        } else {
            draft.body.path = path::named_or_none::<M, _, _>(draft, it.task, CWD, it.arg::<0>(), by_file);
        }
    });
}
on_return!(truncate_fast, truncate_base, truncate);
