//! A new program image is in place.

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, map, tracepoint},
    maps::{Array, LruHashMap},
    programs::{BtfTracePointContext, TracePointContext},
};
use aya_log_ebpf::trace;
use common::{
    Call, Hook, Kind,
    event::Exec,
    filter::class,
    layout::MISSING,
    wire::{Bool, Device, Id, Inode, Mode, Path, Text, TextList, UNSET, mark},
};

use crate::{
    draft::{Draft, TEXT, credentials, kernel_read},
    environment, executable, filter,
    kernel::{self, Base, Fast, Memory, clamp, copy_str, copy_user, home, layout, load},
    notes,
    path::{self, CWD, Place, Subject},
};

/// Bytes of arguments in one event: one argument of the longest size that the kernel takes (`MAX_ARG_STRLEN`,
/// 128 KiB), and some more beside it.
const ARGV: usize = 160 << 10;
/// Behind the arguments.
pub const ARGUMENTS_END: usize = 5 * TEXT + ARGV;
const ROOM: usize = environment::END;

/// The draft of an exec that succeeded.
pub type ExecDraft = Draft<Exec, ROOM>;

/// Drafts, by CPU: values of per-CPU maps are at most 32 KiB. The number of CPUs is set at load.
#[map]
static EXEC_DRAFT: Array<ExecDraft> = Array::with_max_entries(1, 0);

home! {
    /// [`EXEC_DRAFT`].
    Drafts, exec_turns, EXEC_DRAFT.get_ptr_mut(kernel::cpu())
}

/// Credentials before the exec, by thread.
#[map]
static OLD_CREDENTIALS: LruHashMap<u32, [u32; 8]> = LruHashMap::with_max_entries(4096, 0);

/// The name of the current thread changes: in an exec that is the last moment with the old credentials
/// (`begin_new_exec` in `fs/exec.c`).
#[inline(always)]
fn rename<M: Memory>(task: usize) {
    if task != M::task() {
        return;
    }
    let ids = credentials::<M>(load!(M, usize, task, task.cred));
    let tid = load!(M, u32, task, task.pid);
    if OLD_CREDENTIALS.insert(&tid, &ids, 0).is_err() {
        // without them the record says null, which is true
        filter::count(Hook::Exec, |counts| counts.truncated += 1);
    }
}

#[inline(always)]
fn exec<M: Memory>(ctx: &impl EbpfContext, task: usize, bprm: usize) {
    let mm = load!(M, usize, task, task.mm);
    let file = load!(M, usize, mm, mm.exe_file);
    if filter::is_agent::<M>(task) || !filter::pass(Hook::Exec, Kind::Exec, class::SUCCESS) {
        executable::forget(file);
        return;
    }
    notes::forget(load!(M, u32, task, task.pid));
    let Some(draft) = EXEC_DRAFT.get_ptr_mut(kernel::cpu()) else { return };
    // SAFETY: the slot of this CPU, and no exec interrupts an exec.
    let draft = unsafe { &mut *draft };
    draft.start::<M>(Hook::Exec, Kind::Exec, Call::None, task, 0);
    let tid = load!(M, u32, task, task.pid);
    // SAFETY: the value is copied at once.
    let old = unsafe { OLD_CREDENTIALS.get(&tid) }.copied().unwrap_or([UNSET; 8]);
    set_old(&mut draft.body, old);

    let inode = load!(M, usize, file, file.inode);
    draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
    draft.body.mode = Mode(u32::from(load!(M, u16, inode, inode.mode)));
    draft.body.dev = Device(load!(M, u32, load!(M, usize, inode, inode.sb), sb.dev));
    draft.body.upper_layer = Bool(u32::from(is_upper::<M>(inode)));
    draft.body.path = path::of::<M, _, _>(draft, task, Subject::File(file));
    executable::remember(file, draft);
    let memfd = draft.body.path.marks & mark::DETACHED != 0;
    draft.body.memfd = Bool(u32::from(memfd));
    draft.body.deleted = Bool(u32::from(load!(M, u32, inode, inode.nlink) == 0 && !memfd));
    draft.body.cwd = path::resolve::<M, _, _>(draft, Place::working::<M>(task));

    let asked = load!(M, usize, bprm, bprm.filename);
    let interpreter = load!(M, usize, bprm, bprm.interp);
    draft.body.script = Path { marks: mark::ABSENT, ..Path::default() };
    draft.body.interpreter = Text { marks: mark::ABSENT, ..Text::default() };
    draft.body.script_inode = Inode::default();
    draft.body.script_dev = Device(UNSET);
    if asked != interpreter {
        let file = script::<M>(draft, task, bprm);
        if file != 0 {
            (draft.body.script_inode, draft.body.script_dev) = Subject::File(file).identity::<M>();
        }
        draft.body.script = path::of::<M, _, _>(draft, task, Subject::Kept(CWD, asked));
        draft.body.interpreter = interpreter_text(draft, interpreter);
    }
    draft.body.argc = Id(if bprm == 0 { UNSET } else { load!(M, u32, bprm, bprm.argc) });
    let start = load!(M, u64, mm, mm.arg_start);
    let len = load!(M, u64, mm, mm.arg_end).wrapping_sub(start);
    draft.body.argv_len = Id(len as u32);
    draft.body.argv = arguments(draft, start, len);
    draft.body.env = environment::of::<M>(draft, mm);
    draft.send::<{ ROOM as i32 }>(Hook::Exec, Kind::Exec.lane());
    trace!(ctx, "exec in thread {}, {} bytes of arguments", tid, len);
}

/// `OVERLAYFS_SUPER_MAGIC` (`include/uapi/linux/magic.h`).
const OVERLAY: u64 = 0x794c_7630;

/// Whether an overlay file system has a file in its upper layer. `struct ovl_inode` (`fs/overlayfs/ovl_entry.h`) is of a
/// module, and the types of the kernel may not have it; on all kernels `__upperdentry` is right behind `vfs_inode`.
#[inline(always)]
fn is_upper<M: Memory>(inode: usize) -> bool {
    load!(M, u64, load!(M, usize, inode, inode.sb), sb.magic) == OVERLAY
        && kernel::read::<usize>(inode.wrapping_add(layout!(inode.end) as usize)) != 0
}

/// The file of a script; 0 when it is not found. The exec has let go of it (`exec_binprm` in `fs/exec.c`), but for an
/// interpreter that gets it opened. What closes it waits among the works of the task until the exec returns (`fput` in
/// `fs/file_table.c`), behind all that was let go of later: it is the last one there that an exec opened.
#[inline(always)]
fn script<M: Memory>(draft: &mut ExecDraft, task: usize, bprm: usize) -> usize {
    /// Most works that are looked at.
    const WORKS: usize = 65;
    const NEXT: usize = 0;
    const FOUND: usize = 1;
    let kept = load!(M, usize, bprm, bprm.executable);
    if kept != 0 || layout!(file.work) == MISSING {
        return kept;
    }
    draft.state[NEXT] = load!(M, u64, task, task.works);
    draft.state[FOUND] = 0;
    for _ in 0..WORKS {
        let work = kernel_read(&draft.state[NEXT]) as usize;
        if work == 0 {
            return kernel_read(&draft.state[FOUND]) as usize;
        }
        // if it is no work of a file, it has no entry that leads to the same inode
        let file = work.wrapping_sub(layout!(file.work) as usize);
        let inode = load!(M, usize, file, file.inode);
        if load!(M, u32, file, file.flags) & executable::EXEC != 0
            && inode != 0
            && Place::of_file::<M>(file).inode::<M>() == inode
        {
            draft.state[FOUND] = file as u64;
        }
        // struct callback_head { struct callback_head *next; ... }
        draft.state[NEXT] = kernel::read(work);
    }
    0
}

#[inline(always)]
fn interpreter_text(draft: &mut ExecDraft, from: usize) -> Text {
    let start = clamp::<{ 4 * TEXT as i32 }>(kernel_read(&draft.used));
    // SAFETY: a text is at most as long as the room behind the last one.
    let len = unsafe { copy_str((&raw mut draft.tail).cast::<u8>().add(start as usize), 256, from) };
    draft.text(start, if len > 0 { clamp::<256>(len as u64 - 1) } else { 0 }, 0)
}

/// Copies the arguments as the kernel laid them out for the new image, which has not run yet.
#[inline(always)]
fn arguments(draft: &mut ExecDraft, from: u64, len: u64) -> TextList {
    let start = clamp::<{ 5 * TEXT as i32 }>(kernel_read(&draft.used));
    let copied = clamp::<{ ARGV as i32 }>(len);
    let mut marks = if copied < len { mark::TRUNCATED } else { 0 };
    // SAFETY: the arguments fit behind five texts.
    if !unsafe { copy_user((&raw mut draft.tail).cast::<u8>().add(start as usize), copied, from) } {
        marks |= mark::ABSENT | mark::TRUNCATED;
    }
    let text = draft.text(start, copied, marks);
    TextList { start: text.start, len: text.len, marks }
}

/// Fills in the credentials before the exec.
#[inline(always)]
pub fn set_old(body: &mut Exec, old: [u32; 8]) {
    body.old_uid = Id(old[0]);
    body.old_gid = Id(old[1]);
    body.old_suid = Id(old[2]);
    body.old_sgid = Id(old[3]);
    body.old_euid = Id(old[4]);
    body.old_egid = Id(old[5]);
    body.old_fsuid = Id(old[6]);
    body.old_fsgid = Id(old[7]);
}

/// Typed loads.
#[btf_tracepoint(function = "task_rename")]
pub fn old_credentials_fast(ctx: BtfTracePointContext) -> i32 {
    rename::<Fast>(ctx.arg(0));
    0
}

/// Helper calls.
#[btf_tracepoint(function = "task_rename")]
pub fn old_credentials_base(ctx: BtfTracePointContext) -> i32 {
    rename::<Base>(ctx.arg(0));
    0
}

/// Typed loads.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec_fast(ctx: BtfTracePointContext) -> i32 {
    exec::<Fast>(&ctx, ctx.arg(0), ctx.arg(2));
    0
}

/// Helper calls.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec_base(ctx: BtfTracePointContext) -> i32 {
    exec::<Base<Drafts>>(&ctx, ctx.arg(0), ctx.arg(2));
    0
}

/// Typed loads, behind a perf event. It fires in a rename of another thread too: that is of no use to anybody, and is
/// overwritten by the next.
#[tracepoint]
pub fn old_credentials_perf(_: TracePointContext) -> u32 {
    rename::<Fast>(Fast::task());
    0
}

/// The binary parameters of an exec, by thread: the perf event of the exec does not have them.
#[map]
static BINPRM: LruHashMap<u32, usize> = LruHashMap::with_max_entries(1024, 0);

/// An exec passes the point of no return (Linux 6.12). For the perf family alone, though it can be skipped: then the
/// record of the exec lacks the script and the number of arguments.
#[btf_tracepoint(function = "sched_prepare_exec")]
pub fn binprm_perf(ctx: BtfTracePointContext) -> i32 {
    let tid = load!(Fast, u32, Fast::task(), task.pid);
    let bprm: usize = ctx.arg(1);
    if BINPRM.insert(&tid, &bprm, 0).is_err() {
        filter::count(Hook::Exec, |counts| counts.truncated += 1);
    }
    0
}

/// Typed loads, behind a perf event.
#[tracepoint]
pub fn exec_perf(ctx: TracePointContext) -> u32 {
    let task = Fast::task();
    let tid = load!(Fast, u32, task, task.pid);
    // SAFETY: the value is copied at once.
    let bprm = unsafe { BINPRM.get(&tid) }.copied().unwrap_or(0);
    exec::<Fast>(&ctx, task, bprm);
    if bprm != 0 && BINPRM.remove(&tid).is_err() {
        filter::count(Hook::Exec, |counts| counts.truncated += 1);
    }
    0
}
