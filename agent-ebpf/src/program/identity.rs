//! Who a process is: user and group ids, capabilities, session, namespaces.

use common::{
    Call, Kind,
    event::{Capset, Namespace, Setid, Setsid},
    names::{Capabilities, NamespaceFlags},
    wire::{Id, Inode, Name16, UNSET, User},
};

use crate::{
    kernel::{self, Memory, layout, load},
    path::file_of,
    program::{on_return, sys_exit::Return},
    target::Target,
};

#[inline(always)]
fn setid<M: Memory>(it: &Return) {
    it.tell::<M, Setid>(Kind::Setid, |draft, it| {
        let none = Id(UNSET);
        let (first, second, third) = (it.id(it.arg::<0>()), it.id(it.arg::<1>()), it.id(it.arg::<2>()));
        let (real, effective, saved, fs, groups) = if it.is(Call::Setgroups) {
            (none, none, none, none, Id(it.arg::<0>() as u32))
        } else if it.is(Call::Setfsuid) || it.is(Call::Setfsgid) {
            (none, none, none, first, none)
        } else if it.is(Call::Setuid) || it.is(Call::Setgid) {
            (none, first, none, none, none)
        } else if it.is(Call::Setreuid) || it.is(Call::Setregid) {
            (first, second, none, none, none)
        } else {
            (first, second, third, none, none)
        };
        draft.body = Setid { asked_real: real, asked_effective: effective, asked_saved: saved, asked_fs: fs, groups };
    });
}
on_return!(setid_fast, setid_base, setid_perf, setid);

#[inline(always)]
fn capset<M: Memory>(it: &Return) {
    it.tell::<M, Capset>(Kind::Capset, |draft, it| {
        let cred = load!(M, usize, it.task, task.cred);
        // struct __user_cap_header_struct { u32 version; int pid; }
        let target = kernel::read_user::<u32>(it.arg::<0>().wrapping_add(4)).unwrap_or(UNSET);
        draft.body = Capset {
            effective: Capabilities(load!(M, [u32; 2], cred, cred.effective)),
            permitted: Capabilities(load!(M, [u32; 2], cred, cred.permitted)),
            inheritable: Capabilities(load!(M, [u32; 2], cred, cred.inheritable)),
            target_tid: User(Id(target)),
        };
    });
}
on_return!(capset_fast, capset_base, capset_perf, capset);

#[inline(always)]
fn setsid<M: Memory>(it: &Return) {
    it.tell::<M, Setsid>(Kind::Setsid, |draft, it| {
        draft.body = Setsid { session: Id(if it.is_error() { UNSET } else { it.ret as u32 }) };
    });
}
on_return!(setsid_fast, setsid_base, setsid_perf, setsid);

/// Flags that ask for new namespaces: all of [`NamespaceFlags`] but `CLONE_NEWTIME`, which clone(2) takes for a part of
/// the signal.
const SPACES: u64 = 0x7e02_0000;
const NEWTIME: u64 = 0x80;
/// `NSFS_MAGIC` (`include/uapi/linux/magic.h`).
const NSFS: u64 = 0x6e73_6673;

#[inline(always)]
fn namespace<M: Memory>(it: &Return) {
    let clones = it.is(Call::Clone) || it.is(Call::Clone3);
    let mut flags = it.arg::<0>();
    if clones {
        // the child returns, too
        if it.ret == 0 {
            return;
        }
        flags = if it.is(Call::Clone) {
            flags & SPACES
        } else {
            // struct clone_args { u64 flags; ... }
            kernel::read_user::<u64>(flags).unwrap_or(0) & (SPACES | NEWTIME)
        };
        if flags == 0 {
            return;
        }
    }
    it.tell::<M, Namespace>(Kind::Namespace, |draft, it| {
        let child = if clones && !it.is_error() { last_child::<M>(it.task) } else { UNSET };
        draft.body = Namespace {
            flags: NamespaceFlags(flags as u32),
            child_pid: Id(child),
            inode: Inode::default(),
            ns_type: Name16::default(),
            target_pid: Id(UNSET),
        };
        if !it.is(Call::Setns) {
            return;
        }
        draft.body.flags = NamespaceFlags(it.arg::<1>() as u32);
        let file = file_of::<M>(it.task, it.arg::<0>() as u32);
        let inode = load!(M, usize, file, file.inode);
        let sb = load!(M, usize, inode, inode.sb);
        if file != 0 && load!(M, u64, sb, sb.magic) == NSFS {
            draft.body.inode = Inode::from(load!(M, u64, inode, inode.ino));
            let space = load!(M, usize, inode, inode.private);
            let ops = load!(M, usize, space, ns.ops);
            draft.body.ns_type = kernel::short_name(load!(M, usize, ops, ns_ops.name));
        } else if !it.is_error() {
            draft.body.target_pid = Id(Target::of_descriptor::<M>(it.task, it.arg::<0>() as u32).number());
        }
    });
}
on_return!(namespace_fast, namespace_base, namespace_perf, namespace);

/// The child that a thread made last, in the initial pid namespace: with `CLONE_PARENT` it is another one's.
#[inline(always)]
fn last_child<M: Memory>(task: usize) -> u32 {
    let link = load!(M, usize, task, task.last_child);
    // the list is empty: its head, which `prev` is the second word of
    if link == task + layout!(task.last_child) as usize - 8 {
        return UNSET;
    }
    load!(M, u32, link.wrapping_sub(layout!(task.sibling) as usize), task.pid)
}
