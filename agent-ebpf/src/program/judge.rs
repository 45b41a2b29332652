//! An event of a call is written: is it dropped by the policy for certain, or an alert? The other programs jump here when a
//! [`Matcher`] has the last word about their kind, so that the verifier follows it once and not once for each kind.

use core::ptr::read_volatile;

use aya_ebpf::{
    macros::{btf_tracepoint, map, tracepoint},
    maps::{Array, PerCpuArray},
    programs::{BtfTracePointContext, TracePointContext},
};
use common::{
    Hook, Lane,
    filter::{ATOMS, EXECUTABLE, KINDS, Matcher, Near, PATHS, PATTERN, PLACES, Place, STEPS, class, outcome},
    wire::{Path, mark},
};

use crate::{
    draft::{self, CallDraft, TAIL, TEXT, transmit},
    executable, filter,
    kernel::{Base, Fast, Memory, clamp, mask},
    program::sys_exit::DRAFT,
};

/// What is asked of each kind: by [`common::Kind`], for both filters.
#[map]
static MATCHERS: Array<Matcher> = Array::with_max_entries(2 * KINDS as u32, 0);

/// The answers so far, in map memory: the verifier forgets them between two questions, and checks each once.
#[map]
static ANSWERS: PerCpuArray<Answers> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Answers {
    /// Questions that are answered with yes.
    yes: u64,
    /// Questions whose answer may be yes.
    may: u64,
    /// 1: all atoms that are joined to the one that comes hold.
    held: u64,
    /// Where the paths are in the event, and the executable behind it; room for any two bits.
    offsets: [u64; 4],
    /// 1: the name that the caller gave needs no folding, by path.
    plain: [u64; 4],
    /// The byte before the one that is looked at.
    before: u64,
    /// 1: some step may have sent the event.
    sent: u64,
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    No,
    May,
    Yes,
}

/// The last place of a draft at which eight bytes can be read.
const LAST: i32 = 8 * 4096 - 16;
/// Bytes of a name that are looked at: a longer one may be anything.
const NAME: u64 = 256;
/// And bytes that are looked at together.
const PART: u64 = 16;
/// Offsets of numbers in an event end here.
const FIXED: i32 = 0x7fc;
/// Texts start before this place in an event.
const HEAD: i32 = 0x7ff;

/// The draft as bytes.
#[derive(Clone, Copy)]
struct Bytes(*const u8);

impl Bytes {
    #[inline(always)]
    fn byte(self, at: u64) -> u8 {
        // SAFETY: within the draft.
        unsafe { read_volatile(self.0.add(clamp::<LAST>(at) as usize)) }
    }

    #[inline(always)]
    fn word(self, at: u64) -> u64 {
        // SAFETY: within the draft; the machine reads words anywhere.
        unsafe { read_volatile(self.0.add(clamp::<LAST>(at) as usize).cast()) }
    }
}

/// A path of the event.
struct Subject {
    path: Path,
    /// Where the components end in the draft.
    end: u64,
    /// Where the name that the caller gave starts.
    name: u64,
}

impl Subject {
    #[inline(always)]
    fn of(bytes: Bytes, offset: u32, fixed: u64) -> Subject {
        let at = CallDraft::<()>::START as u64 + u64::from(offset);
        let (first, second, third) = (bytes.word(at), bytes.word(at + 8), bytes.word(at + 16));
        let path = Path {
            start: first as u32,
            len: (first >> 32) as u32,
            name: second as u32,
            name_len: (second >> 32) as u32,
            marks: third as u32,
        };
        let tail = CallDraft::<()>::START as u64 + fixed;
        let end = tail + u64::from(path.start) + u64::from(path.len);
        Subject { end, name: tail + u64::from(path.name), path }
    }

    /// Whether the components are all there is: the name beside an object of a security hook tells nothing about it.
    #[inline(always)]
    fn is_resolved(&self) -> bool {
        self.path.name_len == 0 || self.path.marks & mark::OBJECT != 0
    }

    /// Whether the first components are these.
    #[inline(always)]
    fn is_in(&self, bytes: Bytes, place: &Place, len: *const u8) -> bool {
        // read anew each turn, so that the verifier learns nothing from the turns before
        // SAFETY: a part of the place.
        let len = || u64::from(unsafe { read_volatile(len) });
        let have = u64::from(self.path.len);
        if have < len() {
            return false;
        }
        for turn in 0..PATTERN / 8 {
            let left = len().wrapping_sub(turn as u64 * 8);
            if left.wrapping_sub(1) >= PATTERN as u64 {
                break;
            }
            // SAFETY: within the array.
            let wanted =
                unsafe { read_volatile((&raw const place.leaf_first).cast::<u64>().add(PATTERN / 8 - 1 - turn)) };
            let found = bytes.word(self.end.wrapping_sub(turn as u64 * 8 + 8));
            let spare = if left < 8 { 8 - left } else { 0 };
            if (wanted ^ found) >> (8 * spare) != 0 {
                return false;
            }
        }
        let len = len();
        have == len || bytes.byte(self.end.wrapping_sub(len + 1)) == 0
    }

    /// Whether the name that the caller gave begins with the text of a place.
    #[inline(always)]
    fn is_named(&self, bytes: Bytes, place: &Place) -> bool {
        for turn in 0..PATTERN / 8 {
            // SAFETY: a part of the place; see `is_in`.
            let left = u64::from(unsafe { read_volatile(&raw const place.root_len) }).wrapping_sub(turn as u64 * 8);
            if left.wrapping_sub(1) >= PATTERN as u64 {
                break;
            }
            // SAFETY: within the array.
            let wanted = unsafe { read_volatile((&raw const place.root_first).cast::<u64>().add(turn)) };
            let found = bytes.word(self.name + turn as u64 * 8);
            let spare = if left < 8 { 8 - left } else { 0 };
            if (wanted ^ found) << (8 * spare) != 0 {
                return false;
            }
        }
        true
    }

    #[inline(always)]
    fn is_at(&self, bytes: Bytes, place: &Place, plain: bool) -> Answer {
        if self.path.marks & mark::ABSENT != 0 {
            return Answer::No;
        }
        if self.path.marks & (mark::TRUNCATED | mark::DETACHED) != 0 {
            return Answer::May;
        }
        let whole = place.whole != 0;
        let yes = if place.loose != 0 { Answer::May } else { Answer::Yes };
        let leaf = u64::from(place.leaf_len);
        if self.is_resolved() {
            let same = u64::from(self.path.len) == leaf;
            let is = self.is_in(bytes, place, &raw const place.leaf_len) && (same == whole || leaf == 0 && !whole);
            return if is { yes } else { Answer::No };
        }
        if !plain {
            return Answer::May;
        }
        if bytes.byte(self.name) == b'/' {
            // below another root directory the text goes on before
            return match (self.path.len == 0, self.is_named(bytes, place)) {
                (false, _) => Answer::May,
                (true, true) => yes,
                (true, false) => Answer::No,
            };
        }
        if self.path.len == 0 {
            return Answer::May;
        }
        if self.is_in(bytes, place, &raw const place.leaf_len) {
            return if whole { Answer::No } else { yes };
        }
        if self.is_in(bytes, place, &raw const place.first_len) { Answer::May } else { Answer::No }
    }
}

/// Whether a name has neither empty components nor such of dots, and ends within [`NAME`].
#[inline(always)]
fn is_plain(name: u64, answers: *mut Answers) -> bool {
    // SAFETY: the answers of this CPU.
    unsafe { (&raw mut (*answers).before).write_volatile(0) };
    for at in 0..NAME / PART {
        let answer = judge_plain(name + at * PART);
        if answer != Answer::May as u64 {
            return answer == Answer::Yes as u64;
        }
    }
    false
}

/// Goes on with [`is_plain`]; [`Answer::May`] when nothing is known yet. Like [`judge_place`] a global function: the
/// verifier follows it once, and not at each call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_plain(from: u64) -> u64 {
    const DOT: u8 = b'.';
    const SLASH: u8 = b'/';
    let (Some(draft), Some(answers)) = (DRAFT.get_ptr_mut(0), ANSWERS.get_ptr_mut(0)) else { return 0 };
    let bytes = Bytes(draft.cast());
    for at in from..from + PART {
        // SAFETY: the answers of this CPU.
        let previous = unsafe { &raw mut (*answers).before };
        // 0 is the start of the name
        // SAFETY: the same.
        let before = unsafe { previous.read_volatile() } as u8;
        let it = bytes.byte(at);
        if it == 0 {
            return if before == 0 || before == SLASH { Answer::No } else { Answer::Yes } as u64;
        }
        if it == SLASH && before == SLASH {
            return Answer::No as u64;
        }
        if it == DOT && (before == 0 || before == SLASH) {
            let next = bytes.byte(at + 1);
            if next == DOT || next == SLASH || next == 0 {
                return Answer::No as u64;
            }
        }
        // SAFETY: the same.
        unsafe { previous.write_volatile(u64::from(it)) };
    }
    Answer::May as u64
}

/// What a place of a matcher says of a path at this offset in the event: an [`Answer`]. `plain`: the name that the caller
/// gave needs no folding.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_place(matcher: u64, place: u64, offset: u64, fixed: u64, plain: u64) -> u64 {
    let (Some(draft), Some(matcher)) = (DRAFT.get_ptr_mut(0), MATCHERS.get(matcher as u32)) else {
        return Answer::May as u64;
    };
    // SAFETY: the verifier checks that it is one of the places.
    let place =
        unsafe { &*(&raw const matcher.places).cast::<Place>().add(clamp::<{ PLACES as i32 - 1 }>(place) as usize) };
    let bytes = Bytes(draft.cast());
    Subject::of(bytes, offset as u32, mask::<HEAD>(fixed)).is_at(bytes, place, plain != 0) as u64
}

/// Eight of a byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte that is zero.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    const LOW: u64 = EACH * 0x7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// 1: a name needs no folding, for it has no component that begins with a dot, and none that is empty. Some of those that
/// [`is_plain`] knows for plain are not. A word at a time, each with the last byte of the one before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_tidy(name: u64) -> u64 {
    let Some(draft) = DRAFT.get_ptr_mut(0) else { return 0 };
    let bytes = Bytes(draft.cast());
    if bytes.byte(name) == b'.' {
        return 0;
    }
    for turn in 0..NAME / 7 {
        let word = bytes.word(name + turn * 7);
        let end = zeros(word);
        let slashes = zeros(word ^ (EACH * b'/' as u64));
        let folded = (slashes << 8) & (slashes | end | zeros(word ^ (EACH * b'.' as u64)));
        // up to the first NUL
        let first = end & end.wrapping_neg();
        if folded & (first.wrapping_sub(1) | first) != 0 {
            return 0;
        }
        if end != 0 {
            return 1;
        }
    }
    0
}

/// 1: a path of the event may be at one of the places; 0: it certainly is not, by the part next to the root.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_near(matcher: u64, path: u64, fixed: u64) -> u64 {
    let (Some(draft), Some(matcher)) = (DRAFT.get_ptr_mut(0), MATCHERS.get(matcher as u32)) else { return 1 };
    let bytes = Bytes(draft.cast());
    // SAFETY: one of the paths.
    let offset = unsafe { (&raw const matcher.paths).cast::<u32>().add(mask::<1>(path) as usize).read_volatile() };
    if offset == 0 {
        return 0;
    }
    let subject = Subject::of(bytes, offset, mask::<HEAD>(fixed));
    if subject.path.marks & mark::ABSENT != 0 {
        return 0;
    }
    if subject.path.marks & (mark::TRUNCATED | mark::DETACHED) != 0 {
        return 1;
    }
    let mut by_name = false;
    if !subject.is_resolved() {
        by_name = bytes.byte(subject.name) == b'/';
        // there are no components, of a root directory, or more than are compared
        let is_told = if by_name { subject.path.len == 0 } else { subject.path.len as usize >= size_of::<[u64; 2]>() };
        if !is_told || judge_tidy(subject.name) == 0 {
            return 1;
        }
    }
    let start = if by_name { subject.name } else { subject.end.wrapping_sub(16) };
    let found = [bytes.word(start), bytes.word(start.wrapping_add(8))];
    // SAFETY: words of one of the paths, and words of the arrays.
    unsafe {
        let near = (&raw const matcher.near).cast::<[u32; 2]>().add(mask::<1>(path) as usize).read_volatile();
        let words = if by_name { &raw const matcher.roots } else { &raw const matcher.leaves }.cast::<Near>();
        for at in 0..PLACES as u64 {
            let at = u64::from(near[0]) + at;
            if at >= u64::from(near[1]) {
                break;
            }
            let near = words.add(mask::<{ PLACES as i32 - 1 }>(at) as usize).read_volatile();
            if (near.words[0] ^ found[0]) & near.bits[0] | (near.words[1] ^ found[1]) & near.bits[1] == 0 {
                return 1;
            }
        }
    }
    0
}

/// What becomes of an event: one of [`outcome`].
#[inline(always)]
fn outcome_of(bytes: Bytes, fixed: u64, index: u32, matcher: &Matcher, answers: *mut Answers) -> u32 {
    // SAFETY: parts of a matcher and the answers of this CPU; the verifier checks each access.
    unsafe {
        let yes = &raw mut (*answers).yes;
        let may = &raw mut (*answers).may;
        let held = &raw mut (*answers).held;
        yes.write_volatile(0);
        may.write_volatile(matcher.open);
        held.write_volatile(1);
        for at in 0..ATOMS {
            if at as u32 >= matcher.atom_count {
                break;
            }
            let atom = &matcher.atoms[at];
            let start = CallDraft::<()>::START as u64 + mask::<FIXED>(u64::from(atom.offset));
            let number = bytes.word(start) & atom.mask;
            let holds =
                held.read_volatile() & u64::from(number.wrapping_sub(atom.low) <= atom.high.wrapping_sub(atom.low));
            if atom.joined != 0 {
                held.write_volatile(holds);
                continue;
            }
            held.write_volatile(1);
            let bit = holds << mask::<63>(u64::from(atom.bit));
            yes.write_volatile(yes.read_volatile() | bit);
            may.write_volatile(may.read_volatile() | bit);
        }
        let offsets = &raw mut (*answers).offsets;
        let executable = usize::from(EXECUTABLE);
        (&raw mut (*offsets)[executable]).write_volatile((executable::AT - CallDraft::<()>::START) as u64);
        for path in 0..PATHS {
            (&raw mut (*offsets)[path]).write_volatile(u64::from(matcher.paths[path]));
            if matcher.paths[path] != 0 {
                let subject = Subject::of(bytes, matcher.paths[path], fixed);
                let plain = !subject.is_resolved() && is_plain(subject.name, answers);
                (&raw mut (*answers).plain[path]).write_volatile(u64::from(plain));
            }
        }
        for at in 0..PLACES {
            if at as u32 >= matcher.place_count {
                break;
            }
            let place = &matcher.places[at];
            let path = mask::<3>(u64::from(place.path)) as usize;
            let offset = offsets.cast::<u64>().add(path).read_volatile();
            let plain = (&raw const (*answers).plain).cast::<u64>().add(path).read_volatile();
            let answer = judge_place(u64::from(index), at as u64, offset, fixed, plain);
            let bit = 1 << mask::<63>(u64::from(place.bit));
            if answer == Answer::Yes as u64 {
                yes.write_volatile(yes.read_volatile() | bit);
            }
            if answer != Answer::No as u64 {
                may.write_volatile(may.read_volatile() | bit);
            }
        }
        let sent = &raw mut (*answers).sent;
        sent.write_volatile(0);
        for at in 0..STEPS {
            if at as u32 >= matcher.step_count {
                break;
            }
            let step = &matcher.steps[at];
            let (yes, may) = (yes.read_volatile(), may.read_volatile());
            if step.partly == 0 && step.with & !yes == 0 && step.without & may == 0 {
                return unless_sent(step.outcome, sent);
            }
            if step.outcome != outcome::DISCARD && step.with & !may == 0 && step.without & yes == 0 {
                sent.write_volatile(1);
            }
        }
        unless_sent(matcher.otherwise, sent)
    }
}

/// What may have been sent already is not discarded.
///
/// # Safety
/// `sent` is a part of the answers of this CPU.
#[inline(always)]
unsafe fn unless_sent(it: u32, sent: *const u64) -> u32 {
    // SAFETY: the caller's part.
    if it == outcome::DISCARD && unsafe { sent.read_volatile() } != 0 { outcome::SEND } else { it }
}

#[inline(always)]
fn judge<M: Memory>() {
    let Some(draft) = DRAFT.get_ptr_mut(0) else { return };
    let draft = draft.cast::<CallDraft<()>>();
    // SAFETY: the draft of this CPU, which the program that jumped here has filled.
    unsafe {
        let bytes = Bytes(draft.cast());
        if !filter::is_ours((*draft).header.ktime) {
            filter::leave(Hook::SysExit, (*draft).header.tid, (*draft).header.ktime);
            return;
        }
        let fixed = mask::<HEAD>(read_volatile(&raw const (*draft).state[CallDraft::<()>::FIXED_SIZE]));
        let kind = mask::<127>(u64::from((*draft).prefix.kind)) as u32;
        let index = filter::index() * KINDS as u32 + kind;
        let matcher = MATCHERS.get(index);
        let mut outcome = outcome::SEND;
        if let (Some(matcher), Some(answers)) = (matcher, ANSWERS.get_ptr_mut(0)) {
            let class = u32::from(filter::class_of((*draft).header.ret));
            // which of them an open is, its program knows
            let classes = if class == u32::from(class::SUCCESS) { class | u32::from(class::READ) } else { class };
            let is_sent = matcher.elsewhere & classes == classes
                && judge_near(u64::from(index), 0, fixed) | judge_near(u64::from(index), 1, fixed) == 0;
            if !is_sent {
                if matcher.asks_executable != 0 {
                    executable::put::<M>(draft.cast(), fixed, M::task());
                }
                outcome = outcome_of(bytes, fixed, index, matcher, answers);
            }
        }
        if outcome == outcome::DISCARD {
            filter::count(Hook::SysExit, |counts| counts.filtered += 1);
            return;
        }
        let is_bulk = read_volatile(&raw const (*draft).state[CallDraft::<()>::LANE]) != 0;
        // alerts about files must not push out what the critical lane is for
        let is_urgent = outcome == outcome::ALERT && draft::is_critical_lane_half_empty();
        let lane = if is_bulk && !is_urgent { Lane::Bulk } else { Lane::Critical };
        transmit::<{ (TAIL + TEXT) as i32 }, _, _>(&mut *draft, fixed, Hook::SysExit, lane);
    }
}

/// For the program of [`crate::kernel::Fast`].
#[btf_tracepoint(function = "sys_exit")]
pub fn judge_fast(_: BtfTracePointContext) -> i32 {
    judge::<Fast>();
    0
}

/// For those of [`crate::kernel::Base`].
#[btf_tracepoint(function = "sys_exit")]
pub fn judge_base(_: BtfTracePointContext) -> i32 {
    judge::<Base>();
    0
}

/// For those behind perf events.
#[tracepoint]
pub fn judge_perf(_: TracePointContext) -> u32 {
    judge::<Fast>();
    0
}
