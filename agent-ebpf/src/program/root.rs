//! chroot; pivot_root.

use common::{
    Kind,
    event::{Chroot, PivotRoot},
    wire::{Device, Inode, UNSET},
};

use crate::{
    kernel::Memory,
    path::{self, CWD, Place, Subject},
    program::{on_return, sys_exit::Return},
};

/// The root directory that a call has left; nobody's after a failure.
#[inline(always)]
fn root<M: Memory>(it: &Return) -> (Inode, Device) {
    if it.is_error() { (Inode::default(), Device(UNSET)) } else { Place::root::<M>(it.task).identity::<M>() }
}

#[inline(always)]
fn chroot<M: Memory>(it: &Return) {
    if !it.pass(Kind::Chroot) {
        return;
    }
    it.send::<M, Chroot>(Kind::Chroot, |draft, it| {
        (draft.body.inode, draft.body.dev) = root::<M>(it);
        let subject =
            if it.is_error() { Subject::Name(CWD, it.arg::<0>()) } else { Subject::Place(Place::root::<M>(it.task)) };
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(chroot_fast, chroot_base, chroot_perf, chroot);

#[inline(always)]
fn pivot_root<M: Memory>(it: &Return) {
    if !it.pass(Kind::PivotRoot) {
        return;
    }
    it.send::<M, PivotRoot>(Kind::PivotRoot, |draft, it| {
        (draft.body.inode, draft.body.dev) = root::<M>(it);
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(CWD, it.arg::<0>()));
        draft.body.put_old = path::of::<M, _, _>(draft, it.task, Subject::Name(CWD, it.arg::<1>()));
    });
}
on_return!(pivot_root_fast, pivot_root_base, pivot_root_perf, pivot_root);
