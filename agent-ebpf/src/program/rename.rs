//! rename, renameat, renameat2.

use common::{Call, Kind, event::Rename, names::RenameFlags};

use crate::{
    kernel::Memory,
    notes,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
};

#[inline(always)]
fn rename<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Rename) {
        return;
    }
    it.send::<M, Rename>(Kind::Rename, |draft, it| {
        let (from, old, to, new) = if it.is(Call::Rename) {
            (CWD, it.arg::<0>(), CWD, it.arg::<1>())
        } else {
            (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>() as i32, it.arg::<3>())
        };
        draft.body.flags = RenameFlags(if it.is(Call::Renameat2) { it.arg::<4>() as u32 } else { 0 });
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
on_return!(rename_fast, rename_base, rename_perf, rename);
