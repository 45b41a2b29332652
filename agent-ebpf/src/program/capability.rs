//! The kernel asks whether the current task has a capability. It does so very often: each answer is told once.

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map, tracepoint},
    maps::{LruHashMap, PerCpuArray},
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{Call, Hook, Kind, event::Capability, names};

use crate::{
    draft::Draft,
    filter,
    kernel::{self, Base, Fast, Memory, layout, load},
};

/// What was asked, and the answer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Use {
    /// Start of the process, nanoseconds since boot.
    start: u64,
    pid: u32,
    /// Counts its execs.
    exec_id: u32,
    /// Inode of the user namespace.
    space: u32,
    capability: u32,
    /// What the caller was told: 0 or an error.
    answer: i64,
}

/// What was told: what is pushed out is told again.
#[map]
static USES: LruHashMap<Use, u8> = LruHashMap::with_max_entries(8192, 0);

#[map]
static USE_DRAFT: PerCpuArray<Draft<Capability, 8>> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn capability<M: Memory>(target: usize, number: u32, answer: i64) {
    let task = M::task();
    if filter::is_agent::<M>(task) {
        filter::count_own(Hook::Capability);
        return;
    }
    if !filter::pass(Hook::Capability, Kind::Capability, filter::class_of(answer)) {
        return;
    }
    let leader = load!(M, usize, task, task.group_leader);
    let it = Use {
        start: load!(M, u64, leader, task.start),
        pid: load!(M, u32, task, task.tgid),
        exec_id: load!(M, u32, task, task.exec_id),
        space: load!(M, u32, target, user_ns.inum),
        capability: number,
        answer,
    };
    if USES.get_ptr(&it).is_some() {
        filter::count(Hook::Capability, |counts| counts.filtered += 1);
        return;
    }
    // what the map does not take is told again
    USES.insert(&it, &0, 0).ok();
    let Some(draft) = USE_DRAFT.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU.
    let draft = unsafe { &mut *draft };
    draft.start::<M>(Hook::Capability, Kind::Capability, Call::None, task, answer);
    draft.body = Capability { capability: names::Capability(number), target_user_ns: it.space };
    draft.send::<0>(Hook::Capability, Kind::Capability.lane());
}

/// Typed loads. `(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns,
/// int cap, int ret)`
#[btf_tracepoint(function = "cap_capable")]
pub fn capability_fast(ctx: BtfTracePointContext) -> i32 {
    capability::<Fast>(ctx.arg(1), ctx.arg(3), i64::from(ctx.arg::<i32>(4)));
    0
}

/// Helper calls.
#[btf_tracepoint(function = "cap_capable")]
pub fn capability_base(ctx: BtfTracePointContext) -> i32 {
    capability::<Base>(ctx.arg(1), ctx.arg(3), i64::from(ctx.arg::<i32>(4)));
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn capability_perf(ctx: TracePointContext) -> u32 {
    let event = ctx.as_ptr() as usize;
    let target = kernel::read(event.wrapping_add(layout!(capable_event.target) as usize));
    let number = kernel::read(event.wrapping_add(layout!(capable_event.capability) as usize));
    let answer = kernel::read::<i32>(event.wrapping_add(layout!(capable_event.answer) as usize));
    capability::<Fast>(target, number, i64::from(answer));
    0
}
