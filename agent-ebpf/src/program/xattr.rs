//! setxattr, lsetxattr, fsetxattr, setxattrat; removexattr, lremovexattr, fremovexattr, removexattrat.

use common::{
    Call, Kind,
    event::{Removexattr, Setxattr},
    names::XattrFlags,
};

use crate::{
    kernel::{self, Memory},
    path::{self, CWD, EMPTY_PATH, Subject},
    program::{on_return, sys_exit::Return},
    text::{self, Words},
};

/// What a call is about. The calls of both kinds have their first arguments in common.
#[inline(always)]
fn subject<M: Memory>(it: &Return) -> Subject {
    if it.is(Call::Setxattrat) || it.is(Call::Removexattrat) {
        Subject::at::<M>(it.task, it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>() & EMPTY_PATH != 0)
    } else if it.is(Call::Fsetxattr) || it.is(Call::Fremovexattr) {
        Subject::descriptor::<M>(it.task, it.arg::<0>() as u32)
    } else {
        Subject::Name(CWD, it.arg::<0>())
    }
}

#[inline(always)]
fn setxattr<M: Memory>(it: &Return) {
    if !it.pass(Kind::Setxattr) {
        return;
    }
    it.send::<M, Setxattr>(Kind::Setxattr, |draft, it| {
        let at = it.is(Call::Setxattrat);
        let (name, size, flags) = if at {
            // struct xattr_args { u64 value; u32 size; u32 flags; }
            let args = kernel::read_user::<[u32; 4]>(it.arg::<4>()).unwrap_or_default();
            (it.arg::<3>(), u64::from(args[2]), args[3])
        } else {
            (it.arg::<1>(), it.arg::<3>(), it.arg::<4>() as u32)
        };
        draft.body.size = size as i64;
        draft.body.flags = XattrFlags(flags);
        let subject = subject::<M>(it);
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
        draft.body.name = text::of::<{ text::NAME }, _>(draft, Words::user(name));
    });
}
on_return!(setxattr_fast, setxattr_base, setxattr_perf, setxattr);

#[inline(always)]
fn removexattr<M: Memory>(it: &Return) {
    if !it.pass(Kind::Removexattr) {
        return;
    }
    it.send::<M, Removexattr>(Kind::Removexattr, |draft, it| {
        let name = if it.is(Call::Removexattrat) { it.arg::<3>() } else { it.arg::<1>() };
        let subject = subject::<M>(it);
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
        draft.body.name = text::of::<{ text::NAME }, _>(draft, Words::user(name));
    });
}
on_return!(removexattr_fast, removexattr_base, removexattr_perf, removexattr);
