//! chown, fchown, lchown, fchownat.

use common::{Call, Kind, event::Chown, wire::mark};

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
        let may_be_empty = at && it.arg::<4>() & EMPTY_PATH != 0;
        let name = if at { it.arg::<1>() } else { it.arg::<0>() };
        let subject = if it.is(Call::Fchown) {
            Subject::descriptor::<M>(it.task, it.arg::<0>() as u32)
        } else if at {
            Subject::at::<M>(it.task, it.arg::<0>() as i32, name, may_be_empty)
        } else {
            Subject::Name(CWD, name)
        };
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
        draft.body.path = match note {
            Some(note) if !it.is(Call::Fchown) => {
                draft.body.inode = note.body.inode;
                draft.body.dev = note.body.dev;
                notes::path(draft, note, note.body.path, name)
            }
            _ => path::of::<M, _, _>(draft, it.task, subject),
        };
        // whether there was a name is what the caller's memory says now
        let is_said = note.is_none() && may_be_empty && name != 0;
        if is_said && draft.body.path.marks & mark::ABSENT == 0 {
            draft.body.path.marks |= mark::USER;
        }
    });
}
on_return!(chown_fast, chown_base, chown_perf, chown);
