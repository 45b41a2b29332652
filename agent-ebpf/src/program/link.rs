//! link, linkat; symlink, symlinkat.

use common::{
    Call, Kind,
    event::{Link, Symlink},
};

use crate::{
    draft::TEXT,
    kernel::Memory,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
    text::{self, Words},
};

#[inline(always)]
fn link<M: Memory>(it: &Return) {
    if !it.pass(Kind::Link) {
        return;
    }
    it.send::<M, Link>(Kind::Link, |draft, it| {
        let (from, old, to, new) = if it.is(Call::Link) {
            (CWD, it.arg::<0>(), CWD, it.arg::<1>())
        } else {
            (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>() as i32, it.arg::<3>())
        };
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(from, old));
        draft.body.target = path::of::<M, _, _>(draft, it.task, Subject::Name(to, new));
    });
}
on_return!(link_fast, link_base, link_perf, link);

#[inline(always)]
fn symlink<M: Memory>(it: &Return) {
    if !it.pass(Kind::Symlink) {
        return;
    }
    it.send::<M, Symlink>(Kind::Symlink, |draft, it| {
        let (dir, name) =
            if it.is(Call::Symlink) { (CWD, it.arg::<1>()) } else { (it.arg::<1>() as i32, it.arg::<2>()) };
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name));
        draft.body.content = text::of::<{ TEXT as i32 }, _>(draft, Words::user(it.arg::<0>()));
    });
}
on_return!(symlink_fast, symlink_base, symlink_perf, symlink);
