//! The kernel itself: modules, the next kernel, eBPF.

use common::{
    Call, Kind,
    event::{Bpf, Kexec, ModuleLoad, ModuleUnload},
    names::{
        BpfAttachType, BpfCommand, BpfMapType, BpfProgType, KexecFileFlags, KexecFlags, ModuleFlags, Touched,
        UnloadFlags,
    },
    wire::{Id, Name16, UNSET, User},
};

use crate::{
    draft::{ANY, NO_TEXT},
    kernel::{self, Memory},
    own::Object,
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
/// Those of them that change a map or run a program: MAP_UPDATE_ELEM, MAP_DELETE_ELEM, PROG_TEST_RUN,
/// MAP_LOOKUP_AND_DELETE_ELEM, MAP_LOOKUP_AND_DELETE_BATCH to MAP_DELETE_BATCH.
const CHANGING: u64 = 0xe20_040c;
/// Commands whose attributes begin with the descriptor of what they are about: MAP_LOOKUP_ELEM to MAP_GET_NEXT_KEY,
/// PROG_TEST_RUN, OBJ_GET_INFO_BY_FD, MAP_LOOKUP_AND_DELETE_ELEM, MAP_FREEZE, LINK_CREATE, LINK_UPDATE, ITER_CREATE,
/// LINK_DETACH, PROG_BIND_MAP.
const FIRST: u64 = 0xe_3060_841e;
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
const MAP_LOOKUP_BATCH: u32 = 24;
const MAP_DELETE_BATCH: u32 = 27;
const LINK_CREATE: u32 = 28;
const LINK_GET_FD_BY_ID: u32 = 30;

/// What a command of bpf(2) is about. The kernel's own answer goes before the words of the caller.
#[inline(always)]
fn object<M: Memory>(it: &Return, command: u32) -> Object {
    let makes =
        matches!(command, MAP_CREATE | PROG_LOAD | OBJ_GET | PROG_GET_FD_BY_ID | MAP_GET_FD_BY_ID | LINK_GET_FD_BY_ID);
    if makes && !it.is_error() {
        return Object::of_file::<M>(file_of::<M>(it.task, it.ret as u32));
    }
    let offset = match command {
        PROG_GET_FD_BY_ID | MAP_GET_FD_BY_ID | LINK_GET_FD_BY_ID => 0,
        PROG_ATTACH => 4,
        OBJ_PIN | RAW_TRACEPOINT_OPEN => 8,
        MAP_LOOKUP_BATCH..=MAP_DELETE_BATCH => 36,
        _ if command < 64 && FIRST >> command & 1 != 0 => 0,
        _ => return Object::NONE,
    };
    let Some(word) = kernel::read_user::<u32>(it.arg::<1>().wrapping_add(offset)) else { return Object::NONE };
    match command {
        PROG_GET_FD_BY_ID => Object::of_number(Touched::PROGRAM, word),
        MAP_GET_FD_BY_ID => Object::of_number(Touched::MAP, word),
        LINK_GET_FD_BY_ID => Object::of_number(Touched::LINK, word),
        _ => Object::of_file::<M>(file_of::<M>(it.task, word)),
    }
}

#[inline(always)]
fn bpf<M: Memory>(it: &Return) {
    let command = it.arg::<0>() as u32;
    let is_quiet = command < 64 && QUIET >> command & 1 != 0 && !it.is_error();
    if is_quiet && CHANGING >> command & 1 == 0 {
        return;
    }
    let object = object::<M>(it, command);
    let touches = object.touched();
    if is_quiet && touches == Touched::NOTHING {
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
            touches,
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
        let is_new = !it.is_error() && (command == PROG_LOAD || command == MAP_CREATE);
        if is_new || touches != Touched::NOTHING {
            body.object_id = Id(object.number);
        }
        if command == OBJ_PIN || command == OBJ_GET || command == RAW_TRACEPOINT_OPEN {
            // both begin with a pointer to a string
            draft.body.place = draft.given(kernel::read_user::<u64>(at).unwrap_or(0), ANY);
        }
    });
}
on_return!(bpf_fast, bpf_base, bpf_perf, bpf);
