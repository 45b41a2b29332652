//! unlink, unlinkat, rmdir.

use common::{
    Call, Kind,
    event::{Rmdir, Unlink},
};

use crate::{
    kernel::Memory,
    path::{self, CWD},
    program::{on_return, sys_exit::Return},
};

/// `AT_REMOVEDIR` (fcntl.h).
const REMOVEDIR: u64 = 0x200;

#[inline(always)]
fn unlink<M: Memory>(it: &Return) {
    let at = it.is(Call::Unlinkat);
    let (dir, name) = if at { (it.arg::<0>() as i32, it.arg::<1>()) } else { (CWD, it.arg::<0>()) };
    if it.is(Call::Rmdir) || at && it.arg::<2>() & REMOVEDIR != 0 {
        if it.pass(Kind::Rmdir) {
            it.send::<M, Rmdir>(Kind::Rmdir, |draft, it| {
                draft.body.path = path::named::<M, _, _>(draft, it.task, dir, name);
            });
        }
    } else if it.pass(Kind::Unlink) {
        it.send::<M, Unlink>(Kind::Unlink, |draft, it| {
            draft.body.path = path::named::<M, _, _>(draft, it.task, dir, name);
        });
    }
}
on_return!(unlink_fast, unlink_base, unlink);
