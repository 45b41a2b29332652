//! swapon, swapoff.

use common::{
    Call, Kind,
    event::Swap,
    names::SwapFlags,
    wire::{Id, UNSET},
};

use crate::{
    kernel::Memory,
    path::{self, CWD, Subject},
    program::{on_return, sys_exit::Return},
};

/// `SWAP_FLAG_PREFER` and `SWAP_FLAG_PRIO_MASK` (`include/linux/swap.h`).
const PREFER: u32 = 0x8000;
const PRIORITY: u32 = 0x7fff;

#[inline(always)]
fn swap<M: Memory>(it: &Return) {
    if !it.pass(Kind::Swap) {
        return;
    }
    it.send::<M, Swap>(Kind::Swap, |draft, it| {
        let flags = if it.is(Call::Swapon) { it.arg::<1>() as u32 } else { 0 };
        draft.body.flags = SwapFlags(flags & !PRIORITY);
        draft.body.priority = Id(if flags & PREFER != 0 { flags & PRIORITY } else { UNSET });
        draft.body.path = path::of::<M, _, _>(draft, it.task, Subject::Name(CWD, it.arg::<0>()));
    });
}
on_return!(swap_fast, swap_base, swap_perf, swap);
