//! Notes: what a security hook saw of a call, kept until the call returns. The hooks get the objects that the kernel
//! resolved; the end of the call knows the result. A thread is in one call at a time, so notes go by thread.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap},
};
use common::{
    Kind, Noted, Record,
    wire::{Path, mark},
};

use crate::{
    draft::{CallDraft, Draft, TEXT, kernel_read},
    filter::{Table, call_of},
    kernel::{Memory, clamp, copy, copy_user_str, home, load, thread},
    path::{self, Place},
    program::sys_exit::{Return, is_compat, kind_of},
};

/// A note has the shape of an event, so that paths are resolved into it by the same code.
pub type Note = CallDraft<Noted>;

/// Notes by thread. Its size is set at load: more threads than that are in no call of this sort at once.
#[map]
static NOTES: LruHashMap<u32, Note> = LruHashMap::with_max_entries(1, 0);

home! {
    /// The note of the current thread.
    Notes, note_turns, NOTES.get_ptr_mut(&thread())
}

/// What a new note is made of. It is written in place: a program of a security hook may be preempted, so it has no
/// memory of its CPU.
#[map]
static BLANK: Array<Note> = Array::with_max_entries(1, 0);

/// Takes a note, if the current task is in a call of these kinds that is wanted. Other ways lead to the same hooks, as
/// `bind` of a local socket: nobody would ask for their notes.
#[inline(always)]
pub fn take<M: Memory>(kinds: [Kind; 2], fill: impl FnOnce(&mut Note)) {
    let task = M::task();
    let table = if is_compat::<M>(task) { Table::Narrow } else { Table::Wide };
    let call = call_of(M::number(task), table);
    let kind = kind_of(call);
    if call == 0 || kind != kinds[0] as u32 && kind != kinds[1] as u32 {
        return;
    }
    let tid = load!(M, u32, task, task.pid);
    if NOTES.get_ptr_mut(&tid).is_none()
        && let Some(blank) = BLANK.get(0)
        && NOTES.insert(&tid, blank, 0).is_err()
    {
        return;
    }
    let Some(note) = NOTES.get_ptr_mut(&tid) else { return };
    // SAFETY: the value of this thread, which runs us.
    let note = unsafe { &mut *note };
    note.used = 0;
    fill(note);
    note.body.call = u32::from(call);
}

/// The note of the call that returns. Whoever asks gets it once; a call that makes notes must ask, whatever becomes of
/// its event.
#[inline(always)]
pub fn of<M: Memory>(it: &Return) -> Option<&'static Note> {
    let tid = load!(M, u32, it.task, task.pid);
    // SAFETY: the value of this thread, which runs us; it stays until the program ends.
    let note = unsafe { &mut *NOTES.get_ptr_mut(&tid)? };
    if note.body.call != u32::from(it.call) {
        return None;
    }
    note.body.call = 0;
    Some(note)
}

/// Forgets the note of a thread, after a call whose end asks for none.
#[inline(always)]
pub fn forget(tid: u32) {
    if let Some(note) = NOTES.get_ptr_mut(&tid) {
        // SAFETY: the value of this thread, which runs us.
        unsafe { (*note).body.call = 0 };
    }
}

/// Puts a path of a note into an event, and beside it the name that the caller's memory has.
#[inline(always)]
pub fn path<R: Record, const ROOM: usize>(draft: &mut Draft<R, ROOM>, note: &Note, noted: Path, name: u64) -> Path {
    let mut path = Path { marks: noted.marks | mark::OBJECT, ..Path::default() };
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    let from = clamp::<{ 3 * TEXT as i32 }>(u64::from(noted.start));
    let len = clamp::<{ TEXT as i32 }>(u64::from(noted.len));
    // SAFETY: texts of both are within their tails; the verifier checks it.
    let said = unsafe {
        copy(
            (&raw mut draft.tail).cast::<u8>().add(start as usize),
            len,
            (&raw const note.tail) as usize + from as usize,
        );
        draft.used = start + len;
        let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
        path.name = start as u32;
        copy_user_str((&raw mut draft.tail).cast::<u8>().add(start as usize), TEXT as u32, name)
    };
    path.start = start as u32;
    path.len = len as u32;
    if said > 0 {
        path.name_len = said as u32;
        draft.used = u64::from(path.name) + clamp::<{ TEXT as i32 }>(said as u64);
    }
    draft.note(path.marks);
    path
}

/// Resolves a place into a note.
#[inline(always)]
pub fn resolve<M: Memory>(note: &mut Note, place: Place) -> Path {
    path::resolve::<M, _, _>(note, place)
}
