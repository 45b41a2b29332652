//! Writes to files: they are counted with those of calls, see [`crate::written`].

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{Hook, layout::MISSING};

use super::{Completion, OperationBase, done, kept, operation};
use crate::{
    filter,
    kernel::{self, Fast, Memory, layout, load},
    written::{self, Way},
};

#[inline(always)]
fn modify<M: Memory>(ctx: &impl Completion) {
    let Some((request, ret)) = done::<M>(ctx) else { return };
    if layout!(uring_complete_event.request) == MISSING {
        kept::forget(request, ctx.tag());
    }
    let request = request as usize;
    let reserves = load!(M, u8, request, request.opcode) == operation::FALLOCATE;
    // who asked: another thread may do it
    let task = if layout!(request.context) == MISSING {
        load!(M, usize, request, request.task)
    } else {
        load!(M, usize, load!(M, usize, request, request.context), uring_task.task)
    };
    if ret < 0 || ret == 0 && !reserves || filter::is_agent::<M>(task) {
        return;
    }
    // that of splice is the one that is written to; read so that the verifier takes it for a number
    let file = kernel::read::<usize>(request.wrapping_add(layout!(request.file) as usize));
    written::keep::<M>(task, file, ret as u64, Hook::IoUring, Way::Ring);
}

/// Typed loads.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn uring_modify_fast(ctx: BtfTracePointContext) -> i32 {
    modify::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn uring_modify_base(ctx: BtfTracePointContext) -> i32 {
    modify::<OperationBase>(&ctx);
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn uring_modify_perf(ctx: TracePointContext) -> u32 {
    modify::<Fast>(&ctx);
    0
}
