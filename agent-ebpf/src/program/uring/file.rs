//! Operations on files.

use common::{
    Kind,
    event::{Link, Open, Rename, Rmdir, Symlink, Truncate, Unlink},
    names::RenameFlags,
    wire::{Device, Inode, Text, UNSET, mark},
};

use super::{Operation, on_operation};
use crate::{
    draft::{CallDraft, TEXT, kernel_read},
    filter,
    kernel::{Memory, clamp, copy_str, load},
    path::{self, Subject, file_of},
    program::{open::Opened, unlink::REMOVEDIR},
};

// one body is written for both kinds
const _: () = assert!(size_of::<Unlink>() == size_of::<Rmdir>());

#[inline(always)]
fn open<M: Memory>(it: &Operation) {
    let (dir, flags, mode) = (it.number::<0>() as i32, it.number::<1>(), it.number::<2>());
    // a file in a slot of the ring has no descriptor, and one that is told early is not open yet
    let has_descriptor = !it.is_error() && it.is_done() && it.number::<3>() == 0;
    let file = if has_descriptor { file_of::<M>(it.task, it.ret as u32) } else { 0 };
    let opened = Opened::of::<M>(file, flags);
    it.send::<M, Open>(Kind::Open, opened.class(flags, it.ret), |draft, it| {
        opened.describe::<M>(draft, flags, mode);
        let name = Subject::Kept(dir, it.texts().0);
        if file == 0 {
            draft.body.path = path::of::<M, _, _>(draft, it.task, name);
        } else {
            draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::File(file));
            draft.body.asked = path::of::<M, _, _>(draft, it.task, name);
        }
    });
}
on_operation!(
    uring_open_fast, uring_open_base, uring_open_perf, uring_open_early_fast, uring_open_early_base, uring_open_early_perf, open
);

#[inline(always)]
fn unlink<M: Memory>(it: &Operation) {
    let kind = if u64::from(it.number::<2>()) & REMOVEDIR != 0 { Kind::Rmdir } else { Kind::Unlink };
    it.send::<M, Unlink>(kind, filter::class_of(it.ret), |draft, it| {
        let subject = Subject::Kept(it.number::<0>() as i32, it.texts().0);
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_operation!(
    uring_unlink_fast, uring_unlink_base, uring_unlink_perf, uring_unlink_early_fast, uring_unlink_early_base,
    uring_unlink_early_perf, unlink
);

#[inline(always)]
fn rename<M: Memory>(it: &Operation) {
    it.send::<M, Rename>(Kind::Rename, filter::class_of(it.ret), |draft, it| {
        let (old, new) = it.texts();
        draft.body.flags = RenameFlags(it.number::<2>());
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, old));
        draft.body.target = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<1>() as i32, new));
    });
}
on_operation!(
    uring_rename_fast, uring_rename_base, uring_rename_perf, uring_rename_early_fast, uring_rename_early_base,
    uring_rename_early_perf, rename
);

#[inline(always)]
fn link<M: Memory>(it: &Operation) {
    it.send::<M, Link>(Kind::Link, filter::class_of(it.ret), |draft, it| {
        let (old, new) = it.texts();
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, old));
        draft.body.target = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<1>() as i32, new));
    });
}
on_operation!(
    uring_link_fast, uring_link_base, uring_link_perf, uring_link_early_fast, uring_link_early_base, uring_link_early_perf, link
);

#[inline(always)]
fn symlink<M: Memory>(it: &Operation) {
    it.send::<M, Symlink>(Kind::Symlink, filter::class_of(it.ret), |draft, it| {
        let (name, content) = it.texts();
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Kept(it.number::<0>() as i32, name));
        draft.body.content = kept(draft, content);
    });
}
on_operation!(
    uring_symlink_fast, uring_symlink_base, uring_symlink_perf, uring_symlink_early_fast, uring_symlink_early_base,
    uring_symlink_early_perf, symlink
);

/// A text in the kernel's memory.
#[inline(always)]
fn kept(draft: &mut CallDraft<Symlink>, at: usize) -> Text {
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a text is at most as long as the room behind the last one.
    let len = unsafe { copy_str((&raw mut draft.tail).cast::<u8>().add(start as usize), TEXT as u32, at) };
    if len <= 0 {
        return draft.text(start, 0, mark::ABSENT | mark::TRUNCATED);
    }
    // without the NUL
    draft.text(start, clamp::<{ TEXT as i32 }>(len as u64 - 1), 0)
}

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
on_operation!(
    uring_truncate_fast, uring_truncate_base, uring_truncate_perf, uring_truncate_early_fast, uring_truncate_early_base,
    uring_truncate_early_perf, truncate
);
