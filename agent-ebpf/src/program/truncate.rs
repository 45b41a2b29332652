//! truncate, ftruncate.

use common::{
    Call, Kind,
    event::Truncate,
    wire::{Device, Inode, UNSET},
};

use crate::{
    kernel::{Memory, load},
    notes,
    path::{self, CWD, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

/// The length that was asked for. A 32-bit program gives it in one register, or in two halves.
#[inline(always)]
fn length(it: &Return) -> i64 {
    let low = it.arg::<1>();
    if it.is_short() {
        i64::from(low as i32)
    } else if it.is_compat() {
        (low | it.arg::<2>() << 32) as i64
    } else {
        low as i64
    }
}

#[inline(always)]
fn truncate<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Truncate) {
        return;
    }
    it.send::<M, Truncate>(Kind::Truncate, |draft, it| {
        draft.body.length = length(it);
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        let by_file = it.is(Call::Ftruncate);
        let file = if by_file { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
        }
        let subject = match (file, by_file) {
            (0, true) => Subject::Nothing,
            (0, false) => Subject::Name(CWD, it.arg::<0>()),
            (file, _) => Subject::File(file),
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
on_return!(truncate_fast, truncate_base, truncate_perf, truncate);
