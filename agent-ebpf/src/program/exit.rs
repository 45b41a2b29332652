//! A thread ends: a process ends with its last one.

use aya_ebpf::{
    macros::{btf_tracepoint, map, tracepoint},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{Call, Hook, Kind, event::Exit, filter::class, names::Signal, wire::Bool};

use crate::{
    draft::Draft,
    filter,
    kernel::{Base, Fast, Memory, load},
    own,
};

#[map]
static EXIT_DRAFT: PerCpuArray<Draft<Exit, 8>> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn exit<M: Memory>() {
    let task = M::task();
    let signal = load!(M, usize, task, task.signal);
    let is_agent = filter::is_agent::<M>(task);
    if is_agent {
        own::thread_ends(load!(M, u32, task, task.pid));
    }
    // the count of living threads goes down before the tracepoint
    if load!(M, u32, signal, signal.live) != 0 {
        if is_agent {
            filter::count_own(Hook::Exit);
        }
        return;
    }
    if !filter::pass(Hook::Exit, Kind::Exit, class::SUCCESS) {
        return;
    }
    let Some(draft) = EXIT_DRAFT.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU, and no exit interrupts an exit.
    let draft = unsafe { &mut *draft };
    draft.start::<M>(Hook::Exit, Kind::Exit, Call::None, task, 0);
    // as wait(2) has it: signal in the low seven bits, then the bit of the core dump, then the code
    let status = load!(M, u32, task, task.exit_code);
    draft.body.code = status >> 8 & 0xff;
    draft.body.signal = Signal(status & 0x7f);
    draft.body.core = Bool(status >> 7 & 1);
    draft.send::<0>(Hook::Exit, Kind::Exit.lane());
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit_fast(_: BtfTracePointContext) -> i32 {
    exit::<Fast>();
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit_base(_: BtfTracePointContext) -> i32 {
    exit::<Base>();
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn exit_perf(_: TracePointContext) -> u32 {
    exit::<Fast>();
    0
}
