//! A child is made.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use common::{Call, Hook, Kind, event::Fork, filter::class};

use crate::{
    draft::Draft,
    filter,
    kernel::{Base, Fast, Memory, load},
};

#[map]
static FORK_DRAFT: PerCpuArray<Draft<Fork, 8>> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn fork<M: Memory>(ctx: &BtfTracePointContext) {
    let (parent, child): (usize, usize) = (ctx.arg(0), ctx.arg(1));
    let tgid = load!(M, u32, child, task.tgid);
    // a new thread is no new process
    if tgid == load!(M, u32, parent, task.tgid) || !filter::pass(Hook::Fork, Kind::Fork, class::SUCCESS) {
        return;
    }
    let Some(draft) = FORK_DRAFT.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU, and no fork interrupts a fork.
    let draft = unsafe { &mut *draft };
    draft.start::<M>(Hook::Fork, Kind::Fork, Call::None, parent, 0);
    draft.body.child_start = load!(M, u64, child, task.start);
    draft.body.child_pid = tgid;
    draft.body.child_ppid = load!(M, u32, load!(M, usize, child, task.real_parent), task.tgid);
    draft.send::<0>(Hook::Fork);
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork_fast(ctx: BtfTracePointContext) -> i32 {
    fork::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork_base(ctx: BtfTracePointContext) -> i32 {
    fork::<Base>(&ctx);
    0
}
