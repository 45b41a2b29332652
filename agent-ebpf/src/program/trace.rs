//! One process looks into another: ptrace, memory, descriptors, limits, measurements.

use common::{
    Call, Kind,
    event::{PerfEventOpen, Pidfd, Prlimit, ProcessVm, Ptrace},
    names::{PerfFlags, PerfType, PidfdFlags, PtraceRequest, Resource, Touched},
    wire::{Id, UNSET, User, Wide},
};

use crate::{
    kernel::{self, Memory, load},
    own,
    path::{self, Subject, file_of},
    program::{on_return, signal::number_of, sys_exit::Return},
    target::{Target, describe},
};

/// Requests of ptrace(2) below 32 that change something: TRACEME, POKETEXT, POKEDATA, POKEUSER, KILL, SETREGS,
/// SETFPREGS, ATTACH, DETACH, SETFPXREGS, SET_THREAD_AREA, ARCH_PRCTL.
const LOUD: u64 = 0x440b_a171;
const TRACEME: u64 = 0;
const SETSIGINFO: u64 = 0x4203;
const SETREGSET: u64 = 0x4205;
const SEIZE: u64 = 0x4206;
const SETSIGMASK: u64 = 0x420b;

#[inline(always)]
fn ptrace<M: Memory>(it: &Return) {
    let request = it.arg::<0>();
    let loud =
        request < 32 && LOUD >> request & 1 != 0 || matches!(request, SETSIGINFO | SETREGSET | SEIZE | SETSIGMASK);
    if !loud {
        return;
    }
    it.tell::<M, Ptrace>(Kind::Ptrace, |draft, it| {
        let pid = it.arg::<1>() as u32;
        let (named, touches, target) = if request == TRACEME {
            (UNSET, Touched::NOTHING, Target::NONE)
        } else {
            (pid, own::process_as_named::<M>(it.task, pid), Target::named::<M>(it.task, pid))
        };
        draft.body.request = PtraceRequest(request as u32);
        draft.body.target_pid = Id(named);
        draft.body.address = Wide::from(it.arg::<2>());
        draft.body.touches = touches;
        describe!(M, draft, target);
    });
}
on_return!(ptrace_fast, ptrace_base, ptrace_perf, ptrace);

#[inline(always)]
fn process_vm<M: Memory>(it: &Return) {
    it.tell::<M, ProcessVm>(Kind::ProcessVm, |draft, it| {
        let advises = it.is(Call::ProcessMadvise);
        let list = if advises { it.arg::<1>() } else { it.arg::<3>() };
        // struct iovec { void *base; size_t len; }
        let part = if it.is_compat() {
            kernel::read_user::<[u32; 2]>(list).map(|[at, len]| [u64::from(at), u64::from(len)])
        } else {
            kernel::read_user::<[u64; 2]>(list)
        };
        let [address, length] = part.unwrap_or([u64::MAX; 2]);
        let first = it.arg::<0>() as u32;
        let (target, pid, touches) = if advises {
            let target = Target::of_known_descriptor::<M>(it, first);
            (target, target.number(), own::process(target.number()))
        } else {
            (Target::named::<M>(it.task, first), first, own::process_as_named::<M>(it.task, first))
        };
        draft.body.target_pid = Id(pid);
        draft.body.address = User(Wide::from(address));
        draft.body.length = User(Wide::from(length));
        draft.body.advice = Id(if advises { it.arg::<3>() as u32 } else { UNSET });
        draft.body.touches = touches;
        describe!(M, draft, target);
    });
}
on_return!(process_vm_fast, process_vm_base, process_vm_perf, process_vm);

#[inline(always)]
fn pidfd<M: Memory>(it: &Return) {
    it.tell::<M, Pidfd>(Kind::Pidfd, |draft, it| {
        let opens = it.is(Call::PidfdOpen);
        let first = it.arg::<0>() as u32;
        let (target, pid, touches) = if opens {
            (Target::named::<M>(it.task, first), first, own::process_as_named::<M>(it.task, first))
        } else {
            let target = Target::of_known_descriptor::<M>(it, first);
            (target, target.number(), own::process(target.number()))
        };
        draft.body.target_pid = Id(pid);
        draft.body.touches = touches;
        describe!(M, draft, target);
        draft.body.target_fd = Id(if opens { UNSET } else { it.arg::<1>() as u32 });
        draft.body.flags = PidfdFlags(it.arg::<1>() as u32 * u32::from(opens));
        let taken = !opens && !it.is_error();
        let subject = if taken { Subject::File(file_of::<M>(it.task, it.ret as u32)) } else { Subject::Nothing };
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(pidfd_fast, pidfd_base, pidfd_perf, pidfd);

#[inline(always)]
fn prlimit<M: Memory>(it: &Return) {
    let (pid, limits) = (it.arg::<0>() as u32, it.arg::<2>());
    // a question; or a matter of the process itself
    if limits == 0 || pid == 0 || pid == number_of::<M>(load!(M, usize, it.task, task.group_leader)) {
        return;
    }
    it.tell::<M, Prlimit>(Kind::Prlimit, |draft, it| {
        // struct rlimit64 { u64 rlim_cur, rlim_max; }
        let [soft, hard] = kernel::read_user::<[u64; 2]>(limits).unwrap_or([u64::MAX; 2]);
        draft.body.target_pid = Id(pid);
        draft.body.resource = Resource(it.arg::<1>() as u32);
        draft.body.soft = User(Wide::from(soft));
        draft.body.hard = User(Wide::from(hard));
        draft.body.touches = own::process_as_named::<M>(it.task, pid);
        describe!(M, draft, Target::named::<M>(it.task, pid));
    });
}
on_return!(prlimit_fast, prlimit_base, prlimit_perf, prlimit);

#[inline(always)]
fn perf_event_open<M: Memory>(it: &Return) {
    it.tell::<M, PerfEventOpen>(Kind::PerfEventOpen, |draft, it| {
        // struct perf_event_attr { u32 type; u32 size; u64 config; ... }
        let kind = kernel::read_user::<u32>(it.arg::<0>()).unwrap_or(UNSET);
        let config = kernel::read_user::<u64>(it.arg::<0>().wrapping_add(8)).unwrap_or(u64::MAX);
        draft.body = PerfEventOpen {
            config: User(Wide::from(config)),
            event_type: User(PerfType(kind)),
            target_pid: it.arg::<1>() as i32,
            target_cpu: it.arg::<2>() as i32,
            flags: PerfFlags(it.arg::<4>() as u32),
        };
    });
}
on_return!(perf_event_open_fast, perf_event_open_base, perf_event_open_perf, perf_event_open);
