//! unlink, unlinkat, rmdir.

use common::{
    Call, Kind,
    event::{Rmdir, Unlink},
};

use crate::{
    kernel::Memory,
    notes,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
};

/// `AT_REMOVEDIR` (fcntl.h).
pub const REMOVEDIR: u64 = 0x200;

// one body is written for both kinds
const _: () = assert!(size_of::<Unlink>() == size_of::<Rmdir>());

#[inline(always)]
fn unlink<M: Memory>(it: &Return) {
    let at = it.is(Call::Unlinkat);
    let kind = if it.is(Call::Rmdir) || at && it.arg::<2>() & REMOVEDIR != 0 { Kind::Rmdir } else { Kind::Unlink };
    let note = notes::of::<M>(it);
    if !it.pass(kind) {
        return;
    }
    it.send::<M, Unlink>(kind, |draft, it| {
        let (dir, name) = if at { (it.arg::<0>() as i32, it.arg::<1>()) } else { (CWD, it.arg::<0>()) };
        draft.body.path = match note {
            Some(note) => notes::path(draft, note, note.body.path, name),
            None => path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name)),
        };
    });
}
on_return!(unlink_fast, unlink_base, unlink_perf, unlink);
