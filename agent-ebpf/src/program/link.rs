//! link, linkat; symlink, symlinkat.

use common::{
    Call, Kind,
    event::{Link, Symlink},
};

use crate::{
    draft::ANY,
    kernel::Memory,
    notes,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn link<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Link) {
        return;
    }
    it.send::<M, Link>(Kind::Link, |draft, it| {
        let (from, old, to, new) = if it.is(Call::Link) {
            (CWD, it.arg::<0>(), CWD, it.arg::<1>())
        } else {
            (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>() as i32, it.arg::<3>())
        };
        (draft.body.path, draft.body.target) = match note {
            Some(note) => {
                (notes::path(draft, note, note.body.path, old), notes::path(draft, note, note.body.target, new))
            }
            None => (
                path::of::<M, _, _>(draft, it.task, Subject::Name(from, old)),
                path::of::<M, _, _>(draft, it.task, Subject::Name(to, new)),
            ),
        };
    });
}
on_return!(link_fast, link_base, link_perf, link);

#[inline(always)]
fn symlink<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Symlink) {
        return;
    }
    it.send::<M, Symlink>(Kind::Symlink, |draft, it| {
        let (dir, name) =
            if it.is(Call::Symlink) { (CWD, it.arg::<1>()) } else { (it.arg::<1>() as i32, it.arg::<2>()) };
        draft.body.path = match note {
            Some(note) => notes::path(draft, note, note.body.path, name),
            None => path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name)),
        };
        draft.body.content = draft.given(it.arg::<0>(), ANY);
    });
}
on_return!(symlink_fast, symlink_base, symlink_perf, symlink);
