//! An exec fails: the old image goes on, so the call's arguments are still there.

use common::{
    Call, Kind,
    event::Exec,
    wire::{Bool, Device, Id, Inode, Mode, Path, Text, TextList, UNSET, mark},
};

use crate::{
    draft::{CallDraft, TEXT, credentials, kernel_read},
    kernel::{self, Memory, clamp, copy_user_str, load},
    notes,
    path::{self, CWD, Place, Subject},
    program::{exec::set_old, on_return, sys_exit::Return},
};

/// Arguments that are copied.
const ARGUMENTS: usize = 64;

#[inline(always)]
fn exec_failed<M: Memory>(it: &Return) {
    let note = notes::of::<M>(it);
    if !it.pass(Kind::Exec) {
        return;
    }
    it.send::<M, Exec>(Kind::Exec, |draft, it| {
        let at = it.is(Call::Execveat);
        let (dir, name, argv) =
            if at { (it.arg::<0>() as i32, it.arg::<1>(), it.arg::<2>()) } else { (CWD, it.arg::<0>(), it.arg::<1>()) };
        let body = &mut draft.body;
        body.inode = Inode::default();
        body.dev = Device(UNSET);
        body.mode = Mode(UNSET);
        body.memfd = Bool(0);
        body.deleted = Bool(0);
        body.upper_layer = Bool(0);
        body.env = TextList { marks: mark::ABSENT, ..TextList::default() };
        body.script = Path { marks: mark::ABSENT, ..Path::default() };
        body.interpreter = Text { marks: mark::ABSENT, ..Text::default() };
        body.script_inode = Inode::default();
        body.script_dev = Device(UNSET);
        body.argv_len = Id(UNSET);
        set_old(body, credentials::<M>(load!(M, usize, it.task, task.cred)));
        draft.body.path = match note {
            Some(note) => {
                draft.body.inode = note.body.inode;
                draft.body.dev = note.body.dev;
                notes::path(draft, note, note.body.path, name)
            }
            None => path::of::<M, _, _>(draft, it.task, Subject::Name(dir, name)),
        };
        draft.body.cwd = path::resolve::<M, _, _>(draft, Place::working::<M>(it.task));
        arguments(draft, argv, if it.is_compat() { 4 } else { 8 });
    });
}
on_return!(exec_failed_fast, exec_failed_base, exec_failed_perf, exec_failed);

/// Copies the arguments from the caller's memory: a list of pointers that ends with a null.
#[inline(always)]
fn arguments(draft: &mut CallDraft<Exec>, list: u64, width: u64) {
    const COUNT: usize = 0;
    const ENDED: usize = 1;
    let first = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    draft.used = first;
    draft.state[COUNT] = 0;
    draft.state[ENDED] = 0;
    for _ in 0..ARGUMENTS {
        let count = kernel_read(&draft.state[COUNT]);
        let pointer = kernel::read_user::<u64>(list.wrapping_add(count * width)).unwrap_or(0);
        let pointer = if width == 4 { pointer & 0xffff_ffff } else { pointer };
        if pointer == 0 {
            draft.state[ENDED] = 1;
            break;
        }
        let used = kernel_read(&draft.used);
        if used > 4 * TEXT as u64 - 256 {
            break;
        }
        let at = clamp::<{ 4 * TEXT as i32 }>(used);
        // SAFETY: a text is at most as long as the room behind the last one.
        let len = unsafe { copy_user_str((&raw mut draft.tail).cast::<u8>().add(at as usize), TEXT as u32, pointer) };
        if len <= 0 {
            break;
        }
        draft.used = at + clamp::<{ TEXT as i32 }>(len as u64);
        draft.state[COUNT] = count + 1;
    }
    let ended = kernel_read(&draft.state[ENDED]) != 0;
    let marks = mark::USER | if ended { 0 } else { mark::TRUNCATED };
    draft.note(marks);
    draft.body.argc = Id(if ended { kernel_read(&draft.state[COUNT]) as u32 } else { UNSET });
    let len = kernel_read(&draft.used).wrapping_sub(first);
    draft.body.argv = TextList { start: first as u32, len: len as u32, marks };
}
