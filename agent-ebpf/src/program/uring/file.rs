//! Operations on files.

use common::{
    Kind,
    event::{Link, Open, Rename, Rmdir, Symlink, Truncate, Unlink},
    names::RenameFlags,
    wire::{Device, Inode, UNSET},
};

use super::{Operation, on_operation};
use crate::{
    filter,
    kernel::{Memory, load},
    path::{self, Subject, file_of},
    program::{open::Opened, unlink::REMOVEDIR},
};

// one body is written for both kinds
const _: () = assert!(size_of::<Unlink>() == size_of::<Rmdir>());

#[inline(always)]
fn open<M: Memory>(it: &Operation) {
    let (dir, flags, mode) = (it.number::<0>() as i32, it.number::<1>(), it.number::<2>());
    // a file in a slot of the ring has no descriptor
    let has_descriptor = !it.is_error() && it.number::<3>() == 0;
    let file = if has_descriptor { file_of::<M>(it.task, it.ret as u32) } else { 0 };
    let opened = Opened::of::<M>(file, flags);
    it.send::<M, Open>(Kind::Open, opened.class(flags, it.ret), |draft, it| {
        opened.describe::<M>(draft, flags, mode);
        let subject = if file == 0 { Subject::Kept(dir, it.texts().0) } else { Subject::File(file) };
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_operation!(uring_open_fast, uring_open_base, uring_open_perf, open);

#[inline(always)]
fn unlink<M: Memory>(it: &Operation) {
    let kind = if u64::from(it.number::<2>()) & REMOVEDIR != 0 { Kind::Rmdir } else { Kind::Unlink };
    it.send::<M, Unlink>(kind, filter::class_of(it.ret), |draft, it| {
        let subject = Subject::Kept(it.number::<0>() as i32, it.texts().0);
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_operation!(uring_unlink_fast, uring_unlink_base, uring_unlink_perf, unlink);

#[inline(always)]
fn rename<M: Memory>(it: &Operation) {
    it.send::<M, Rename>(Kind::Rename, filter::class_of(it.ret), |draft, it| {
        let (old, new) = it.texts();
        draft.body.flags = RenameFlags(it.number::<2>());
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, old));
        draft.body.target = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<1>() as i32, new));
    });
}
on_operation!(uring_rename_fast, uring_rename_base, uring_rename_perf, rename);

#[inline(always)]
fn link<M: Memory>(it: &Operation) {
    it.send::<M, Link>(Kind::Link, filter::class_of(it.ret), |draft, it| {
        let (old, new) = it.texts();
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, old));
        draft.body.target = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<1>() as i32, new));
    });
}
on_operation!(uring_link_fast, uring_link_base, uring_link_perf, link);

#[inline(always)]
fn symlink<M: Memory>(it: &Operation) {
    it.send::<M, Symlink>(Kind::Symlink, filter::class_of(it.ret), |draft, it| {
        let (name, content) = it.texts();
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, name));
        draft.body.content = draft.kept(content);
    });
}
on_operation!(uring_symlink_fast, uring_symlink_base, uring_symlink_perf, symlink);

#[inline(always)]
fn truncate<M: Memory>(it: &Operation) {
    it.send::<M, Truncate>(Kind::Truncate, filter::class_of(it.ret), |draft, it| {
        draft.body.length = (u64::from(it.number::<0>()) | u64::from(it.number::<1>()) << 32) as i64;
        let file = it.file::<M>();
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        let mut subject = Subject::Nothing;
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
            subject = Subject::File(file);
        }
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_operation!(uring_truncate_fast, uring_truncate_base, uring_truncate_perf, truncate);
