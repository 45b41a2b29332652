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
    call::{SOCKET_OPERATIONS, SOCKETCALL},
    filter::KINDS,
    wire::{Addr, Id, UNSET, mark},
};

use crate::{
    draft::{CallDraft, TAIL, TEXT},
    filter::{self, Table, call_of},
    kernel::{Base, Fast, Memory, Registers, clamp, copy_user, home, load},
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

home! {
    /// [`DRAFT`].
    Drafts, call_turns, DRAFT.get_ptr_mut(0)
}

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

/// Of the 32-bit calls that have two numbers the second ones begin here (`truncate64`).
const FIRST_WIDE: u64 = 193;

/// The arguments of a call about a socket.
pub struct SocketArguments {
    pub at: [u64; 6],
    /// Marks of all that is found by them.
    marks: u32,
}

impl SocketArguments {
    /// An address that was found by a descriptor among them.
    #[inline(always)]
    pub fn mark(&self, addr: &mut Addr) {
        if addr.family != 0 {
            addr.marks |= self.marks;
        }
    }
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
        let registers = ctx.registers(task);
        let mut call = if compat { narrow } else { wide };
        if call == SOCKETCALL.1 {
            // SAFETY: a pointer that the verifier knows.
            call = call_of(operation(unsafe { (*registers).bx }), Table::Wide);
        }
        if call == 0 {
            return None;
        }
        Some(Return { context: ctx.as_ptr(), registers, task, ret, call, number, compat })
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

    /// The arguments of a call about a socket. Those of socketcall(2) lie in the caller's memory.
    #[inline(always)]
    pub fn socket_arguments(&self) -> SocketArguments {
        let mut marks = 0;
        let mut at =
            [self.arg::<0>(), self.arg::<1>(), self.arg::<2>(), self.arg::<3>(), self.arg::<4>(), self.arg::<5>()];
        if self.is_socketcall() {
            marks = mark::USER;
            let count = match Call::from_number(self.call) {
                Some(Call::Sendto) => 6,
                Some(Call::Accept4 | Call::Sendmmsg) => 4,
                Some(Call::Listen) => 2,
                _ => 3,
            };
            let mut words = [0_u32; 6];
            // SAFETY: the array has the room.
            unsafe { copy_user((&raw mut words).cast(), clamp::<24>(count * 4), at[1]) };
            at = words.map(u64::from);
        }
        SocketArguments { at, marks }
    }

    /// Whether it is one of the calls that socketcall(2) does.
    #[inline(always)]
    pub fn is_socketcall(&self) -> bool {
        self.compat && self.number == SOCKETCALL.0 as u64
    }

    /// Whether it has the first of two numbers of a 32-bit call, which takes ids of 16 bits or a length of 32.
    #[inline(always)]
    pub fn is_short(&self) -> bool {
        self.compat && self.number < FIRST_WIDE
    }

    /// An id as a call takes it (`low2highuid`, `include/linux/highuid.h`).
    #[inline(always)]
    pub fn id(&self, value: u64) -> Id {
        Id(match value as u32 {
            value if !self.is_short() => value,
            value if value & 0xffff == 0xffff => UNSET,
            value => value & 0xffff,
        })
    }

    /// Whether it is the given call.
    #[inline(always)]
    pub fn is(&self, call: Call) -> bool {
        self.call == call as u8
    }

    /// Whether the call closes files: it was looked at when it began.
    #[inline(always)]
    fn closes(&self) -> bool {
        self.call >= Call::Close as u8 && self.call <= Call::CloseRange as u8
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
        let Some(draft) = self.begin::<M, R>(kind) else { return };
        fill(draft, self);
        if filter::is_matched(kind) {
            draft.hand_over(kind.lane());
            // comes back when there is no such program
            self.jump(JUDGE);
        }
        draft.send::<{ (TAIL + TEXT) as i32 }>(Hook::SysExit, kind.lane());
    }

    /// The draft as the last program left it.
    #[inline(always)]
    pub fn draft<R>(&self) -> Option<&mut CallDraft<R>> {
        const { assert!(size_of::<CallDraft<R>>() <= 8 * 4096) };
        // SAFETY: a slot of this CPU with room for the draft of any kind, and one call returns at a time.
        DRAFT.get_ptr_mut(0).map(|draft| unsafe { &mut *draft.cast::<CallDraft<R>>() })
    }

    /// Starts an event.
    #[inline(always)]
    pub fn begin<M: Memory, R: Record>(&self, kind: Kind) -> Option<&mut CallDraft<R>> {
        let draft = self.draft::<R>()?;
        let call = Call::from_number(self.call).unwrap_or(Call::None);
        draft.start::<M>(Hook::SysExit, kind, call, self.task, self.ret);
        Some(draft)
    }

    /// Goes on in the program of another kind, for good. Comes back when there is none.
    #[inline(always)]
    pub fn go_on(&self, kind: Kind) {
        self.jump(kind as u32);
    }

    #[inline(always)]
    fn jump(&self, program: u32) {
        // SAFETY: the program array holds programs of this tracepoint only.
        unsafe { helper::bpf_tail_call(self.context, (&raw const PROGRAMS).cast_mut().cast(), program) };
    }
}

#[inline(always)]
fn dispatch<M: Memory>(ctx: &impl Source) {
    let Some(it) = Return::of::<M>(ctx) else { return };
    if it.is(Call::Ioctl) && !file_setattr::is_ours(it.arg::<1>()) {
        return;
    }
    if it.closes() {
        return;
    }
    if filter::is_agent::<M>(it.task) && !(it.is(Call::Unlink) && filter::is_tester()) {
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

/// The number on x86_64 of what socketcall(2) does, by operation; 0 for what makes no events.
static OPERATIONS: [u16; 32] = {
    let mut numbers = [0; 32];
    let mut at = 0;
    while at < SOCKET_OPERATIONS.len() {
        let (operation, call) = SOCKET_OPERATIONS[at];
        numbers[operation] = call.x86_64() as u16;
        at += 1;
    }
    numbers
};

#[inline(always)]
fn operation(number: u64) -> u64 {
    let number = number & 0xffff_ffff;
    if number >= OPERATIONS.len() as u64 {
        return 0;
    }
    // SAFETY: within the table.
    u64::from(unsafe { read_volatile((&raw const OPERATIONS).cast::<u16>().add(number as usize)) })
}

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
