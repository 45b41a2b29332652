//! Credentials that change though no call changed them: something in the kernel did it.
//!
//! ```text
//!  fork: the child has its parent's        setid, namespace: what comes after holds
//!  exec: what comes after holds; what was before must be what was known
//! ```
//!
//! The ids and the user namespace of each thread are remembered. Events of the critical lane alone are compared: they
//! come in the order in which they happened, and calls that change credentials are among them. So a change shows at the
//! next exec, fork, exit or privileged call. Events of the bulk lane may overtake the call that explains them.
//!
//! Limits: what a process that was there before the agent had done is learned, not judged; another user namespace in the
//! first event of a child is taken for that of `CLONE_NEWUSER`; 32-bit numbers of x32 are not decoded by the kernel half.

use std::collections::HashMap;

use common::{
    Body, Call, Event, Header, Hook, Kind, Lane, Prefix,
    event::{CredChange, Exec, Fork},
    names::CallName,
    wire::{Id, UNSET},
};
use zerocopy::IntoBytes as _;

/// At most this many threads are remembered. Beyond it all are forgotten, and learned anew.
const THREADS: usize = 65_536;
/// Different credentials of a process that are remembered, for its new threads.
const HISTORY: usize = 16;
/// Bytes of the event that is made.
const MADE: usize = size_of::<Prefix>() + size_of::<Header>() + size_of::<CredChange>();

/// Real, saved, effective and file user and group ids, in the order of `struct cred`, and the user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    ids: [u32; 8],
    user_ns: u32,
}

impl Ids {
    fn of(header: &Header) -> Self {
        let it = header;
        let ids = [it.uid, it.gid, it.suid, it.sgid, it.euid, it.egid, it.fsuid, it.fsgid];
        Self { ids: ids.map(|id| id.0), user_ns: it.user_ns }
    }

    /// Before an exec; `None` when the kernel half had forgotten them.
    fn before(exec: &Exec, header: &Header) -> Option<Self> {
        let it = exec;
        let ids =
            [it.old_uid, it.old_gid, it.old_suid, it.old_sgid, it.old_euid, it.old_egid, it.old_fsuid, it.old_fsgid];
        let ids = ids.map(|id| id.0);
        (!ids.contains(&UNSET)).then_some(Self { ids, user_ns: header.user_ns })
    }
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    start: u64,
    ids: Ids,
    last: Call,
    /// It has done nothing yet.
    newborn: bool,
}

#[derive(Clone, Debug)]
struct Process {
    start: u64,
    /// What its threads had, newest last.
    seen: Vec<Ids>,
    /// All that its threads had is in `seen`.
    whole: bool,
}

/// What is known about the credentials of all threads.
#[derive(Debug, Default)]
pub struct Credentials {
    threads: HashMap<u32, Thread>,
    processes: HashMap<u32, Process>,
    made: Vec<u64>,
}

impl Credentials {
    /// Follows an event. When it shows credentials that nothing explains, the event that says so: it has the header of
    /// the one that shows it.
    pub fn follow(&mut self, event: &Event<'_>) -> Option<Event<'_>> {
        let told = matches!(event.hook, Hook::SysExit | Hook::Exec | Hook::Fork | Hook::Exit);
        if !told || event.kind().lane() == Lane::Bulk || event.kind() == Kind::CredChange {
            return None;
        }
        if self.threads.len() >= THREADS || self.processes.len() >= THREADS {
            self.forget();
        }
        let (header, start) = (event.header, event.prefix.start);
        let execs = match event.body {
            Body::Exec(exec) if event.hook == Hook::Exec => Some(exec),
            _ => None,
        };
        let after = Ids::of(header);
        let now = execs.map_or(Some(after), |exec| Ids::before(exec, header));
        let explained = match event.kind() {
            Kind::Setid | Kind::Namespace => header.ret >= 0,
            _ => false,
        };
        let old = now.filter(|_| !explained).and_then(|now| self.unexplained(header, start, now, execs.is_some()));
        if execs.is_some() {
            self.processes.remove(&header.pid);
        }
        self.learn(header.pid, header.tid, start, after, execs.is_some(), event.call);
        match event.body {
            Body::Fork(fork) => self.born(fork, after),
            Body::Exit(_) => self.end(header.pid, header.tid),
            _ => {}
        }
        let (ids, last) = old?;
        self.make(event, ids, last)
    }

    /// Forgets all: events were lost, and what explains a change may be among them.
    pub fn forget(&mut self) {
        self.threads.clear();
        self.processes.clear();
    }

    /// What a thread had before, when that should be what it has now and is not.
    fn unexplained(&self, header: &Header, start: u64, now: Ids, execs: bool) -> Option<(Ids, Call)> {
        let process = self.processes.get(&header.pid).filter(|it| it.start == start);
        let of_process = |ids: &Ids| process.is_some_and(|it| it.seen.contains(ids));
        match self.threads.get(&header.tid).filter(|it| it.start == start) {
            Some(thread) if thread.ids == now => None,
            Some(thread) if thread.newborn && thread.ids.ids == now.ids => None,
            // any thread may exec: it takes the number of the first one
            Some(_) if execs && (of_process(&now) || process.is_none_or(|it| !it.whole)) => None,
            Some(thread) => Some((thread.ids, thread.last)),
            // a new thread has what the one had that made it
            None => process
                .filter(|it| it.whole && !it.seen.contains(&now))
                .and_then(|it| Some((*it.seen.last()?, Call::None))),
        }
    }

    fn learn(&mut self, pid: u32, tid: u32, start: u64, ids: Ids, whole: bool, last: Call) {
        self.threads.insert(tid, Thread { start, ids, last, newborn: false });
        let process = self.processes.entry(pid).or_insert(Process { start, seen: Vec::new(), whole });
        if process.start != start {
            *process = Process { start, seen: Vec::new(), whole };
        }
        if !process.seen.contains(&ids) {
            if process.seen.len() == HISTORY {
                process.seen.remove(0);
                process.whole = false;
            }
            process.seen.push(ids);
        }
    }

    fn born(&mut self, fork: &Fork, ids: Ids) {
        let (pid, start) = (fork.child_pid, fork.child_start);
        self.processes.remove(&pid);
        self.learn(pid, pid, start, ids, true, Call::None);
        self.threads.entry(pid).and_modify(|it| it.newborn = true);
    }

    fn end(&mut self, pid: u32, tid: u32) {
        self.processes.remove(&pid);
        self.threads.remove(&pid);
        self.threads.remove(&tid);
    }

    fn make(&mut self, shown_by: &Event<'_>, old: Ids, last: Call) -> Option<Event<'_>> {
        // in the order of `struct cred`
        let ids = old.ids.map(Id);
        let body = CredChange {
            old_uid: ids[0],
            old_gid: ids[1],
            old_suid: ids[2],
            old_sgid: ids[3],
            old_euid: ids[4],
            old_egid: ids[5],
            old_fsuid: ids[6],
            old_fsgid: ids[7],
            old_user_ns: old.user_ns,
            last_call: CallName(u32::from(last as u8)),
        };
        let prefix = Prefix { kind: Kind::CredChange as u16, call: 0, tail: 0, ..*shown_by.prefix };
        let header = Header { ret: 0, ..*shown_by.header };
        self.made.clear();
        self.made.resize(MADE.div_ceil(8), 0);
        let bytes = [prefix.as_bytes(), header.as_bytes(), body.as_bytes()].concat();
        self.made.as_mut_bytes()[..MADE].copy_from_slice(&bytes);
        Event::decode(self.made.as_bytes()).ok()
    }
}
