//! What is looked at, what is sent, and the count of both.

use core::ptr::read_volatile;

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use common::{
    Hook, Kind,
    call::TABLE,
    filter::{Control, Counts, Filter, KINDS, THREADS, class},
};

use crate::kernel::{self, Memory, load};

/// What the user half tells us: in writable memory, so that it can say something new.
#[unsafe(no_mangle)]
pub static mut CONTROL: Control = unsafe { core::mem::zeroed() };

/// Reads a part of [`CONTROL`].
macro_rules! control {
    ($($part:tt)+) => {{
        // SAFETY: plain numbers, changed by the user half only.
        unsafe { core::ptr::read_volatile(&raw const $crate::filter::CONTROL.$($part)+) }
    }};
}
pub(crate) use control;

/// The filter that holds: 0 or 1.
#[inline(always)]
pub fn index() -> u32 {
    kernel::mask::<1>(control!(chosen)) as u32
}

/// The filter that holds, as an offset into [`CONTROL`].
#[inline(always)]
fn chosen() -> usize {
    index() as usize * size_of::<Filter>()
}

/// What a table of calls says about a number: a [`common::Call`], or 0.
#[inline(always)]
pub fn call_of(number: u64, table: Table) -> u8 {
    if number >= TABLE as u64 {
        return 0;
    }
    // SAFETY: within a table of one of the filters.
    unsafe {
        let filter = (&raw const CONTROL.filters).cast::<u8>().add(chosen());
        read_volatile(filter.add(table as usize + number as usize))
    }
}

/// Which of the tables of a filter, as its offset.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Table {
    Wide = core::mem::offset_of!(Filter, x86_64),
    Narrow = core::mem::offset_of!(Filter, i386),
}

/// Counts by [`Hook`].
#[map]
static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(Hook::ALL.len() as u32, 0);

/// Whether a kind, by number, has a class that is wanted.
#[inline(always)]
pub fn is_wanted(kind: u32, class: u8) -> bool {
    let kind = kernel::clamp::<{ KINDS as i32 - 1 }>(u64::from(kind));
    // SAFETY: kinds are numbered below the length.
    unsafe {
        let filter = (&raw const CONTROL.filters).cast::<u8>().add(chosen());
        read_volatile(filter.add(core::mem::offset_of!(Filter, wanted) + kind as usize)) & class != 0
    }
}

/// Whether a [`common::filter::Matcher`] has the last word about events of a kind.
#[inline(always)]
pub fn is_matched(kind: Kind) -> bool {
    // SAFETY: kinds are numbered below the length.
    unsafe {
        let filter = (&raw const CONTROL.filters).cast::<u8>().add(chosen());
        read_volatile(filter.add(core::mem::offset_of!(Filter, matched) + kind as usize)) != 0
    }
}

/// Whether events of this time are ours: another agent's programs may be there until we take over, or from then on.
#[inline(always)]
pub fn is_ours(ktime: u64) -> bool {
    ktime >= control!(from) && ktime < control!(until)
}

/// When each thread last did something that is left to the kernel half before us, since we agreed with it on a time.
#[map]
static LEFT: HashMap<u32, u64> = HashMap::with_max_entries(THREADS as u32, 0);

/// Leaves an event of a thread to the kernel half before us, or to the one after us.
#[inline(always)]
pub fn leave(hook: Hook, tid: u32, ktime: u64) {
    count(hook, |counts| counts.seen -= 1);
    let from = control!(from);
    if ktime < from && from != u64::MAX {
        // only a full map takes nothing, and the user half sees that it is full
        LEFT.insert(tid, ktime, 0).ok();
    }
}

/// Nanoseconds in a clock tick (`USER_HZ` is 100 on x86).
pub const TICK: u64 = 10_000_000;

/// Whether a task is of the agent's own process.
#[inline(always)]
pub fn is_agent<M: Memory>(task: usize) -> bool {
    load!(M, u32, task, task.tgid) == control!(agent)
        && load!(M, u64, load!(M, usize, task, task.group_leader), task.start) / TICK == control!(agent_born)
}

/// Whether this thread is the one by which the agent tries whether events reach its log.
#[inline(always)]
pub fn is_tester() -> bool {
    aya_ebpf::helpers::bpf_get_current_pid_tgid() & 0xffff_ffff == control!(tester)
}

/// Counts what the agent itself did.
#[inline(always)]
pub fn count_own(hook: Hook) {
    count(hook, |counts| counts.own += 1);
}

/// The class of what a call returned.
#[inline(always)]
pub fn class_of(ret: i64) -> u8 {
    const EPERM: i64 = 1;
    const EACCES: i64 = 13;
    if ret >= 0 || ret < -4095 {
        class::SUCCESS
    } else if ret == -EPERM || ret == -EACCES {
        class::DENIED
    } else {
        class::FAILED
    }
}

/// Changes the counts of a hook on this CPU.
#[inline(always)]
pub fn count(hook: Hook, change: impl FnOnce(&mut Counts)) {
    if let Some(counts) = COUNTS.get_ptr_mut(hook as u32) {
        // SAFETY: a slot of this CPU, and programs of one hook do not interrupt each other.
        change(unsafe { &mut *counts });
    }
}

/// Counts an event that came by; returns whether its class is wanted.
#[inline(always)]
pub fn pass(hook: Hook, kind: Kind, class: u8) -> bool {
    let wanted = is_wanted(kind as u32, class);
    count(hook, |counts| {
        counts.seen += 1;
        if !wanted {
            counts.filtered += 1;
        }
    });
    wanted
}
