//! One event while it is written: prefix, header, body and tail side by side, so that one copy sends them.

use core::ptr::read_volatile;

use aya_ebpf::{
    helpers::generated as helper,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use common::{
    Call, Header, Hook, Kind, Lane, Prefix, Record,
    filter::REST,
    layout::MISSING,
    wire::{Id, Name16, Text, UNSET, mark},
};

use crate::{
    filter,
    kernel::{self, Memory, clamp, copy_str, copy_user_str, layout, load},
};

/// Events of [`Lane::Critical`]. The sizes of both are set at load.
#[map]
static CRITICAL: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Events of [`Lane::Bulk`].
#[map]
static BULK: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// The next sequence number of each CPU.
#[map]
static SEQUENCE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// When each CPU last woke the reader, since boot.
#[map]
static WOKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The longest text: `PATH_MAX` (limits.h), the NUL counted.
pub const TEXT: usize = 4096;
/// Bytes of texts in an event of a system call: two names with the places they start from.
pub const TAIL: usize = 4 * TEXT;

/// An event under construction, with the state of the loops that fill it. The state is kept in map memory so that
/// the verifier forgets its value between two turns, and checks each turn once.
#[repr(C)]
pub struct Draft<R, const ROOM: usize> {
    /// Bytes of the tail that are used.
    pub used: u64,
    /// For loops.
    pub state: [u64; 5],
    /// Bits of [`mark`] that any value has.
    marks: u64,
    /// How to read the event.
    pub prefix: Prefix,
    /// When, where, who.
    pub header: Header,
    /// The body of the kind.
    pub body: R,
    /// The texts, and room for one that is longer than it should be.
    pub tail: [u8; ROOM],
}

/// For [`Draft::given`]: a text of any length.
pub const ANY: u64 = TEXT as u64 - 1;

/// A text that is not there.
pub const NO_TEXT: Text = Text { start: 0, len: 0, marks: mark::ABSENT };

/// The draft of a system call: texts within [`TAIL`].
pub type CallDraft<R> = Draft<R, { TAIL + TEXT }>;

impl<R, const ROOM: usize> Draft<R, ROOM> {
    /// Where the event starts in the draft.
    pub const START: usize = core::mem::offset_of!(Self, prefix);
    /// Word of the state of an event that is handed over: where the tail starts in the event.
    pub const FIXED_SIZE: usize = 0;
    /// Word of the state of an event that is handed over: 0 for [`Lane::Critical`], 1 for [`Lane::Bulk`].
    pub const LANE: usize = 1;
}

impl<R: Record, const ROOM: usize> Draft<R, ROOM> {
    /// Where the tail starts in the event.
    pub const FIXED: usize = core::mem::offset_of!(Self, tail) - Self::START;

    /// Starts an event: fills the header from the task.
    #[inline(always)]
    pub fn start<M: Memory>(&mut self, hook: Hook, kind: Kind, call: Call, task: usize, ret: i64) {
        self.used = 0;
        self.marks = 0;
        let leader = load!(M, usize, task, task.group_leader);
        self.prefix.start = load!(M, u64, leader, task.start);
        self.prefix.kind = kind as u16;
        self.prefix.call = call as u8;
        self.prefix.hook = hook as u8;
        let header = &mut self.header;
        header.ktime = kernel::boottime();
        header.ret = ret;
        header.cpu = kernel::cpu();
        header.pid = load!(M, u32, task, task.tgid);
        header.tid = load!(M, u32, task, task.pid);
        let parent = load!(M, usize, task, task.real_parent);
        header.ppid = load!(M, u32, parent, task.tgid);
        let set = load!(M, usize, task, task.cgroups);
        let group = load!(M, usize, set, css_set.dfl);
        let node = load!(M, usize, group, cgroup.kn);
        header.cgroup_id = load!(M, u64, node, kernfs.node_id);
        header.auid = Id(audit_id::<M>(task, layout!(task.loginuid)));
        header.sessionid = Id(audit_id::<M>(task, layout!(task.sessionid)));
        let cred = load!(M, usize, task, task.cred);
        set_ids(header, &credentials::<M>(cred));
        let user_ns = load!(M, usize, cred, cred.user_ns);
        header.user_ns = load!(M, u32, user_ns, user_ns.inum);
        let spaces = load!(M, usize, task, task.nsproxy);
        header.mnt_ns = load!(M, u32, load!(M, usize, spaces, nsproxy.mnt), mnt_ns.inum);
        header.pid_ns = load!(M, u32, load!(M, usize, spaces, nsproxy.pid), pid_ns.inum);
        header.net_ns = load!(M, u32, load!(M, usize, spaces, nsproxy.net), net_ns.inum);
        header.comm = name16::<M>(task, layout!(task.id), layout!(task.comm));
        let signal = load!(M, usize, task, task.signal);
        let tty = load!(M, usize, signal, signal.tty);
        header.tty = if tty == 0 { Name16::default() } else { name16::<M>(tty, layout!(tty.id), layout!(tty.name)) };
    }

    /// Says that it was done with other credentials than those of the task: ids in the order of [`credentials`], and the
    /// user namespace.
    #[inline(always)]
    pub fn act_as(&mut self, ids: &[u32; 8], user_ns: u32) {
        set_ids(&mut self.header, ids);
        self.header.user_ns = user_ns;
    }

    /// Remembers what happened to a value, for the count of truncated events.
    #[inline(always)]
    pub fn note(&mut self, marks: u32) {
        self.marks |= u64::from(marks);
    }

    /// Sends the event, or counts it as lost.
    #[inline(always)]
    pub fn send<const MAX: i32>(&mut self, hook: Hook, lane: Lane) {
        if filter::is_ours(self.header.ktime) {
            transmit::<MAX, _, _>(self, Self::FIXED as u64, hook, lane);
        } else {
            filter::leave(hook, self.header.tid, self.header.ktime);
        }
    }

    /// Leaves the event to a program that does not know its body.
    #[inline(always)]
    pub fn hand_over(&mut self, lane: Lane) {
        self.state[Self::FIXED_SIZE] = Self::FIXED as u64;
        self.state[Self::LANE] = u64::from(matches!(lane, Lane::Bulk));
    }

    /// Copies a text from the caller's memory: up to its NUL, at most `most` bytes. Address 0 is no text.
    #[inline(always)]
    pub fn given(&mut self, at: u64, most: u64) -> Text {
        const { assert!(ROOM >= 5 * TEXT) };
        if at == 0 {
            return NO_TEXT;
        }
        let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&self.used));
        let room = clamp::<{ TEXT as i32 }>(most.wrapping_add(1));
        // SAFETY: a text is at most as long as the room behind the last one.
        let len = unsafe { copy_user_str((&raw mut self.tail).cast::<u8>().add(start as usize), room as u32, at) };
        if len <= 0 {
            return self.text(start, 0, mark::USER | mark::ABSENT | mark::TRUNCATED);
        }
        let cut = if len == TEXT as i64 { mark::TRUNCATED } else { 0 };
        // without the NUL
        self.text(start, clamp::<{ TEXT as i32 }>(len as u64 - 1), mark::USER | cut)
    }

    /// Copies a text that the kernel keeps.
    #[inline(always)]
    pub fn kept(&mut self, at: usize) -> Text {
        const { assert!(ROOM >= 5 * TEXT) };
        let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&self.used));
        // SAFETY: a text is at most as long as the room behind the last one.
        let len = unsafe { copy_str((&raw mut self.tail).cast::<u8>().add(start as usize), TEXT as u32, at) };
        self.text(start, clamp::<{ TEXT as i32 }>(if len > 0 { len as u64 - 1 } else { 0 }), 0)
    }

    /// Makes a text of the bytes that were put at `start`.
    #[inline(always)]
    pub fn text(&mut self, start: u64, len: u64, marks: u32) -> Text {
        self.note(marks);
        self.used = start + len;
        Text { start: start as u32, len: len as u32, marks }
    }
}

/// Puts an event of ours into the ring of its lane, or counts it as lost. `fixed`: where its tail starts in it.
#[inline(always)]
pub fn transmit<const MAX: i32, R, const ROOM: usize>(draft: &mut Draft<R, ROOM>, fixed: u64, hook: Hook, lane: Lane) {
    let Some(sequence) = SEQUENCE.get_ptr_mut(0) else { return };
    // SAFETY: a slot of this CPU.
    unsafe {
        draft.header.seq = *sequence;
        *sequence += 1;
    }
    let used = clamp::<MAX>(kernel_read(&draft.used));
    draft.prefix.tail = used as u32;
    let size = fixed + used;
    // SAFETY: the verifier checks that the event is within the draft.
    let sent = unsafe {
        let event = (&raw mut *draft).cast::<u8>().add(Draft::<R, ROOM>::START);
        match lane {
            Lane::Critical => output(&raw const CRITICAL, event, size),
            Lane::Bulk => output(&raw const BULK, event, size),
        }
    };
    let truncated = draft.marks & u64::from(mark::TRUNCATED) != 0;
    filter::count(hook, |counts| {
        if sent {
            counts.sent += 1;
            counts.truncated += u64::from(truncated);
        } else {
            counts.lost += 1;
        }
    });
}

/// Counts events that were to be told and cannot be, as lost.
#[inline(always)]
pub fn lose(hook: Hook, events: u64) {
    let Some(sequence) = SEQUENCE.get_ptr_mut(0) else { return };
    if filter::is_ours(kernel::boottime()) {
        // SAFETY: a slot of this CPU.
        unsafe { *sequence += events };
        filter::count(hook, |counts| {
            counts.seen += events;
            counts.lost += events;
        });
    }
}

/// Copies an event into a ring buffer. `event` must have `size` bytes.
#[inline(always)]
unsafe fn output(ring: *const RingBuf, event: *mut u8, size: u64) -> bool {
    // SAFETY: the caller's event, the verifier checks it.
    unsafe {
        let ring = ring.cast_mut().cast();
        let wake = helper::bpf_ringbuf_query(ring, AVAILABLE) == 0 && is_to_wake();
        helper::bpf_ringbuf_output(ring, event.cast(), size, if wake { FORCE_WAKEUP } else { NO_WAKEUP }) == 0
    }
}

/// Whether an event that finds its ring empty wakes the reader: a wake-up is an interrupt. One that does not comes while
/// the reader rests after another, or together with such ones.
#[inline(always)]
fn is_to_wake() -> bool {
    let Some(woken) = WOKEN.get_ptr_mut(0) else { return true };
    // SAFETY: a slot of this CPU.
    unsafe {
        let time = kernel::boottime();
        let is_due = time.wrapping_sub(*woken) >= REST;
        if is_due {
            *woken = time;
        }
        is_due
    }
}

/// Whether less than half of the room of the critical lane is taken.
#[inline(always)]
pub fn is_critical_lane_half_empty() -> bool {
    // SAFETY: the helper only reads.
    unsafe {
        let ring = (&raw const CRITICAL).cast_mut().cast();
        helper::bpf_ringbuf_query(ring, AVAILABLE) < helper::bpf_ringbuf_query(ring, SIZE) / 2
    }
}

/// `BPF_RB_AVAIL_DATA`, `BPF_RB_RING_SIZE`, `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP` (`include/uapi/linux/bpf.h`).
const AVAILABLE: u64 = 0;
const SIZE: u64 = 1;
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

/// Reads a number of the draft anew, so that the verifier takes it as unknown.
#[inline(always)]
pub fn kernel_read(number: &u64) -> u64 {
    // SAFETY: a reference.
    unsafe { read_volatile(number) }
}

/// An id that kernels without audit support lack.
#[inline(always)]
fn audit_id<M: Memory>(task: usize, offset: u32) -> u32 {
    if offset == MISSING { UNSET } else { M::load(task, layout!(task.id), offset) }
}

/// uid, gid, suid, sgid, euid, egid, fsuid, fsgid, in the order of `struct cred`.
#[inline(always)]
pub fn credentials<M: Memory>(cred: usize) -> [u32; 8] {
    [
        load!(M, u32, cred, cred.uid),
        load!(M, u32, cred, cred.gid),
        load!(M, u32, cred, cred.suid),
        load!(M, u32, cred, cred.sgid),
        load!(M, u32, cred, cred.euid),
        load!(M, u32, cred, cred.egid),
        load!(M, u32, cred, cred.fsuid),
        load!(M, u32, cred, cred.fsgid),
    ]
}

#[inline(always)]
fn set_ids(header: &mut Header, ids: &[u32; 8]) {
    header.uid = Id(ids[0]);
    header.gid = Id(ids[1]);
    header.suid = Id(ids[2]);
    header.sgid = Id(ids[3]);
    header.euid = Id(ids[4]);
    header.egid = Id(ids[5]);
    header.fsuid = Id(ids[6]);
    header.fsgid = Id(ids[7]);
}

/// A short name that is part of a struct.
#[inline(always)]
pub fn name16<M: Memory>(at: usize, id: u32, offset: u32) -> Name16 {
    let halves = [M::load::<u64>(at, id, offset), M::load::<u64>(at, id, offset + 8)];
    // SAFETY: two words are sixteen bytes.
    Name16(unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(halves) })
}
