//! A system call returns. Calls that nobody wants leave after a look into the table; the others go on in the program
//! of their kind.

use core::ptr::read_volatile;

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{PerCpuArray, ProgramArray},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use common::{Call, Hook, Kind, Record, call::TABLE, filter::KINDS};

use crate::{
    draft::{CallDraft, TAIL, TEXT},
    filter,
    kernel::{Base, Fast, Memory, load},
};

/// The program of each kind.
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(KINDS as u32, 0);

/// Drafts of calls: only one call returns at a time on a CPU.
#[map]
static DRAFT: PerCpuArray<[u64; 4096]> = PerCpuArray::with_max_entries(1, 0);

/// `struct pt_regs` of x86_64 (`arch/x86/include/asm/ptrace.h`).
#[repr(C)]
struct Registers {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    bp: u64,
    bx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
}

/// A system call that returns.
pub struct Return {
    registers: *const Registers,
    /// The current task.
    pub task: usize,
    /// What the call returns.
    pub ret: i64,
    /// The call, as [`Call`] numbers it; 0 when nobody wants it.
    pub call: u8,
    compat: bool,
}

/// `TS_COMPAT` of `thread_info.status`: the call came by the 32-bit way.
const COMPAT: u32 = 2;

#[inline(always)]
fn look_up(table: *const [u8; TABLE], number: u64) -> u8 {
    if number >= TABLE as u64 {
        return 0;
    }
    // SAFETY: within the table.
    unsafe { read_volatile(table.cast::<u8>().add(number as usize)) }
}

impl Return {
    #[inline(always)]
    pub fn of<M: Memory>(ctx: &BtfTracePointContext) -> Return {
        let registers: *const Registers = ctx.arg(0);
        let ret: i64 = ctx.arg(1);
        // SAFETY: the tracepoint gives a pointer that the verifier knows.
        let number = unsafe { (*registers).orig_ax };
        let wide = look_up(&raw const filter::CALLS_X86_64, number);
        let narrow = look_up(&raw const filter::CALLS_I386, number);
        if wide | narrow == 0 {
            return Return { registers, task: 0, ret, call: 0, compat: false };
        }
        let task = M::task();
        let compat = load!(M, u32, task, task.status) & COMPAT != 0;
        Return { registers, task, ret, call: if compat { narrow } else { wide }, compat }
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

    /// Writes and sends an event. Nothing is sent when `fill` gives up.
    #[inline(always)]
    pub fn send<M: Memory, R: Record>(&self, kind: Kind, fill: impl FnOnce(&mut CallDraft<R>, &Return)) {
        const { assert!(size_of::<CallDraft<R>>() <= 8 * 4096) };
        let Some(draft) = DRAFT.get_ptr_mut(0) else { return };
        // SAFETY: a slot of this CPU with room for the draft of any kind, and one call returns at a time.
        let draft = unsafe { &mut *draft.cast::<CallDraft<R>>() };
        let call = Call::from_number(self.call).unwrap_or(Call::None);
        draft.start::<M>(Hook::SysExit, kind, call, self.task, self.ret);
        fill(draft, self);
        draft.send::<{ (TAIL + TEXT) as i32 }>(Hook::SysExit);
    }
}

#[inline(always)]
fn dispatch<M: Memory>(ctx: &BtfTracePointContext) {
    let it = Return::of::<M>(ctx);
    if it.call == 0 || load!(M, u32, it.task, task.tgid) == filter::agent() {
        return;
    }
    let kind = if (it.is(Call::Execve) || it.is(Call::Execveat)) && !it.is_error() {
        // the tracepoint of exec has told it already, with the new program
        return;
    } else {
        kind_of(it.call)
    };
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
static KIND_OF_CALL: [u8; 64] = {
    let mut kinds = [0; 64];
    let mut at = 0;
    while at < Call::ALL.len() {
        if let Some(kind) = Call::ALL[at].kind() {
            kinds[Call::ALL[at] as usize] = kind as u8;
        }
        at += 1;
    }
    kinds
};

#[inline(always)]
fn kind_of(call: u8) -> u32 {
    // SAFETY: masked to the length of the table.
    u32::from(unsafe { read_volatile((&raw const KIND_OF_CALL).cast::<u8>().add(usize::from(call & 63))) })
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
