//! Files that were written to: a process closes its last descriptor of one.
//!
//! ```text
//! write, … return · a ring completes a write ─▶ kept by process and open file
//! close, dup2, dup3, close_range begin · an exec is done · a process ends ─▶ what was kept is told
//! ```
//!
//! A call that closes is looked at when it begins, because the file may be gone when it returns.

use aya_ebpf::{
    macros::{btf_tracepoint, map, tracepoint},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{
    Call, Hook, Kind,
    event::Modify,
    filter::class,
    wire::{Bool, Device, Inode, Wide},
};

use crate::{
    draft::{CallDraft, TAIL, TEXT, lose},
    filter,
    kernel::{Base, Fast, Memory, home, load, mask},
    path::{self, Subject, file_of},
    program::{
        on_return,
        sys_exit::{Return, Source},
    },
    written::{self, Way, descriptors, holders, is_same},
};

/// `O_CLOEXEC` (open(2)) and `CLOSE_RANGE_UNSHARE` (close_range(2)).
const O_CLOEXEC: u64 = 0o2_000_000;
const UNSHARE: u64 = 2;

/// Drafts: only one file is closed at a time on a CPU.
#[map]
static CLOSE_DRAFT: PerCpuArray<CallDraft<Modify>> = PerCpuArray::with_max_entries(1, 0);

home! {
    /// [`CLOSE_DRAFT`].
    Drafts, close_turns, CLOSE_DRAFT.get_ptr_mut(0)
}

#[inline(always)]
fn modify<M: Memory>(it: &Return) {
    let reserves = it.is(Call::Fallocate);
    if it.is_error() || it.ret == 0 && !reserves {
        return;
    }
    let second = it.is(Call::Splice) || it.is(Call::CopyFileRange);
    let descriptor = if second { it.arg::<2>() } else { it.arg::<0>() };
    let file = file_of::<M>(it.task, descriptor as u32);
    if file != 0 {
        written::keep::<M>(it.task, file, it.ret as u64, Hook::SysExit, Way::Call);
    }
}
on_return!(modify_fast, modify_base, modify_perf, modify);

/// Descriptors of a process are closed, or are about to be.
#[repr(C)]
pub struct Sweep {
    task: usize,
    /// The only file in question; 0 for all that the process has written to.
    file: usize,
    process: u32,
    hook: Hook,
    call: Call,
    /// A file without a descriptor was just closed; if not so, it was closed unseen, and may be another one by now.
    is_done: bool,
    /// The first and the last descriptor that are about to be closed.
    low: u64,
    high: u64,
}

impl Sweep {
    /// Takes one file. Returns whether there are no more.
    #[inline(always)]
    pub fn turn<M: Memory>(&self) -> bool {
        if self.file != 0 {
            self.settle::<M>(self.file);
            return true;
        }
        let file = written::next(self.process);
        if file == 0 {
            return true;
        }
        self.settle::<M>(file);
        false
    }

    /// Tells of a file and forgets it, unless the process has other descriptors of it.
    #[inline(always)]
    fn settle<M: Memory>(&self, file: usize) {
        let Some(kept) = written::of(self.process, file) else { return };
        // SAFETY: a value of a map.
        let kept = unsafe { &*kept };
        let holders = holders::<M>(file);
        let inode = load!(M, usize, file, file.inode);
        let (inside, outside) = if self.file != 0 && holders == 1 {
            (1, 0)
        } else {
            descriptors::<M>(self.task, file, self.low, self.high)
        };
        if outside != 0 {
            return;
        }
        // a ring holds it without a descriptor; without a jump: the verifier would follow the rest for each way
        let by_ring = u64::from(kept.by_ring) & (1 ^ is_same(holders, 0));
        let is_there = mask::<-1>(inside | by_ring);
        if kept.listed == 0 {
            // it is counted as lost already
        } else if kept.inode != inode as u64 || is_there == 0 && !self.is_done {
            lose(self.hook, 1);
        } else if filter::pass(self.hook, Kind::Modify, class::SUCCESS)
            && let Some(draft) = CLOSE_DRAFT.get_ptr_mut(0)
        {
            // SAFETY: a slot of this CPU, and one file is closed at a time.
            let draft = unsafe { &mut *draft };
            draft.start::<M>(self.hook, Kind::Modify, self.call, self.task, 0);
            if self.is_done {
                // the old program wrote it
                draft.header.comm = kept.comm;
            }
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
            draft.body.bytes = Wide::from(kept.bytes);
            draft.body.size = Wide::from(load!(M, u64, inode, inode.size));
            draft.body.duration = Wide::from(draft.header.ktime - kept.first);
            draft.body.writes = kept.writes as u32;
            draft.body.deleted = Bool(u32::from(load!(M, u32, inode, inode.nlink) == 0));
            draft.body.still_open = Bool(u32::from(holders > inside));
            draft.body.path = path::of::<M, _, _>(draft, self.task, Subject::File(file));
            draft.send::<{ (TAIL + TEXT) as i32 }>(self.hook, Kind::Modify.lane());
        }
        written::forget(self.process, file);
    }
}

/// Looks at all files that the current process has written to.
#[inline(always)]
fn sweep<M: Memory>(hook: Hook, is_done: bool, low: u32, high: u32) {
    let task = M::task();
    let process = load!(M, u32, task, task.tgid);
    if written::begin(process) {
        M::sweep(Sweep { task, file: 0, process, hook, call: Call::None, is_done, low: low.into(), high: high.into() });
    }
}

/// A call begins that closes descriptors, if it does not fail.
#[inline(always)]
fn close<M: Memory>(ctx: &impl Source) {
    let Some(it) = Return::of::<M>(ctx) else { return };
    let call = Call::from_number(it.call).unwrap_or(Call::None);
    let (first, second, third) = (it.arg::<0>() as u32, it.arg::<1>() as u32, it.arg::<2>());
    let (is_all, low, high) = match call {
        // it may close files; what was closed unseen must not be taken for one of these
        Call::Execve | Call::Execveat => (true, 1, 0),
        Call::CloseRange if third & !UNSHARE == 0 => (true, first, second),
        Call::Close => (false, first, first),
        Call::Dup2 | Call::Dup3 => {
            let is_refused = call == Call::Dup3 && third & !O_CLOEXEC != 0;
            if first == second || is_refused || file_of::<M>(it.task, first) == 0 {
                return;
            }
            (false, second, second)
        }
        _ => return,
    };
    let process = load!(M, u32, it.task, task.tgid);
    let file = if is_all { 0 } else { file_of::<M>(it.task, low) };
    let is_written = if is_all { written::begin(process) } else { written::of(process, file).is_some() };
    if is_written {
        let (low, high) = (u64::from(low), u64::from(high));
        M::sweep(Sweep { task: it.task, file, process, hook: Hook::SysEnter, call, is_done: false, low, high });
    }
}

/// An exec has closed what it should.
#[inline(always)]
fn close_on_exec<M: Memory>() {
    sweep::<M>(Hook::Exec, true, 1, 0);
}

/// A thread ends; with the last one a process closes all.
#[inline(always)]
fn close_at_exit<M: Memory>() {
    let task = M::task();
    if load!(M, u32, load!(M, usize, task, task.signal), signal.live) != 0 {
        return;
    }
    sweep::<M>(Hook::Exit, false, 0, u32::MAX);
    written::end(load!(M, u32, task, task.tgid));
}

/// Typed loads.
#[btf_tracepoint(function = "sys_enter")]
pub fn close_fast(ctx: BtfTracePointContext) -> i32 {
    close::<Fast>(&ctx);
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sys_enter")]
pub fn close_base(ctx: BtfTracePointContext) -> i32 {
    close::<Base<Drafts>>(&ctx);
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn close_perf(ctx: TracePointContext) -> u32 {
    close::<Fast>(&ctx);
    0
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn close_on_exec_fast(_: BtfTracePointContext) -> i32 {
    close_on_exec::<Fast>();
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn close_on_exec_base(_: BtfTracePointContext) -> i32 {
    close_on_exec::<Base<Drafts>>();
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn close_on_exec_perf(_: TracePointContext) -> u32 {
    close_on_exec::<Fast>();
    0
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn close_at_exit_fast(_: BtfTracePointContext) -> i32 {
    close_at_exit::<Fast>();
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn close_at_exit_base(_: BtfTracePointContext) -> i32 {
    close_at_exit::<Base<Drafts>>();
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn close_at_exit_perf(_: TracePointContext) -> u32 {
    close_at_exit::<Fast>();
    0
}
