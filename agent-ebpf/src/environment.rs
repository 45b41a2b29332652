//! The environment of a new program: the variables that were asked for by name. Nothing else of it leaves the kernel.

use aya_ebpf::{macros::map, maps::HashMap};
use common::{
    filter::{VARIABLES, Variable},
    wire::{TextList, mark},
};

use crate::{
    draft::{Draft, TEXT, kernel_read},
    filter::control,
    kernel::{Memory, clamp, copy, copy_user_str, load},
    program::exec::{ARGUMENTS_END, ExecDraft},
};

/// The names. A program finds none while there are none: see [`common::filter::Control::environment`].
#[map]
static ENV: HashMap<Variable, u32> = HashMap::with_max_entries(VARIABLES as u32, 0);

/// Bytes of variables in an event; the last one may go beyond.
const LIST: usize = 8 << 10;
/// Where each variable is put in the tail to be looked at: at a multiple of eight bytes in the draft.
const HERE: usize = (TAIL + ARGUMENTS_END + LIST + TEXT).next_multiple_of(8) - TAIL;
const TAIL: usize = core::mem::offset_of!(Draft<common::event::Exec, 0>, tail);
/// Room for all of this in the tail of an exec.
pub const END: usize = HERE + TEXT;

/// Words of the state: where the next variable starts in the memory of the process, and where the last one ends.
const NEXT: usize = 0;
const LAST: usize = 1;
/// What comes next is the rest of one that was too long.
const IS_REST: usize = 2;
/// A value was cut.
const IS_CUT: usize = 3;
/// All of them were looked at.
const IS_DONE: usize = 4;

/// The variables of the program that a draft is about.
pub struct Variables(*mut ExecDraft);

/// Copies the variables as the kernel laid them out for the new image, which has not run yet.
#[inline(always)]
pub fn of<M: Memory>(draft: &mut ExecDraft, mm: usize) -> TextList {
    if control!(environment) == 0 {
        return TextList { marks: mark::ABSENT, ..TextList::default() };
    }
    let start = clamp::<{ ARGUMENTS_END as i32 }>(kernel_read(&draft.used));
    draft.body.env.start = start as u32;
    draft.used = start;
    draft.state = [load!(M, u64, mm, mm.env_start), load!(M, u64, mm, mm.env_end), 0, 0, 0];
    M::look_at(Variables(draft));
    let len = kernel_read(&draft.used).wrapping_sub(start) as u32;
    let is_whole = kernel_read(&draft.state[IS_DONE]) != 0 && kernel_read(&draft.state[IS_CUT]) == 0;
    let marks = if len == 0 { mark::ABSENT } else { 0 } | if is_whole { 0 } else { mark::TRUNCATED };
    draft.note(marks);
    TextList { start: start as u32, len, marks }
}

impl Variables {
    /// Looks at one. Returns whether there are no more, or no more can be told.
    #[inline(always)]
    pub fn turn(&self) -> bool {
        // SAFETY: the draft of this CPU, see `of`; the verifier checks each access.
        let draft = unsafe { &mut *self.0 };
        let next = kernel_read(&draft.state[NEXT]);
        if next >= kernel_read(&draft.state[LAST]) {
            draft.state[IS_DONE] = 1;
            return true;
        }
        let used = kernel_read(&draft.used);
        if used.wrapping_sub(u64::from(draft.body.env.start)) >= LIST as u64 {
            return true;
        }
        // SAFETY: a text has its room there.
        let here = unsafe { (&raw mut draft.tail).cast::<u8>().add(HERE) };
        // SAFETY: the same.
        let len = unsafe { copy_user_str(here, TEXT as u32, next) };
        if len <= 0 {
            return true;
        }
        // one that fills the room has its last byte, at least, to come
        let is_long = len == TEXT as i64;
        draft.state[NEXT] = next + len as u64 - u64::from(is_long);
        let is_rest = kernel_read(&draft.state[IS_REST]) != 0;
        draft.state[IS_REST] = u64::from(is_long);
        // SAFETY: it is aligned, and there are more than four words.
        if is_rest || !unsafe { is_asked(here.cast()) } {
            return false;
        }
        draft.state[IS_CUT] |= u64::from(is_long);
        let start = clamp::<{ (ARGUMENTS_END + LIST) as i32 }>(used);
        let len = clamp::<{ TEXT as i32 }>(len as u64);
        // SAFETY: a variable has room behind the list.
        if unsafe { copy((&raw mut draft.tail).cast::<u8>().add(start as usize), len, here as usize) } {
            draft.used = start + len;
        }
        false
    }
}

/// Whether the name of a variable is among [`ENV`].
///
/// # Safety
/// `at` must have four words.
#[inline(always)]
unsafe fn is_asked(at: *const u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const EQUAL: u64 = u64::from_ne_bytes([b'='; 8]);
    let mut name: Variable = [0; 4];
    let mut is_name = u64::MAX;
    for (part, it) in name.iter_mut().enumerate() {
        // SAFETY: the caller's words.
        let word = unsafe { at.add(part).read_volatile() };
        // the highest bit of each byte that is `=`; of those above the first one it may say so wrongly
        let other = word ^ EQUAL;
        let found = other.wrapping_sub(ONES) & !other & (ONES << 7);
        // all up to the first one, whose own highest bit is not set
        *it = word & is_name & (found & found.wrapping_neg()).wrapping_sub(1);
        if found != 0 {
            is_name = 0;
        }
    }
    // SAFETY: nothing is read from the value.
    is_name == 0 && unsafe { ENV.get(&name) }.is_some()
}
