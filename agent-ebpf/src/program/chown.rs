//! chown, fchown, lchown, fchownat.

use common::{
    Call, Kind,
    event::Chown,
    wire::{Device, Inode, UNSET},
};

use crate::{
    kernel::{Memory, load},
    notes,
    path::{self, CWD, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn chown<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Chown) {
        return;
    }
    it.send::<M, Chown>(Kind::Chown, |draft, it| {
        let at = it.is(Call::Fchownat);
        let (owner, group) = if at { (it.arg::<2>(), it.arg::<3>()) } else { (it.arg::<1>(), it.arg::<2>()) };
        draft.body.new_owner = it.id(owner);
        draft.body.new_group = it.id(group);
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        let file = if it.is(Call::Fchown) { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
        }
        let subject = if file != 0 {
            Subject::File(file)
        } else if it.is(Call::Fchown) {
            Subject::Nothing
        } else if at {
            Subject::Name(it.arg::<0>() as i32, it.arg::<1>())
        } else {
            Subject::Name(CWD, it.arg::<0>())
        };
        draft.body.path = match (note, subject) {
            (Some(note), Subject::Name(_, name)) => {
                draft.body.inode = note.body.inode;
                draft.body.dev = note.body.dev;
                notes::path(draft, note, note.body.path, name)
            }
            (_, subject) => path::of::<M, _, _>(draft, it.task, subject),
        };
    });
}
on_return!(chown_fast, chown_base, chown_perf, chown);
