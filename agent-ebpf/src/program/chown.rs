//! chown, fchown, lchown, fchownat.

use common::{Call, Kind, event::Chown};

use crate::{
    kernel::Memory,
    notes,
    path::{self, CWD, EMPTY_PATH, Subject},
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
        let subject = if it.is(Call::Fchown) {
            Subject::descriptor::<M>(it.task, it.arg::<0>() as u32)
        } else if at {
            Subject::at::<M>(it.task, it.arg::<0>() as i32, it.arg::<1>(), it.arg::<4>() & EMPTY_PATH != 0)
        } else {
            Subject::Name(CWD, it.arg::<0>())
        };
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
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
