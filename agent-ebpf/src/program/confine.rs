//! What a process may do, and what protects it: prctl, seccomp, landlock, keys, memory.

use common::{
    Call, Kind,
    event::{IoUring, Keyctl, Landlock, Lsm, MemfdCreate, Mprotect, Personality, Prctl, Seccomp, Userfaultfd},
    names::{
        Capability, IoUringFlags, KeyctlOperation, LandlockRule, LsmAttribute, LsmId, MapFlags, MemfdFlags,
        PersonalityDomain, PersonalityFlags, PrctlOption, Protection, SeccompFlags, SeccompOperation, UserfaultfdFlags,
    },
    wire::{Id, UNSET, User, Wide},
};

use crate::{
    draft::{ANY, NO_TEXT},
    kernel::{self, Memory},
    program::{on_return, sys_exit::Return},
};

/// Options of prctl(2) that are numbered below 64 and matter: SET_DUMPABLE, SET_KEEPCAPS, SET_SECCOMP, CAPBSET_DROP,
/// SET_SECUREBITS, SET_MM, SET_NO_NEW_PRIVS, CAP_AMBIENT.
const OPTIONS: u64 = 1 << 4 | 1 << 8 | 1 << 22 | 1 << 24 | 1 << 28 | 1 << 35 | 1 << 38 | 1 << 47;
const CAPBSET_DROP: u64 = 24;
const CAP_AMBIENT: u64 = 47;
const AMBIENT_IS_SET: u64 = 1;
const AMBIENT_CLEAR_ALL: u64 = 4;
const SET_MDWE: u64 = 65;
const SET_PTRACER: u64 = 0x5961_6d61;

#[inline(always)]
fn prctl<M: Memory>(it: &Return) {
    let (option, argument) = (it.arg::<0>() & 0xffff_ffff, it.arg::<1>());
    let matters = option < 64 && OPTIONS >> option & 1 != 0 || option == SET_MDWE || option == SET_PTRACER;
    if !matters || option == CAP_AMBIENT && argument == AMBIENT_IS_SET {
        return;
    }
    it.tell::<M, Prctl>(Kind::Prctl, |draft, it| {
        let capability = match option {
            CAPBSET_DROP => argument as u32,
            CAP_AMBIENT if argument != AMBIENT_CLEAR_ALL => it.arg::<2>() as u32,
            _ => UNSET,
        };
        let option = PrctlOption(option as u32);
        draft.body = Prctl { option, argument: Wide::from(argument), capability: Capability(capability) };
    });
}
on_return!(prctl_fast, prctl_base, prctl_perf, prctl);

#[inline(always)]
fn seccomp<M: Memory>(it: &Return) {
    let operation = it.arg::<0>() as u32;
    // GET_ACTION_AVAIL, GET_NOTIF_SIZES
    if operation == 2 || operation == 3 {
        return;
    }
    it.tell::<M, Seccomp>(Kind::Seccomp, |draft, it| {
        // struct sock_fprog { unsigned short len; ... }
        let len = if operation == 1 { kernel::read_user::<u16>(it.arg::<2>()) } else { None };
        draft.body = Seccomp {
            operation: SeccompOperation(operation),
            flags: SeccompFlags(it.arg::<1>() as u32),
            instructions: User(Id(len.map_or(UNSET, u32::from))),
        };
    });
}
on_return!(seccomp_fast, seccomp_base, seccomp_perf, seccomp);

/// Operations of keyctl(2) that only ask: GET_KEYRING_ID, DESCRIBE, GET_SECURITY, PKEY_QUERY, CAPABILITIES.
const ASKS: u64 = 1 << 0 | 1 << 6 | 1 << 17 | 1 << 24 | 1 << 31;
const JOIN_SESSION: u64 = 1;
const SEARCH: u64 = 10;

#[inline(always)]
fn keyctl<M: Memory>(it: &Return) {
    let operates = it.is(Call::Keyctl);
    let operation = it.arg::<0>() & 0xffff_ffff;
    if operates && operation < 64 && ASKS >> operation & 1 != 0 && !it.is_error() {
        return;
    }
    it.tell::<M, Keyctl>(Kind::Keyctl, |draft, it| {
        let (key, key_type, description) = match operation {
            _ if it.is(Call::AddKey) => (it.arg::<4>(), it.arg::<0>(), it.arg::<1>()),
            _ if it.is(Call::RequestKey) => (it.arg::<3>(), it.arg::<0>(), it.arg::<1>()),
            JOIN_SESSION => (0, 0, it.arg::<1>()),
            SEARCH => (it.arg::<1>(), it.arg::<2>(), it.arg::<3>()),
            _ => (it.arg::<1>(), 0, 0),
        };
        let key_type = draft.given(key_type, ANY);
        let description = draft.given(description, ANY);
        let operation = KeyctlOperation(if operates { operation as u32 } else { UNSET });
        draft.body = Keyctl { operation, key: key as i32, key_type, description };
    });
}
on_return!(keyctl_fast, keyctl_base, keyctl_perf, keyctl);

#[inline(always)]
fn landlock<M: Memory>(it: &Return) {
    let (creates, adds) = (it.is(Call::LandlockCreateRuleset), it.is(Call::LandlockAddRule));
    // LANDLOCK_CREATE_RULESET_VERSION and _ERRATA ask
    if creates && it.arg::<2>() & 3 != 0 && !it.is_error() {
        return;
    }
    it.tell::<M, Landlock>(Kind::Landlock, |draft, it| {
        // the attributes of both begin with the accesses
        let at = if creates { it.arg::<0>() } else { it.arg::<2>() };
        let access = if creates || adds { kernel::read_user::<u64>(at) } else { None };
        let flags = if creates {
            it.arg::<2>()
        } else if adds {
            it.arg::<3>()
        } else {
            it.arg::<1>()
        };
        draft.body = Landlock {
            access: User(Wide::from(access.unwrap_or(u64::MAX))),
            rule_type: LandlockRule(if adds { it.arg::<1>() as u32 } else { UNSET }),
            flags: flags as u32,
        };
    });
}
on_return!(landlock_fast, landlock_base, landlock_perf, landlock);

#[inline(always)]
fn lsm<M: Memory>(it: &Return) {
    it.tell::<M, Lsm>(Kind::Lsm, |draft, it| {
        // struct lsm_ctx { u64 id; u64 flags; u64 len; u64 ctx_len; u8 ctx[]; }
        let at = it.arg::<1>();
        let module = kernel::read_user::<u64>(at).unwrap_or(u64::MAX) as u32;
        let len = kernel::read_user::<u64>(at.wrapping_add(24));
        let content = match len {
            Some(len) => draft.given(at.wrapping_add(32), len),
            None => NO_TEXT,
        };
        draft.body = Lsm { attribute: LsmAttribute(it.arg::<0>() as u32), module: User(LsmId(module)), content };
    });
}
on_return!(lsm_fast, lsm_base, lsm_perf, lsm);

#[inline(always)]
fn userfaultfd<M: Memory>(it: &Return) {
    it.tell::<M, Userfaultfd>(Kind::Userfaultfd, |draft, it| {
        draft.body = Userfaultfd { flags: UserfaultfdFlags(it.arg::<0>() as u32) };
    });
}
on_return!(userfaultfd_fast, userfaultfd_base, userfaultfd_perf, userfaultfd);

#[inline(always)]
fn io_uring<M: Memory>(it: &Return) {
    it.tell::<M, IoUring>(Kind::IoUring, |draft, it| {
        // struct io_uring_params { u32 sq_entries; u32 cq_entries; u32 flags; ... }
        let flags = kernel::read_user::<u32>(it.arg::<1>().wrapping_add(8)).unwrap_or(0);
        draft.body = IoUring { entries: it.arg::<0>() as u32, flags: User(IoUringFlags(flags)) };
    });
}
on_return!(io_uring_fast, io_uring_base, io_uring_perf, io_uring);

#[inline(always)]
fn personality<M: Memory>(it: &Return) {
    let wish = it.arg::<0>() as u32;
    // a question
    if wish == UNSET {
        return;
    }
    it.tell::<M, Personality>(Kind::Personality, |draft, _| {
        // PER_MASK
        let domain = PersonalityDomain(wish & 0xff);
        draft.body = Personality { domain, flags: PersonalityFlags(wish & !0xff) };
    });
}
on_return!(personality_fast, personality_base, personality_perf, personality);

#[inline(always)]
fn memfd_create<M: Memory>(it: &Return) {
    it.tell::<M, MemfdCreate>(Kind::MemfdCreate, |draft, it| {
        let name = draft.given(it.arg::<0>(), ANY);
        draft.body = MemfdCreate { name, flags: MemfdFlags(it.arg::<1>() as u32) };
    });
}
on_return!(memfd_create_fast, memfd_create_base, memfd_create_perf, memfd_create);

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_ANONYMOUS: u64 = 0x20;

#[inline(always)]
fn mprotect<M: Memory>(it: &Return) {
    let (protection, maps) = (it.arg::<2>(), it.is(Call::Mmap));
    let from_file = maps && it.arg::<3>() & MAP_ANONYMOUS == 0 && protection & PROT_WRITE == 0;
    if protection & PROT_EXEC == 0 || from_file {
        return;
    }
    it.tell::<M, Mprotect>(Kind::Mprotect, |draft, it| {
        let address = if maps && !it.is_error() { it.ret as u64 } else { it.arg::<0>() };
        draft.body = Mprotect {
            address: Wide::from(address),
            length: Wide::from(it.arg::<1>()),
            protection: Protection(protection as u32),
            flags: MapFlags(if maps { it.arg::<3>() as u32 } else { 0 }),
        };
    });
}
on_return!(mprotect_fast, mprotect_base, mprotect_perf, mprotect);
