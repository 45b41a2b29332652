//! A child is made.

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map, tracepoint},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{Call, Hook, Kind, event::Fork, filter::class};

use crate::{
    draft::Draft,
    filter,
    kernel::{self, Base, Fast, Memory, layout, load},
    own,
};

#[map]
static FORK_DRAFT: PerCpuArray<Draft<Fork, 8>> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn fork<M: Memory>(parent: usize, child: usize) {
    let tgid = load!(M, u32, child, task.tgid);
    // a new thread is no new process
    if tgid == load!(M, u32, parent, task.tgid) {
        return thread::<M>(parent, load!(M, u32, child, task.pid));
    }
    if !filter::pass(Hook::Fork, Kind::Fork, class::SUCCESS) {
        return;
    }
    let Some(draft) = FORK_DRAFT.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU, and no fork interrupts a fork.
    let draft = unsafe { &mut *draft };
    draft.start::<M>(Hook::Fork, Kind::Fork, Call::None, parent, 0);
    draft.body.child_start = load!(M, u64, child, task.start);
    draft.body.child_pid = tgid;
    draft.body.child_ppid = load!(M, u32, load!(M, usize, child, task.real_parent), task.tgid);
    draft.send::<0>(Hook::Fork, Kind::Fork.lane());
}

/// A thread is made.
#[inline(always)]
fn thread<M: Memory>(task: usize, tid: u32) {
    if filter::is_agent::<M>(task) {
        own::thread_begins(tid);
        filter::count_own(Hook::Fork);
    }
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork_fast(ctx: BtfTracePointContext) -> i32 {
    fork::<Fast>(ctx.arg(0), ctx.arg(1));
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork_base(ctx: BtfTracePointContext) -> i32 {
    fork::<Base>(ctx.arg(0), ctx.arg(1));
    0
}

/// Typed loads, behind a perf event. Its fields name the child by number only; the task is the last one in a list of
/// children that `copy_process` (`kernel/fork.c`) has just put it into: of the parent, or with `CLONE_PARENT` of the
/// parent's. A new thread is in none.
#[tracepoint]
pub fn fork_perf(ctx: TracePointContext) -> u32 {
    let number = kernel::read::<u32>((ctx.as_ptr() as usize).wrapping_add(layout!(fork_event.child_pid) as usize));
    let parent = Fast::task();
    for above in [parent, load!(Fast, usize, parent, task.real_parent)] {
        let child = load!(Fast, usize, above, task.last_child).wrapping_sub(layout!(task.sibling) as usize);
        if load!(Fast, u32, child, task.pid) == number {
            fork::<Fast>(parent, child);
            return 0;
        }
    }
    thread::<Fast>(parent, number);
    0
}
