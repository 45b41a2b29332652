//! Which programs the kernel half has, where they attach, and which kinds they serve.

use common::{Hook, Kind};

/// How programs read kernel memory, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// By typed loads.
    Fast,
    /// By a helper call for each field.
    Base,
}

impl Family {
    /// All families.
    pub const ALL: &'static [Family] = &[Self::Fast, Self::Base];

    /// The end of its programs' names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Base => "base",
        }
    }
}

/// How a program is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It sits on a tracepoint.
    Tracepoint(&'static str),
    /// Another program on `sys_exit` jumps to it for a kind.
    Call(Kind),
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

/// All programs. `sys_exit` comes last: it jumps to the others.
pub const PROGRAMS: &[Program] = &[
    tracepoint("fork", "sched_process_fork", Hook::Fork, &[Kind::Fork]),
    tracepoint("exit", "sched_process_exit", Hook::Exit, &[Kind::Exit]),
    tracepoint("old_credentials", "task_rename", Hook::Exec, &[]),
    tracepoint("exec", "sched_process_exec", Hook::Exec, &[Kind::Exec]),
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
    call("send", Kind::Send, &[Kind::Send]),
    tracepoint("sys_exit", "sys_exit", Hook::SysExit, &[]),
];

const fn tracepoint(name: &'static str, at: &'static str, hook: Hook, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Tracepoint(at), hook, kinds }
}

const fn call(name: &'static str, kind: Kind, kinds: &'static [Kind]) -> Program {
    Program { name, entry: Entry::Call(kind), hook: Hook::SysExit, kinds }
}
