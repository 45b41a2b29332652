//! What is looked at, what is sent, and the count of both.

use core::ptr::read_volatile;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use common::{
    Hook, Kind,
    call::TABLE,
    filter::{Counts, Settings, class},
};

/// What the user half decided before load.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = unsafe { core::mem::zeroed() };

/// Calls by number: a [`common::Call`], or 0 where nobody wants the call.
#[unsafe(no_mangle)]
pub static CALLS_X86_64: [u8; TABLE] = [0; TABLE];

/// Calls of 32-bit programs by number.
#[unsafe(no_mangle)]
pub static CALLS_I386: [u8; TABLE] = [0; TABLE];

/// Counts by [`Hook`].
#[map]
static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(Hook::ALL.len() as u32, 0);

/// The agent's own process.
#[inline(always)]
pub fn agent() -> u32 {
    // SAFETY: a static of plain numbers.
    unsafe { read_volatile(&raw const SETTINGS.agent) }
}

/// Whether a kind has a class that is wanted.
#[inline(always)]
pub fn is_wanted(kind: Kind, class: u8) -> bool {
    // SAFETY: kinds are numbered below the length.
    unsafe { read_volatile((&raw const SETTINGS.wanted).cast::<u8>().add(kind as usize)) & class != 0 }
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
    let wanted = is_wanted(kind, class);
    count(hook, |counts| {
        counts.seen += 1;
        if !wanted {
            counts.filtered += 1;
        }
    });
    wanted
}
