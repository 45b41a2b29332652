//! The kernel itself: modules, the next kernel, eBPF.

use common::{
    Call, Kind,
    event::{Bpf, Kexec, ModuleLoad, ModuleUnload},
    names::{BpfAttachType, BpfCommand, BpfMapType, BpfProgType, KexecFileFlags, KexecFlags, ModuleFlags, UnloadFlags},
    wire::{Id, Name16, UNSET, User},
};

use crate::{
    draft::{ANY, NO_TEXT},
    kernel::{self, Memory, load},
    path::{self, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

/// An open file of the caller, or nothing.
#[inline(always)]
fn open_file<M: Memory>(it: &Return, there: bool) -> Subject {
    match if there { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 } {
        0 => Subject::Nothing,
        file => Subject::File(file),
    }
}

#[inline(always)]
fn module_load<M: Memory>(it: &Return) {
    it.tell::<M, ModuleLoad>(Kind::ModuleLoad, |draft, it| {
        let by_file = it.is(Call::FinitModule);
        let path = path::of::<M, _, _>(draft, it.task, open_file::<M>(it, by_file));
        let args = draft.given(if by_file { it.arg::<1>() } else { it.arg::<2>() }, ANY);
        let (flags, size) = if by_file { (it.arg::<2>() as u32, UNSET) } else { (0, it.arg::<1>() as u32) };
        draft.body = ModuleLoad { path, args, flags: ModuleFlags(flags), size: Id(size) };
    });
}
on_return!(module_load_fast, module_load_base, module_load_perf, module_load);

#[inline(always)]
fn module_unload<M: Memory>(it: &Return) {
    it.tell::<M, ModuleUnload>(Kind::ModuleUnload, |draft, it| {
        let module = draft.given(it.arg::<0>(), ANY);
        draft.body = ModuleUnload { module, flags: UnloadFlags(it.arg::<1>() as u32) };
    });
}
on_return!(module_unload_fast, module_unload_base, module_unload_perf, module_unload);

#[inline(always)]
fn kexec<M: Memory>(it: &Return) {
    it.tell::<M, Kexec>(Kind::Kexec, |draft, it| {
        let by_file = it.is(Call::KexecFileLoad);
        let path = path::of::<M, _, _>(draft, it.task, open_file::<M>(it, by_file));
        let cmdline = draft.given(if by_file { it.arg::<3>() } else { 0 }, it.arg::<2>());
        let (flags, file_flags) = if by_file { (0, it.arg::<4>() as u32) } else { (it.arg::<3>() as u32, 0) };
        draft.body = Kexec { path, cmdline, flags: KexecFlags(flags), file_flags: KexecFileFlags(file_flags) };
    });
}
on_return!(kexec_fast, kexec_base, kexec_perf, kexec);

/// Commands of bpf(2) that read or write maps, ask, or test: MAP_LOOKUP_ELEM to MAP_GET_NEXT_KEY, PROG_TEST_RUN to
/// MAP_GET_NEXT_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY, TASK_FD_QUERY, MAP_LOOKUP_AND_DELETE_ELEM, BTF_GET_NEXT_ID to
/// MAP_DELETE_BATCH, LINK_GET_NEXT_ID, PROG_STREAM_READ_BY_FD.
const QUIET: u64 = 0x20_8fb1_9c1e;
const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const BTF_GET_FD_BY_ID: u32 = 19;
const LINK_CREATE: u32 = 28;
const LINK_GET_FD_BY_ID: u32 = 30;

#[inline(always)]
fn bpf<M: Memory>(it: &Return) {
    let command = it.arg::<0>() as u32;
    if command < 64 && QUIET >> command & 1 != 0 && !it.is_error() {
        return;
    }
    it.tell::<M, Bpf>(Kind::Bpf, |draft, it| {
        // union bpf_attr (include/uapi/linux/bpf.h), whose first words the caller gave `arg::<2>` of
        let at = it.arg::<1>();
        let size = it.arg::<2>() & 0xffff_ffff;
        let word = |offset: u64| match kernel::read_user::<u32>(at.wrapping_add(offset)) {
            Some(word) if offset + 4 <= size => word,
            _ => UNSET,
        };
        let name = |offset: u64| match kernel::read_user::<[u8; 16]>(at.wrapping_add(offset)) {
            Some(name) if offset + 16 <= size => Name16(name),
            _ => Name16::default(),
        };
        let body = &mut draft.body;
        *body = Bpf {
            command: BpfCommand(command),
            prog_type: User(BpfProgType(UNSET)),
            instructions: User(Id(UNSET)),
            map_type: User(BpfMapType(UNSET)),
            attach_type: User(BpfAttachType(UNSET)),
            target_fd: User(Id(UNSET)),
            object_id: Id(UNSET),
            object_name: User(Name16::default()),
            place: NO_TEXT,
        };
        match command {
            PROG_LOAD => {
                body.prog_type = User(BpfProgType(word(0)));
                body.instructions = User(Id(word(4)));
                body.object_name = User(name(48));
                // most types expect none, and 0 stands for that
                let expected = word(68);
                body.attach_type = User(BpfAttachType(if expected == 0 { UNSET } else { expected }));
            }
            MAP_CREATE => {
                body.map_type = User(BpfMapType(word(0)));
                body.object_name = User(name(28));
            }
            PROG_ATTACH | PROG_DETACH => {
                body.target_fd = User(Id(word(0)));
                body.attach_type = User(BpfAttachType(word(8)));
            }
            LINK_CREATE => {
                body.target_fd = User(Id(word(4)));
                body.attach_type = User(BpfAttachType(word(8)));
            }
            PROG_GET_FD_BY_ID | MAP_GET_FD_BY_ID | BTF_GET_FD_BY_ID | LINK_GET_FD_BY_ID => {
                body.object_id = Id(word(0));
            }
            _ => {}
        }
        if !it.is_error() && (command == PROG_LOAD || command == MAP_CREATE) {
            let object = load!(M, usize, file_of::<M>(it.task, it.ret as u32), file.private);
            body.object_id = Id(if command == MAP_CREATE {
                load!(M, u32, object, bpf_map.number)
            } else {
                load!(M, u32, load!(M, usize, object, bpf_prog.aux), bpf_prog_aux.number)
            });
        }
        if command == OBJ_PIN || command == OBJ_GET || command == RAW_TRACEPOINT_OPEN {
            // both begin with a pointer to a string
            draft.body.place = draft.given(kernel::read_user::<u64>(at).unwrap_or(0), ANY);
        }
    });
}
on_return!(bpf_fast, bpf_base, bpf_perf, bpf);
