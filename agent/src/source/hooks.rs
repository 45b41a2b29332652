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
}

/// Whether tracepoints of this kernel can be preempted (see [`Family::Perf`]). Measured: 6.18 not, 7.2 yet; what lies
/// between was not.
fn is_after_6_18(release: &str) -> bool {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit()).map_while(|it| it.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) > (6, 18)
}

/// How a program is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It sits on a tracepoint: its group in tracefs, and its names on different kernels, of which one is there.
    Tracepoint(&'static str, &'static [&'static str]),
    /// The program of a tracepoint jumps to it for a kind.
    Jump(Jump, Kind),
}

/// The tracepoints whose program jumps to that of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// A system call returns.
    Call,
    /// An operation of io_uring(7) is done.
    Complete,
    /// One is asked for that will not be told when it is done.
    Submit,
}

impl Jump {
    /// All of them.
    pub const ALL: &'static [Jump] = &[Self::Call, Self::Complete, Self::Submit];

    /// The names of the tracepoint, see [`Entry::Tracepoint`].
    pub const fn tracepoint(self) -> &'static [&'static str] {
        match self {
            Self::Call => &["sys_exit"],
            Self::Complete => &["io_uring_complete"],
            Self::Submit => &["io_uring_submit_req", "io_uring_submit_sqe"],
        }
    }

    /// The map with the programs that it jumps to.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Call => "PROGRAMS",
            Self::Complete => "COMPLETE",
            Self::Submit => "SUBMIT",
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

/// What processes do is always told: the process table lives by it.
const ALWAYS: &[Kind] = &[];
/// The kinds of operations of io_uring(7).
const URING: &[Kind] = &[
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
];

/// All programs. One that jumps comes after those that it jumps to.
pub const PROGRAMS: &[Program] = &[
    tracepoint("fork", "sched", &["sched_process_fork"], Hook::Fork, &[Kind::Fork]),
    tracepoint("exit", "sched", &["sched_process_exit"], Hook::Exit, &[Kind::Exit]),
    tracepoint("old_credentials", "task", &["task_rename"], Hook::Exec, ALWAYS),
    tracepoint("exec", "sched", &["sched_process_exec"], Hook::Exec, &[Kind::Exec]),
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
    call("send", Kind::Send, &[Kind::Send, Kind::Dns]),
    call("socket", Kind::Socket, &[Kind::Socket]),
    tracepoint("sys_exit", "raw_syscalls", Jump::Call.tracepoint(), Hook::SysExit, ALWAYS),
    complete("uring_open", Kind::Open, &[Kind::Open]),
    complete("uring_unlink", Kind::Unlink, &[Kind::Unlink, Kind::Rmdir]),
    complete("uring_rename", Kind::Rename, &[Kind::Rename]),
    complete("uring_link", Kind::Link, &[Kind::Link]),
    complete("uring_symlink", Kind::Symlink, &[Kind::Symlink]),
    complete("uring_truncate", Kind::Truncate, &[Kind::Truncate]),
    complete("uring_connect", Kind::Connect, &[Kind::Connect]),
    complete("uring_bind", Kind::Bind, &[Kind::Bind]),
    complete("uring_listen", Kind::Listen, &[Kind::Listen]),
    complete("uring_accept", Kind::Accept, &[Kind::Accept]),
    complete("uring_send", Kind::Send, &[Kind::Send]),
    complete("uring_socket", Kind::Socket, &[Kind::Socket]),
    tracepoint("uring_complete", "io_uring", Jump::Complete.tracepoint(), Hook::IoUring, URING),
    submit("uring_open_early", Kind::Open, &[Kind::Open]),
    submit("uring_unlink_early", Kind::Unlink, &[Kind::Unlink, Kind::Rmdir]),
    submit("uring_rename_early", Kind::Rename, &[Kind::Rename]),
    submit("uring_link_early", Kind::Link, &[Kind::Link]),
    submit("uring_symlink_early", Kind::Symlink, &[Kind::Symlink]),
    submit("uring_truncate_early", Kind::Truncate, &[Kind::Truncate]),
    submit("uring_connect_early", Kind::Connect, &[Kind::Connect]),
    submit("uring_bind_early", Kind::Bind, &[Kind::Bind]),
    submit("uring_listen_early", Kind::Listen, &[Kind::Listen]),
    submit("uring_accept_early", Kind::Accept, &[Kind::Accept]),
    submit("uring_send_early", Kind::Send, &[Kind::Send]),
    submit("uring_socket_early", Kind::Socket, &[Kind::Socket]),
    tracepoint("uring_submit", "io_uring", Jump::Submit.tracepoint(), Hook::IoUringSubmit, URING),
];

const fn tracepoint(
    name: &'static str,
    group: &'static str,
    names: &'static [&'static str],
    hook: Hook,
    kinds: &'static [Kind],
) -> Program {
    Program { name, entry: Entry::Tracepoint(group, names), hook, kinds }
}

const fn call(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Jump(Jump::Call, kind), hook: Hook::SysExit, kinds }
}

const fn complete(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Jump(Jump::Complete, kind), hook: Hook::IoUring, kinds }
}

const fn submit(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Jump(Jump::Submit, kind), hook: Hook::IoUringSubmit, kinds }
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
