//! Which programs the kernel half has, where they attach, and which kinds they serve.

use common::{Hook, Kind};

/// How programs read kernel memory, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// By typed loads.
    Fast,
    /// By a helper call for each field.
    Base,
    /// By typed loads, in programs behind perf events: after Linux 6.18 the kernel skips typed tracepoints when a task
    /// is preempted within one (see `docs/threat-model.md`).
    Perf,
}

impl Family {
    /// All families.
    pub const ALL: &'static [Family] = &[Self::Fast, Self::Base, Self::Perf];

    /// The best one for the running kernel. `cast`: it has the kernel function of typed loads.
    pub fn best(cast: bool) -> Family {
        match (cast, nix::sys::utsname::uname()) {
            (false, _) => Self::Base,
            (true, Ok(it)) if is_after_6_18(it.release().to_string_lossy().as_ref()) => Self::Perf,
            (true, _) => Self::Fast,
        }
    }

    /// The end of its programs' names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Base => "base",
            Self::Perf => "perf",
        }
    }

    /// The name of a program in the object. Security hooks have no perf family: they are never skipped.
    pub fn object_name(self, program: &str) -> String {
        let is_lsm = LSM.iter().any(|it| it.name == program);
        let family = if is_lsm && self == Self::Perf { Self::Fast } else { self };
        format!("{program}_{}", family.name())
    }
}

/// Whether tracepoints of this kernel can be preempted (see [`Family::Perf`]). Measured: 6.18 not, 7.2 yet; what lies
/// between was not.
fn is_after_6_18(release: &str) -> bool {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit()).map_while(|it| it.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) > (6, 18)
}

/// The map of programs that are jumped to when a call returns; beside it that for operations of io_uring(7).
pub const CALLS: &str = "PROGRAMS";
/// See [`CALLS`].
pub const OPERATIONS: &str = "COMPLETE";

/// The tracepoint of submissions to io_uring(7), and its name before Linux 6.4.
pub const SUBMIT: (&str, &str) = ("io_uring_submit_req", "io_uring_submit_sqe");

/// The kinds of operations of io_uring(7).
pub const URING: &[Kind] = &[
    Kind::Open,
    Kind::Unlink,
    Kind::Rmdir,
    Kind::Rename,
    Kind::Link,
    Kind::Symlink,
    Kind::Truncate,
    Kind::Connect,
    Kind::Bind,
    Kind::Listen,
    Kind::Accept,
    Kind::Send,
    Kind::Socket,
    Kind::Modify,
];

/// How a program is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It sits on a tracepoint: its group in tracefs, and its name.
    Tracepoint(&'static str, &'static str),
    /// It is asked by a security hook, and takes notes for programs on `sys_exit`.
    Lsm(&'static str),
    /// Another program on `sys_exit` jumps to it for a kind.
    Call(Kind),
    /// Another program on `io_uring_complete` jumps to it for a kind.
    Operation(Kind),
    /// Programs of kinds jump to it with an event that is written.
    Judge,
}

impl Entry {
    /// The map of programs where another one finds it, and its place in there, if it is jumped to. No kind has the
    /// number 0.
    pub const fn slot(self) -> Option<(&'static str, u32)> {
        match self {
            Self::Call(kind) => Some((CALLS, kind as u32)),
            Self::Judge => Some((CALLS, 0)),
            Self::Operation(kind) => Some((OPERATIONS, kind as u32)),
            Self::Tracepoint(..) | Self::Lsm(_) => None,
        }
    }
}

/// A program of the kernel half.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name without the family.
    pub name: &'static str,
    /// How it is entered.
    pub entry: Entry,
    /// The hook whose counts it keeps.
    pub hook: Hook,
    /// The kinds that it makes; empty for one that only helps others.
    pub kinds: &'static [Kind],
}

/// The programs of the security tier, on kernels that let them in: with them no name depends on the caller's memory.
/// Each is worth loading only for its kinds.
pub const LSM: &[Program] = &[
    lsm("lsm_unlink", "path_unlink", &[Kind::Unlink]),
    lsm("lsm_rmdir", "path_rmdir", &[Kind::Rmdir]),
    lsm("lsm_symlink", "path_symlink", &[Kind::Symlink]),
    lsm("lsm_link", "path_link", &[Kind::Link]),
    lsm("lsm_rename", "path_rename", &[Kind::Rename]),
    lsm("lsm_chmod", "path_chmod", &[Kind::Chmod]),
    lsm("lsm_chown", "path_chown", &[Kind::Chown]),
    lsm("lsm_truncate", "path_truncate", &[Kind::Truncate]),
    lsm("lsm_exec", "bprm_creds_for_exec", &[Kind::Exec]),
];

/// The program that only [`Family::Perf`] has.
pub const BINPRM: &str = "binprm";

/// All other programs. One that jumps comes after those that it jumps to.
pub const PROGRAMS: &[Program] = &[
    tracepoint("fork", ("sched", "sched_process_fork"), Hook::Fork, &[Kind::Fork]),
    // what a process closes at its end, and before it is another program, is told before that
    tracepoint("close_at_exit", ("sched", "sched_process_exit"), Hook::Exit, &[Kind::Modify]),
    tracepoint("close_on_exec", ("sched", "sched_process_exec"), Hook::Exec, &[Kind::Modify]),
    tracepoint("close", ("raw_syscalls", "sys_enter"), Hook::SysEnter, &[Kind::Modify]),
    tracepoint("exit", ("sched", "sched_process_exit"), Hook::Exit, &[Kind::Exit]),
    tracepoint("old_credentials", ("task", "task_rename"), Hook::Exec, &[]),
    tracepoint(BINPRM, ("sched", "sched_prepare_exec"), Hook::Exec, &[]),
    tracepoint("exec", ("sched", "sched_process_exec"), Hook::Exec, &[Kind::Exec]),
    tracepoint("capability", ("capability", "cap_capable"), Hook::Capability, &[Kind::Capability]),
    Program { name: "judge", entry: Entry::Judge, hook: Hook::SysExit, kinds: &[] },
    call("exec_failed", Kind::Exec, &[Kind::Exec]),
    call("open", Kind::Open, &[Kind::Open]),
    call("unlink", Kind::Unlink, &[Kind::Unlink, Kind::Rmdir]),
    call("unlink", Kind::Rmdir, &[Kind::Unlink, Kind::Rmdir]),
    call("rename", Kind::Rename, &[Kind::Rename]),
    call("link", Kind::Link, &[Kind::Link]),
    call("symlink", Kind::Symlink, &[Kind::Symlink]),
    call("chmod", Kind::Chmod, &[Kind::Chmod]),
    call("chown", Kind::Chown, &[Kind::Chown]),
    call("truncate", Kind::Truncate, &[Kind::Truncate]),
    call("connect", Kind::Connect, &[Kind::Connect]),
    call("bind", Kind::Bind, &[Kind::Bind]),
    call("listen", Kind::Listen, &[Kind::Listen]),
    call("accept", Kind::Accept, &[Kind::Accept]),
    call("dns", Kind::Dns, &[Kind::Dns]),
    call("send", Kind::Send, &[Kind::Send, Kind::Dns]),
    call("mkdir", Kind::Mkdir, &[Kind::Mkdir]),
    call("mknod", Kind::Mknod, &[Kind::Mknod]),
    call("setxattr", Kind::Setxattr, &[Kind::Setxattr]),
    call("removexattr", Kind::Removexattr, &[Kind::Removexattr]),
    call("utimes", Kind::Utimes, &[Kind::Utimes]),
    call("file_setattr", Kind::FileSetattr, &[Kind::FileSetattr]),
    call("mount", Kind::Mount, &[Kind::Mount]),
    call("umount", Kind::Umount, &[Kind::Umount]),
    call("pivot_root", Kind::PivotRoot, &[Kind::PivotRoot]),
    call("chroot", Kind::Chroot, &[Kind::Chroot]),
    call("swap", Kind::Swap, &[Kind::Swap]),
    call("setid", Kind::Setid, &[Kind::Setid]),
    call("capset", Kind::Capset, &[Kind::Capset]),
    call("ptrace", Kind::Ptrace, &[Kind::Ptrace]),
    call("process_vm", Kind::ProcessVm, &[Kind::ProcessVm]),
    call("pidfd", Kind::Pidfd, &[Kind::Pidfd]),
    call("kill", Kind::Kill, &[Kind::Kill]),
    call("prlimit", Kind::Prlimit, &[Kind::Prlimit]),
    call("module_load", Kind::ModuleLoad, &[Kind::ModuleLoad]),
    call("module_unload", Kind::ModuleUnload, &[Kind::ModuleUnload]),
    call("kexec", Kind::Kexec, &[Kind::Kexec]),
    call("bpf", Kind::Bpf, &[Kind::Bpf]),
    call("perf_event_open", Kind::PerfEventOpen, &[Kind::PerfEventOpen]),
    call("namespace", Kind::Namespace, &[Kind::Namespace]),
    call("memfd_create", Kind::MemfdCreate, &[Kind::MemfdCreate]),
    call("prctl", Kind::Prctl, &[Kind::Prctl]),
    call("seccomp", Kind::Seccomp, &[Kind::Seccomp]),
    call("keyctl", Kind::Keyctl, &[Kind::Keyctl]),
    call("userfaultfd", Kind::Userfaultfd, &[Kind::Userfaultfd]),
    call("landlock", Kind::Landlock, &[Kind::Landlock]),
    call("lsm", Kind::Lsm, &[Kind::Lsm]),
    call("io_uring", Kind::IoUring, &[Kind::IoUring]),
    call("personality", Kind::Personality, &[Kind::Personality]),
    call("setsid", Kind::Setsid, &[Kind::Setsid]),
    call("settime", Kind::Settime, &[Kind::Settime]),
    call("hostname", Kind::Hostname, &[Kind::Hostname]),
    call("reboot", Kind::Reboot, &[Kind::Reboot]),
    call("acct", Kind::Acct, &[Kind::Acct]),
    call("ioport", Kind::Ioport, &[Kind::Ioport]),
    call("syslog", Kind::Syslog, &[Kind::Syslog]),
    call("mprotect", Kind::Mprotect, &[Kind::Mprotect]),
    call("socket", Kind::Socket, &[Kind::Socket]),
    call("modify", Kind::Modify, &[Kind::Modify]),
    tracepoint("sys_exit", ("raw_syscalls", "sys_exit"), Hook::SysExit, &[]),
    operation("uring_open", Kind::Open, &[Kind::Open]),
    operation("uring_unlink", Kind::Unlink, &[Kind::Unlink, Kind::Rmdir]),
    operation("uring_rename", Kind::Rename, &[Kind::Rename]),
    operation("uring_link", Kind::Link, &[Kind::Link]),
    operation("uring_symlink", Kind::Symlink, &[Kind::Symlink]),
    operation("uring_truncate", Kind::Truncate, &[Kind::Truncate]),
    operation("uring_connect", Kind::Connect, &[Kind::Connect]),
    operation("uring_bind", Kind::Bind, &[Kind::Bind]),
    operation("uring_listen", Kind::Listen, &[Kind::Listen]),
    operation("uring_accept", Kind::Accept, &[Kind::Accept]),
    operation("uring_send", Kind::Send, &[Kind::Send]),
    operation("uring_socket", Kind::Socket, &[Kind::Socket]),
    operation("uring_modify", Kind::Modify, &[Kind::Modify]),
    tracepoint("uring_complete", ("io_uring", "io_uring_complete"), Hook::IoUring, URING),
    tracepoint("uring_submit", ("io_uring", SUBMIT.0), Hook::IoUringSubmit, &[Kind::IoUringSilent]),
];

const fn tracepoint(
    name: &'static str,
    (group, at): (&'static str, &'static str),
    hook: Hook,
    kinds: &'static [Kind],
) -> Program {
    Program { name, entry: Entry::Tracepoint(group, at), hook, kinds }
}

const fn lsm(name: &'static str, at: &'static str, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Lsm(at), hook: Hook::Lsm, kinds }
}

const fn call(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Call(kind), hook: Hook::SysExit, kinds }
}

const fn operation(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Operation(kind), hook: Hook::IoUring, kinds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let check = |release, expected| assert_eq!(is_after_6_18(release), expected, "{release}");
        check("5.10.0-32-amd64", false);
        check("6.18.44-fc-v669", false);
        check("6.19.1", true);
        check("7.2.13+deb14-amd64", true);
        check("nonsense", false);
    }
}
