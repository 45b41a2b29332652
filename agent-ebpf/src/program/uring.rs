//! Operations of io_uring(7): no system call returns for them.
//!
//! ```text
//! submit ─▶ keep what was asked for: who, names in the kernel's own copy, numbers
//! complete ─▶ table by operation ─▶ tail call by kind ─▶ class filter ─▶ draft ─▶ ring
//! ```
//!
//! An operation may be done by another thread, later, or when its process is gone, so who asked is kept from the
//! submission. An operation that its caller wants no word of (`IOSQE_CQE_SKIP_SUCCESS`) completes in silence when it
//! succeeds: that it was asked for is a record of its own kind, made at submission ([`Hook::IoUringSubmit`]).
//! On kernels whose completion names no request (before 5.17) two requests in flight with the same number of the
//! caller's are told as the later one.

mod file;
mod kept;
mod modify;
mod network;

use core::ptr::read_volatile;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, map, tracepoint},
    maps::{PerCpuArray, ProgramArray},
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{
    Call, Hook, Kind, Record,
    event::IoUringSilent,
    filter::{KINDS, class},
    layout::MISSING,
    names::UringOperation,
    wire::{Id, UNSET},
};

use self::kept::{Done, Kept};
use crate::{
    draft::{CallDraft, NO_TEXT, TAIL, TEXT, kernel_read},
    filter,
    kernel::{self, Base, Fast, Memory, argument, home, layout, load},
    path::{self, Subject},
    socket::{Given, given},
};

/// The program of each kind at completion.
#[map]
static COMPLETE: ProgramArray = ProgramArray::with_max_entries(KINDS as u32, 0);

/// Drafts of operations: only one completes at a time on a CPU.
#[map]
static URING_DRAFT: PerCpuArray<[u64; 4096]> = PerCpuArray::with_max_entries(1, 0);

home! {
    /// [`URING_DRAFT`].
    Drafts, uring_turns, URING_DRAFT.get_ptr_mut(0)
}

/// The base family of operations.
type OperationBase = Base<Drafts>;

/// Operations (`enum io_uring_op` in `include/uapi/linux/io_uring.h`).
mod operation {
    pub const WRITEV: u8 = 2;
    pub const WRITE_FIXED: u8 = 5;
    pub const SENDMSG: u8 = 9;
    pub const ACCEPT: u8 = 13;
    pub const CONNECT: u8 = 16;
    pub const FALLOCATE: u8 = 17;
    pub const OPENAT: u8 = 18;
    pub const WRITE: u8 = 23;
    pub const SEND: u8 = 26;
    pub const OPENAT2: u8 = 28;
    pub const SPLICE: u8 = 30;
    pub const RENAMEAT: u8 = 35;
    pub const UNLINKAT: u8 = 36;
    pub const SYMLINKAT: u8 = 38;
    pub const LINKAT: u8 = 39;
    pub const SOCKET: u8 = 45;
    pub const SEND_ZC: u8 = 47;
    pub const SENDMSG_ZC: u8 = 48;
    pub const FTRUNCATE: u8 = 55;
    pub const BIND: u8 = 56;
    pub const LISTEN: u8 = 57;
}

/// The kind of each operation, as a table: reads leave after one look, and writes that nobody wants. To have another
/// operation told: a line here, one in [`kept`] for what it asks, and a program for its kind.
static KIND_OF: [u8; 256] = {
    let mut kinds = [0; 256];
    kinds[operation::WRITEV as usize] = Kind::Modify as u8;
    kinds[operation::WRITE_FIXED as usize] = Kind::Modify as u8;
    kinds[operation::SENDMSG as usize] = Kind::Send as u8;
    kinds[operation::ACCEPT as usize] = Kind::Accept as u8;
    kinds[operation::CONNECT as usize] = Kind::Connect as u8;
    kinds[operation::FALLOCATE as usize] = Kind::Modify as u8;
    kinds[operation::OPENAT as usize] = Kind::Open as u8;
    kinds[operation::WRITE as usize] = Kind::Modify as u8;
    kinds[operation::SEND as usize] = Kind::Send as u8;
    kinds[operation::OPENAT2 as usize] = Kind::Open as u8;
    kinds[operation::SPLICE as usize] = Kind::Modify as u8;
    kinds[operation::RENAMEAT as usize] = Kind::Rename as u8;
    kinds[operation::UNLINKAT as usize] = Kind::Unlink as u8;
    kinds[operation::SYMLINKAT as usize] = Kind::Symlink as u8;
    kinds[operation::LINKAT as usize] = Kind::Link as u8;
    kinds[operation::SOCKET as usize] = Kind::Socket as u8;
    kinds[operation::SEND_ZC as usize] = Kind::Send as u8;
    kinds[operation::SENDMSG_ZC as usize] = Kind::Send as u8;
    kinds[operation::FTRUNCATE as usize] = Kind::Truncate as u8;
    kinds[operation::BIND as usize] = Kind::Bind as u8;
    kinds[operation::LISTEN as usize] = Kind::Listen as u8;
    kinds
};

/// The kind of an operation; 0 for one that is never told.
#[inline(always)]
fn kind_of(operation: u8) -> u32 {
    // SAFETY: the table has an entry for every byte.
    u32::from(unsafe { read_volatile((&raw const KIND_OF).cast::<u8>().add(usize::from(operation))) })
}

/// The kind of an operation that somebody wants; 0 for all others.
#[inline(always)]
fn wanted_kind(operation: u8) -> u32 {
    let kind = kind_of(operation);
    let also_rmdir = kind == Kind::Unlink as u32 && filter::is_wanted(Kind::Rmdir as u32, class::ALL);
    if also_rmdir || filter::is_wanted(kind, class::ALL) { kind } else { 0 }
}

/// How a program learns of a submission.
trait Submission: EbpfContext {
    /// The address of the `struct io_kiocb`.
    fn request(&self) -> u64;
}

impl Submission for BtfTracePointContext {
    #[inline(always)]
    fn request(&self) -> u64 {
        // 5.10 has the ring before it
        if layout!(uring_submit.arguments) >= 8 { argument::<8>(self) } else { argument::<0>(self) }
    }
}

impl Submission for TracePointContext {
    #[inline(always)]
    fn request(&self) -> u64 {
        kernel::read(event(self, layout!(uring_submit_event.request)))
    }
}

/// How a program learns of a completion.
trait Completion: EbpfContext {
    /// The address of the `struct io_kiocb`; 0 where the kernel does not say.
    fn request(&self) -> u64;
    /// The ring and the number by which the caller knows the request.
    fn tag(&self) -> [u64; 2];
    /// The result, for completions without a request.
    fn result(&self) -> i32;
}

/// Arguments of `io_uring_complete` by number: the signature tells three kinds of kernel apart.
const WITH_ENTRY: u32 = 4;
const WITH_REQUEST: u32 = 8;

impl Completion for BtfTracePointContext {
    #[inline(always)]
    fn request(&self) -> u64 {
        if layout!(uring_complete.arguments) == WITH_ENTRY || layout!(uring_complete.arguments) == WITH_REQUEST {
            argument::<8>(self)
        } else {
            0
        }
    }
    #[inline(always)]
    fn tag(&self) -> [u64; 2] {
        let tag = match layout!(uring_complete.arguments) {
            // struct io_uring_cqe { u64 user_data; s32 res; u32 flags; }
            WITH_ENTRY => kernel::read(argument::<16>(self) as usize),
            WITH_REQUEST => argument::<16>(self),
            _ => argument::<8>(self),
        };
        [argument::<0>(self), tag]
    }
    #[inline(always)]
    fn result(&self) -> i32 {
        match layout!(uring_complete.arguments) {
            WITH_ENTRY => kernel::read(argument::<16>(self) as usize + 8),
            WITH_REQUEST => argument::<24>(self) as i32,
            _ => argument::<16>(self) as i32,
        }
    }
}

impl Completion for TracePointContext {
    #[inline(always)]
    fn request(&self) -> u64 {
        let offset = layout!(uring_complete_event.request);
        if offset == MISSING { 0 } else { kernel::read(event(self, offset)) }
    }
    #[inline(always)]
    fn tag(&self) -> [u64; 2] {
        [
            kernel::read(event(self, layout!(uring_complete_event.ring))),
            kernel::read(event(self, layout!(uring_complete_event.tag))),
        ]
    }
    #[inline(always)]
    fn result(&self) -> i32 {
        kernel::read(event(self, layout!(uring_complete_event.result)))
    }
}

/// A member of the event behind a perf tracepoint.
#[inline(always)]
fn event(ctx: &TracePointContext, offset: u32) -> usize {
    (ctx.as_ptr() as usize).wrapping_add(offset as usize)
}

/// An operation that is done.
pub struct Operation {
    /// Address of the `struct io_kiocb`.
    request: u64,
    done: &'static Done,
    /// The task that asked for it.
    pub task: usize,
    /// What it returned.
    pub ret: i64,
}

impl Operation {
    #[inline(always)]
    fn of<M: Memory>(ctx: &impl Completion) -> Option<Operation> {
        let (request, ret) = done::<M>(ctx)?;
        let code = load!(M, u8, request as usize, request.opcode);
        let done = kept::find::<M>(request, code)?;
        Some(Operation { request, done, task: kernel_read(&done.kept.task) as usize, ret })
    }

    /// A number that was asked for.
    #[inline(always)]
    pub fn number<const N: usize>(&self) -> u32 {
        self.done.kept.numbers[N]
    }

    /// Where the first and the second text lie; 0 when there is none.
    #[inline(always)]
    pub fn texts(&self) -> (usize, usize) {
        self.done.texts()
    }

    /// The address that was given.
    #[inline(always)]
    pub fn given(&self) -> Given {
        Given::kept(self.texts().0, self.done.kept.len, self.done.kept.marks)
    }

    /// The open file that it is about.
    #[inline(always)]
    pub fn file<M: Memory>(&self) -> usize {
        load!(M, usize, self.request as usize, request.file)
    }

    /// Whether it failed.
    #[inline(always)]
    pub fn is_error(&self) -> bool {
        self.ret < 0
    }

    /// Writes and sends an event, if one of its class is wanted.
    #[inline(always)]
    pub fn send<M: Memory, R: Record>(&self, kind: Kind, class: u8, fill: impl FnOnce(&mut CallDraft<R>, &Operation)) {
        if filter::pass(Hook::IoUring, kind, class) {
            write::<M, R>(Hook::IoUring, kind, &self.done.kept, self.ret, |draft| fill(draft, self));
        }
    }
}

/// Writes and sends an event about what was asked for.
#[inline(always)]
fn write<M: Memory, R: Record>(hook: Hook, kind: Kind, asked: &Kept, ret: i64, fill: impl FnOnce(&mut CallDraft<R>)) {
    const { assert!(size_of::<CallDraft<R>>() <= 8 * 4096) };
    let Some(draft) = URING_DRAFT.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU with room for the draft of any kind, and one event is written at a time.
    let draft = unsafe { &mut *draft.cast::<CallDraft<R>>() };
    draft.start::<M>(hook, kind, Call::None, kernel_read(&asked.task) as usize, ret);
    draft.act_as(&asked.ids, asked.user_ns);
    fill(draft);
    draft.send::<{ (TAIL + TEXT) as i32 }>(hook, kind.lane());
}

/// The request of a completion, and its result.
#[inline(always)]
fn done<M: Memory>(ctx: &impl Completion) -> Option<(u64, i64)> {
    let request = ctx.request();
    if request == 0 {
        // one of several results of a request, or a kernel that does not say
        return Some((kept::tagged(ctx.tag())?, i64::from(ctx.result())));
    }
    // not from the ring, which the caller may write to
    Some((request, i64::from(load!(M, i32, request as usize, request.result))))
}

#[inline(always)]
fn complete<M: Memory>(ctx: &impl Completion) {
    let Some((request, _)) = done::<M>(ctx) else { return };
    let kind = wanted_kind(load!(M, u8, request as usize, request.opcode));
    if kind != 0 {
        // SAFETY: the program array holds programs of this tracepoint only.
        unsafe { COMPLETE.tail_call(ctx, kind) };
    }
}

#[inline(always)]
fn submit<M: Memory>(ctx: &impl Submission) {
    let request = ctx.request();
    let code = load!(M, u8, request as usize, request.opcode);
    let writes = kind_of(code) == Kind::Modify as u32;
    let tells_silent = kind_of(code) != 0 && !writes && filter::is_wanted(Kind::IoUringSilent as u32, class::ALL);
    if wanted_kind(code) == 0 && !tells_silent {
        return;
    }
    let task = M::task();
    if filter::is_agent::<M>(task) {
        return;
    }
    // of a write nothing is to be kept, but for the completion that does not come, or does not name it
    if writes && layout!(uring_complete_event.request) != MISSING && !kept::is_silent::<M>(request as usize) {
        return;
    }
    let Some(bench) = kept::keep::<M>(request as usize, task, code) else { return };
    if filter::pass(Hook::IoUringSubmit, Kind::IoUringSilent, class::SUCCESS) {
        let (first, second) = bench.texts();
        write::<M, IoUringSilent>(Hook::IoUringSubmit, Kind::IoUringSilent, &bench.kept, 0, |draft| {
            draft.body.operation = UringOperation(u32::from(code));
            let has_names = bench.kept.has_names();
            let is_open = !has_names && code != operation::SOCKET;
            draft.body.descriptor =
                Id(if is_open { load!(M, u32, request as usize, request.descriptor) } else { UNSET });
            let name = if has_names { Subject::Kept(bench.kept.numbers[0] as i32, first) } else { Subject::Nothing };
            draft.body.path = path::of::<M, _, _>(draft, task, name);
            draft.body.target = if second == 0 { NO_TEXT } else { draft.kept(second) };
            let len = if has_names { 0 } else { bench.kept.len };
            draft.body.address = given(draft, Given::kept(first, len, bench.kept.marks));
        });
    }
}

/// Declares the families of the programs that another one jumps to for a kind.
macro_rules! on_operation {
    ($fast:ident, $base:ident, $perf:ident, $body:ident) => {
        #[doc = concat!("Typed loads, see [`", stringify!($body), "`].")]
        #[aya_ebpf::macros::btf_tracepoint(function = "io_uring_complete")]
        pub fn $fast(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $crate::program::uring::at_completion::<$crate::kernel::Fast>(&ctx, $body::<$crate::kernel::Fast>);
            0
        }
        #[doc = concat!("Helper calls, see [`", stringify!($body), "`].")]
        #[aya_ebpf::macros::btf_tracepoint(function = "io_uring_complete")]
        pub fn $base(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $crate::program::uring::at_completion::<$crate::program::uring::OperationBase>(
                &ctx,
                $body::<$crate::program::uring::OperationBase>,
            );
            0
        }
        #[doc = concat!("Typed loads behind a perf event, see [`", stringify!($body), "`].")]
        #[aya_ebpf::macros::tracepoint]
        pub fn $perf(ctx: aya_ebpf::programs::TracePointContext) -> u32 {
            $crate::program::uring::at_completion::<$crate::kernel::Fast>(&ctx, $body::<$crate::kernel::Fast>);
            0
        }
    };
}
pub(crate) use on_operation;

#[inline(always)]
fn at_completion<M: Memory>(ctx: &impl Completion, tell: impl FnOnce(&Operation)) {
    let Some(it) = Operation::of::<M>(ctx) else { return };
    // the agent's own operations were not kept
    if !filter::is_agent::<M>(it.task) {
        tell(&it);
    }
    if ctx.request() != 0 || layout!(uring_complete_event.request) == MISSING {
        kept::forget(it.request, ctx.tag());
    }
}

/// Typed loads.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn uring_submit_fast(ctx: BtfTracePointContext) -> i32 {
    submit::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn uring_submit_base(ctx: BtfTracePointContext) -> i32 {
    submit::<OperationBase>(&ctx);
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn uring_submit_perf(ctx: TracePointContext) -> u32 {
    submit::<Fast>(&ctx);
    0
}

/// Typed loads.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn uring_complete_fast(ctx: BtfTracePointContext) -> i32 {
    complete::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn uring_complete_base(ctx: BtfTracePointContext) -> i32 {
    complete::<OperationBase>(&ctx);
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn uring_complete_perf(ctx: TracePointContext) -> u32 {
    complete::<Fast>(&ctx);
    0
}
