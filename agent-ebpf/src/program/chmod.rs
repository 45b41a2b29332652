//! chmod, fchmod, fchmodat, fchmodat2.

use common::{
    Call, Kind,
    event::Chmod,
    wire::{Device, Inode, Mode, UNSET},
};

use crate::{
    kernel::{Memory, load},
    notes,
    path::{self, CWD, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn chmod<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Chmod) {
        return;
    }
    it.send::<M, Chmod>(Kind::Chmod, |draft, it| {
        let at = it.is(Call::Fchmodat) || it.is(Call::Fchmodat2);
        draft.body.mode = Mode((if at { it.arg::<2>() } else { it.arg::<1>() }) as u32 & 0o7777);
        draft.body.inode = Inode::default();
        draft.body.dev = Device(UNSET);
        draft.body.result_mode = Mode(UNSET);
        let file = if it.is(Call::Fchmod) { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        if file != 0 {
            let inode = load!(M, usize, file, file.inode);
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.result_mode = Mode(u32::from(load!(M, u16, inode, inode.mode)));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
        }
        let subject = if file != 0 {
            Subject::File(file)
        } else if it.is(Call::Fchmod) {
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
on_return!(chmod_fast, chmod_base, chmod_perf, chmod);
