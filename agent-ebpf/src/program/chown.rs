//! chown, fchown, lchown, fchownat.

use common::{
    Call, Kind,
    event::Chown,
    wire::{Device, Id, Inode, UNSET},
};

use crate::{
    kernel::{Memory, load},
    path::{self, CWD, file_of},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn chown<M: Memory>(it: &Return) {
    if !it.pass(Kind::Chown) {
        return;
    }
    it.send::<M, Chown>(Kind::Chown, |draft, it| {
        let at = it.is(Call::Fchownat);
        let (owner, group) = if at { (it.arg::<2>(), it.arg::<3>()) } else { (it.arg::<1>(), it.arg::<2>()) };
        draft.body.owner = Id(owner as u32);
        draft.body.owner_group = Id(group as u32);
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        let file = if it.is(Call::Fchown) { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
            draft.body.path = path::of_file::<M, _, _>(draft, file);
        } else {
            let (dir, name) = if at { (it.arg::<0>() as i32, it.arg::<1>()) } else { (CWD, it.arg::<0>()) };
            draft.body.path = path::named_or_none::<M, _, _>(draft, it.task, dir, name, it.is(Call::Fchown));
        }
    });
}
on_return!(chown_fast, chown_base, chown);
