//! A system call returns. Calls that nobody wants leave after a look into the table; the others go on in the program
//! of their kind.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    EbpfContext,
    helpers::generated as helper,
    macros::{btf_tracepoint, map, tracepoint},
    maps::{PerCpuArray, ProgramArray},
    programs::{BtfTracePointContext, TracePointContext},
};
use aya_log_ebpf::debug;
use common::{
    Call, Hook, Kind, Record,
    filter::{KINDS, matched},
};

use crate::{
    draft::{CallDraft, TAIL, TEXT},
    executable,
    filter::{self, Table, call_of},
    kernel::{Base, Fast, Memory, Registers, load},
    program::{file_setattr, open},
};

/// The program of each kind; 0, the number of none, is that of [`crate::program::judge`].
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(KINDS as u32, 0);

/// Where [`crate::program::judge`] is among them.
const JUDGE: u32 = 0;

/// Drafts of calls: only one call returns at a time on a CPU.
#[map]
pub static DRAFT: PerCpuArray<[u64; 4096]> = PerCpuArray::with_max_entries(1, 0);

/// Whether a task is in a call of a 32-bit program.
#[inline(always)]
pub fn is_compat<M: Memory>(task: usize) -> bool {
    load!(M, u32, task, task.status) & COMPAT != 0
}

/// How a program learns of a call that returns.
pub trait Source: EbpfContext {
    /// The number of the call.
    fn number(&self) -> u64;
    /// What it returns.
    fn result(&self) -> i64;
    /// The registers of the caller.
    fn registers(&self, task: usize) -> *const Registers;
}

impl Source for BtfTracePointContext {
    #[inline(always)]
    fn number(&self) -> u64 {
        // SAFETY: the tracepoint gives a pointer that the verifier knows.
        unsafe { (*self.registers(0)).orig_ax }
    }
    #[inline(always)]
    fn result(&self) -> i64 {
        self.arg(1)
    }
    #[inline(always)]
    fn registers(&self, _task: usize) -> *const Registers {
        self.arg(0)
    }
}

/// `struct trace_event_raw_sys_exit`: eight bytes of every event, the number, the result.
impl Source for TracePointContext {
    #[inline(always)]
    fn number(&self) -> u64 {
        // SAFETY: within the event.
        unsafe { self.as_ptr().cast::<u64>().add(1).read() }
    }
    #[inline(always)]
    fn result(&self) -> i64 {
        // SAFETY: within the event.
        unsafe { self.as_ptr().cast::<i64>().add(2).read() }
    }
    #[inline(always)]
    fn registers(&self, task: usize) -> *const Registers {
        // SAFETY: the current task, as `Memory::task` gives it; the result is a pointer that the verifier knows.
        unsafe { helper::bpf_task_pt_regs(task as *mut _) as *const Registers }
    }
}

/// A system call that returns.
pub struct Return {
    context: *mut c_void,
    registers: *const Registers,
    /// The current task.
    pub task: usize,
    /// What the call returns.
    pub ret: i64,
    /// The call, as [`Call`] numbers it.
    pub call: u8,
    /// The call, as the kernel numbers it.
    pub number: u64,
    compat: bool,
}

/// `TS_COMPAT` of `thread_info.status`: the call came by the 32-bit way.
const COMPAT: u32 = 2;

impl Return {
    /// The call that returns; `None` when nobody wants it.
    #[inline(always)]
    pub fn of<M: Memory>(ctx: &impl Source) -> Option<Return> {
        let (number, ret) = (ctx.number(), ctx.result());
        let (wide, narrow) = (call_of(number, Table::Wide), call_of(number, Table::Narrow));
        if wide | narrow == 0 {
            return None;
        }
        let task = M::task();
        let compat = is_compat::<M>(task);
        let call = if compat { narrow } else { wide };
        if call == 0 {
            return None;
        }
        Some(Return { context: ctx.as_ptr(), registers: ctx.registers(task), task, ret, call, number, compat })
    }

    /// An argument of the call.
    #[inline(always)]
    pub fn arg<const N: usize>(&self) -> u64 {
        // SAFETY: see `of`.
        unsafe {
            let it = self.registers;
            if self.compat {
                let value = match N {
                    0 => (*it).bx,
                    1 => (*it).cx,
                    2 => (*it).dx,
                    3 => (*it).si,
                    4 => (*it).di,
                    _ => (*it).bp,
                };
                return value & 0xffff_ffff;
            }
            match N {
                0 => (*it).di,
                1 => (*it).si,
                2 => (*it).dx,
                3 => (*it).r10,
                4 => (*it).r8,
                _ => (*it).r9,
            }
        }
    }

    /// Whether it is the given call.
    #[inline(always)]
    pub fn is(&self, call: Call) -> bool {
        self.call == call as u8
    }

    /// Whether pointers of the caller have 32 bits.
    #[inline(always)]
    pub fn is_compat(&self) -> bool {
        self.compat
    }

    /// Whether the call failed.
    #[inline(always)]
    pub fn is_error(&self) -> bool {
        self.ret < 0 && self.ret > -4096
    }

    /// Whether the event is wanted; counts it.
    #[inline(always)]
    pub fn pass(&self, kind: Kind) -> bool {
        filter::pass(Hook::SysExit, kind, filter::class_of(self.ret))
    }

    /// Writes and sends an event if it is wanted: all that a call needs whose kind has nothing to leave out.
    #[inline(always)]
    pub fn tell<M: Memory, R: Record>(&self, kind: Kind, fill: impl FnOnce(&mut CallDraft<R>, &Return)) {
        if self.pass(kind) {
            self.send::<M, R>(kind, fill);
        }
    }

    /// Writes and sends an event. Nothing is sent when `fill` gives up.
    #[inline(always)]
    pub fn send<M: Memory, R: Record>(&self, kind: Kind, fill: impl FnOnce(&mut CallDraft<R>, &Return)) {
        const { assert!(size_of::<CallDraft<R>>() <= 8 * 4096) };
        let Some(slot) = DRAFT.get_ptr_mut(0) else { return };
        // SAFETY: a slot of this CPU with room for the draft of any kind, and one call returns at a time.
        let draft = unsafe { &mut *slot.cast::<CallDraft<R>>() };
        let call = Call::from_number(self.call).unwrap_or(Call::None);
        draft.start::<M>(Hook::SysExit, kind, call, self.task, self.ret);
        fill(draft, self);
        let matched = filter::matched(kind);
        if matched != matched::NO {
            draft.hand_over(kind.lane());
            if matched == matched::WITH_EXECUTABLE {
                // SAFETY: the slot of the draft.
                unsafe { executable::put::<M>(slot.cast(), CallDraft::<R>::FIXED as u64, self.task) };
            }
            // SAFETY: the program array holds programs of this tracepoint only.
            unsafe { helper::bpf_tail_call(self.context, (&raw const PROGRAMS).cast_mut().cast(), JUDGE) };
            // still here: there is no such program
        }
        draft.send::<{ (TAIL + TEXT) as i32 }>(Hook::SysExit, kind.lane());
    }
}

#[inline(always)]
fn dispatch<M: Memory>(ctx: &impl Source) {
    let Some(it) = Return::of::<M>(ctx) else { return };
    if it.is(Call::Ioctl) && !file_setattr::is_ours(it.arg::<1>()) {
        return;
    }
    if filter::is_agent::<M>(it.task) {
        filter::count_own(Hook::SysExit);
        return;
    }
    if (it.is(Call::Execve) || it.is(Call::Execveat)) && !it.is_error() {
        // the tracepoint of exec has told it already, with the new program
        return;
    }
    let kind = kind_of(it.call);
    if kind == Kind::Open as u32 && open::is_left_out(&it) {
        filter::count(Hook::SysExit, |counts| {
            counts.seen += 1;
            counts.filtered += 1;
        });
        return;
    }
    // SAFETY: the program array holds programs of this tracepoint only.
    unsafe { PROGRAMS.tail_call(ctx, kind) };
    // still here: there is no program for the kind
    debug!(ctx, "no program for kind {}, call {}", kind, it.call);
    filter::count(Hook::SysExit, |counts| {
        counts.seen += 1;
        counts.filtered += 1;
    });
}

/// The kind of each call, as a table: a match would be a jump per call.
static KIND_OF_CALL: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < Call::ALL.len() {
        if let Some(kind) = Call::ALL[at].kind() {
            kinds[Call::ALL[at] as usize] = kind as u8;
        }
        at += 1;
    }
    kinds
};

/// The kind of a call, as a number; 0 for no call.
#[inline(always)]
pub fn kind_of(call: u8) -> u32 {
    // SAFETY: the table has an entry for every byte.
    u32::from(unsafe { read_volatile((&raw const KIND_OF_CALL).cast::<u8>().add(usize::from(call))) })
}

/// Typed loads.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_fast(ctx: BtfTracePointContext) -> i32 {
    dispatch::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_base(ctx: BtfTracePointContext) -> i32 {
    dispatch::<Base>(&ctx);
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn sys_exit_perf(ctx: TracePointContext) -> u32 {
    dispatch::<Fast>(&ctx);
    0
}
