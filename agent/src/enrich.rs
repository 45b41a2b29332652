//! What the agent knows about the process of an event, at the time of the event.
//!
//! The process table is made from /proc once and kept by the very events that pass, on the one thread that reads them:
//! table and event cannot race. Where events were lost, /proc is asked again and the entry says so: a process is
//! [complete](crate::record::Process::complete) when its fork and its execs were seen, and those of its ancestors down
//! from what was there when the agent started. Parent and ancestors are those of the fork, with the programs that they
//! ran then: later ones did not make this process.
//!
//! ```text
//!             fork: child = parent's program, line and place
//!             exec: program          exit: removed a while later
//! event ──▶ process ──▶ place (control group ──▶ container, unit) ──▶ user names ──▶ Context
//! ```
//!
//! An event of a known process costs one look-up in a hash table and no allocation. Memory is bounded, see
//! [`Options::processes`].

mod container;
mod credentials;
mod place;
mod proc;
mod process;
mod table;
#[cfg(test)]
mod tests;
mod unit;
mod user;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use common::{
    Body, Event, Record as _, Value,
    event::{Exec, Fork},
    wire::mark,
};
use nix::unistd::{SysconfVar, sysconf};

use crate::record::{Context, json};
pub use credentials::Credentials;
use place::Places;
use proc::{Proc, Seed};
use process::{Entry, Known};
use table::{At, Table};
use user::Users;

/// Missing parents are looked up in /proc up to this many levels at once.
const CHAIN: usize = 64;

/// Why the agent cannot know processes. All of it is found at the start.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    /// Mount procfs there, or let the agent read it.
    #[error("cannot list the processes in {path}")]
    Proc {
        /// The procfs.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Give the text of /proc/sys/kernel/random/boot_id.
    #[error("the boot id {0:?} does not start with eight hexadecimal digits")]
    BootId(String),
    /// The machine does not say how long a clock tick is.
    #[error("cannot tell the clock ticks of a second")]
    ClockTicks(#[source] Option<nix::Error>),
}

/// What [`Enrich::prime`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The text of /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// The procfs of the initial pid namespace.
    pub proc: PathBuf,
    /// The root directory of the host, below which names of users and groups are read.
    pub root: PathBuf,
    /// The process table holds at most this many. Beyond it, those that exited go first, then those without events;
    /// when they come back, they are not complete.
    pub processes: usize,
}

impl Options {
    /// The usual ones: /proc, /, and 65,536 processes.
    pub fn new(boot_id: impl Into<String>) -> Self {
        Self { boot_id: boot_id.into(), proc: "/proc".into(), root: "/".into(), processes: 65_536 }
    }
}

/// What the agent knows about processes and users.
#[derive(Debug)]
pub struct Enrich {
    boot: String,
    /// Nanoseconds of a clock tick.
    tick: u64,
    proc: Proc,
    table: Table,
    places: Places,
    users: Users,
    scratch: Vec<u8>,
}

impl Enrich {
    /// Reads /proc once: every process that is there gets an entry. Do it after the programs of the kernel half are
    /// attached and before the first event is read: then the events tell what happened meanwhile.
    pub fn prime(options: Options) -> Result<Self, EnrichError> {
        let boot = options.boot_id.get(..8).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let boot = boot.ok_or_else(|| EnrichError::BootId(options.boot_id.clone()))?.to_owned();
        let mut it = Self::empty(boot, options)?;
        let pids = it.proc.pids().map_err(|source| EnrichError::Proc { path: it.proc.path().to_owned(), source })?;
        let mut seeds: HashMap<u32, Seed> = pids.iter().filter_map(|pid| Some((*pid, it.proc.seed(*pid)?))).collect();
        for pid in pids {
            it.seat_line(pid, Known::Found, |_, pid| seeds.remove(&pid));
        }
        Ok(it)
    }

    /// Knows what the events tell and nothing of this host: for recorded streams, which are of another time or host.
    pub fn of_events() -> Result<Self, EnrichError> {
        let nowhere = PathBuf::from("/nonexistent");
        let options = Options { proc: nowhere.clone(), root: nowhere, ..Options::new("") };
        Self::empty("00000000".to_owned(), options)
    }

    fn empty(boot: String, options: Options) -> Result<Self, EnrichError> {
        let proc = Proc::new(options.proc);
        Ok(Self {
            boot,
            tick: tick()?,
            table: Table::new(options.processes),
            places: Places::new(&proc),
            users: Users::load(&options.root),
            scratch: Vec::new(),
            proc,
        })
    }

    /// Updates the table by fork, exec and exit events, and returns the context of any event: as it is after a
    /// successful exec, and before an exit.
    pub fn context(&mut self, event: &Event<'_>) -> Context<'_> {
        let header = event.header;
        self.users.refresh(header.ktime);
        self.table.expire(header.ktime);
        let at = self.process(event);
        self.table.touch(at).used = true;
        self.follow_cgroup(at, event);
        match event.body {
            Body::Fork(fork) => self.fork(at, fork, header.ktime),
            Body::Exec(_) if header.ret == 0 => self.exec(at, event),
            Body::Exit(_) => self.table.exit(at, header.ktime),
            _ => {}
        }
        self.table.write_out(at, &self.boot);
        Context {
            user: self.users.user(header.uid),
            euser: self.users.user(header.euid),
            auser: self.users.user(header.auid),
            group: self.users.group(header.gid),
            process: self.table.entry(at).view(),
        }
    }

    /// Number of processes in the table.
    pub fn processes(&self) -> usize {
        self.table.len()
    }

    /// The entry of the process of an event. The start tells whether it is the one that has the id now.
    fn process(&mut self, event: &Event<'_>) -> At {
        let pid = event.header.pid;
        let ticks = event.prefix.start / self.tick;
        match self.table.find(pid).map(|at| (at, self.table.entry(at).ticks)) {
            Some((at, known)) if known == ticks => at,
            Some((_, known)) if known > ticks => self.table.set_stray(Entry::new(pid, ticks)),
            _ => self.learn(pid, ticks, event),
        }
    }

    /// Makes the entry of a process whose fork was lost: from /proc if it is there still, else its ancestors alone. A
    /// program is not inherited by guess: it would be a wrong one after a lost exec.
    fn learn(&mut self, pid: u32, ticks: u64, event: &Event<'_>) -> At {
        let seed = self.proc.seed(pid).filter(|seed| seed.ticks == ticks);
        let parent = seed.as_ref().map_or(event.header.ppid, |seed| seed.ppid);
        self.seat_line(parent, Known::Partly, Proc::seed);
        if let Some(seed) = seed {
            return self.seat(pid, &seed, Known::Partly);
        }
        let entry = match self.older(parent, ticks) {
            Some(parent) => self.table.touch(parent).heir(pid, ticks),
            None => Entry::new(pid, ticks),
        };
        let at = self.table.insert(entry, None);
        // it is gone, and its exit may be lost too; if it is hidden, this is done again after a while
        self.table.exit(at, event.header.ktime);
        at
    }

    /// Makes entries for a process and for all ancestors that have none, from what `source` says about them.
    fn seat_line(&mut self, pid: u32, known: Known, mut source: impl FnMut(&Proc, u32) -> Option<Seed>) {
        let mut line = Vec::new();
        let mut next = pid;
        while next != 0 && line.len() < CHAIN && self.table.find(next).is_none() {
            let Some(seed) = source(&self.proc, next) else { break };
            let parent = seed.ppid;
            line.push((next, seed));
            next = parent;
        }
        for (pid, seed) in line.into_iter().rev() {
            self.seat(pid, &seed, known);
        }
    }

    /// Makes the entry of a process from /proc, as a child of the parent that it has now.
    fn seat(&mut self, pid: u32, seed: &Seed, known: Known) -> At {
        let parent = self.older(seed.ppid, seed.ticks);
        let mut entry = match parent {
            Some(parent) => self.table.touch(parent).heir(pid, seed.ticks),
            None => Entry::new(pid, seed.ticks),
        };
        let line = parent.map_or(seed.ppid == 0, |parent| self.table.entry(parent).known != Known::Partly);
        entry.known = if line && (seed.exe.is_some() || seed.kernel_thread) { known } else { Known::Partly };
        entry.set_exe(seed.exe.as_deref());
        let (id, place) = self.places.read(&seed.cgroup);
        entry.cgroup_id = id.unwrap_or_default();
        entry.place = place;
        self.table.insert(entry, None)
    }

    /// A process by id that may be the parent of one that started at `ticks`.
    fn older(&self, pid: u32, ticks: u64) -> Option<At> {
        self.table.find(pid).filter(|at| self.table.entry(*at).ticks <= ticks)
    }

    /// A process may be moved to another control group at any time.
    fn follow_cgroup(&mut self, at: At, event: &Event<'_>) {
        let header = event.header;
        let entry = self.table.entry(at);
        if entry.cgroup_id == header.cgroup_id || header.cgroup_id == 0 {
            return;
        }
        // not known by id before, but read from /proc: see `Places`
        let read = entry.cgroup_id == 0 && entry.place.cgroup.is_some() && self.places.is_mixed();
        if !read {
            let place = self.places.find(header.cgroup_id, entry.pid, entry.ticks, header.ktime, &self.proc);
            self.table.change(at).place = place;
        }
        self.table.touch(at).cgroup_id = header.cgroup_id;
    }

    fn fork(&mut self, caller: At, fork: &Fork, ktime: u64) {
        let (pid, ticks) = (fork.child_pid, fork.child_start / self.tick);
        let mut child = self.table.touch(caller).child(pid, ticks);
        if fork.child_ppid != self.table.entry(caller).pid {
            // CLONE_PARENT: the parent is another one than the caller
            if let Some(parent) = self.older(fork.child_ppid, ticks) {
                self.table.adopt_line(&mut child, parent);
            } else {
                child.known = Known::Partly;
                child.parent = None;
                child.ancestors = Arc::default();
            }
        }
        let mut exited = false;
        if let Some(before) = self.table.find(pid) {
            let before = self.table.entry(before);
            if before.ticks > ticks {
                return;
            }
            // events of the child on another CPU came first
            if before.ticks == ticks {
                exited = before.exited;
                if before.execed {
                    child.exe.clone_from(&before.exe);
                    child.execed = true;
                }
            }
        }
        let child = self.table.insert(child, Some(caller));
        if exited {
            self.table.exit(child, ktime);
        }
    }

    fn exec(&mut self, at: At, event: &Event<'_>) {
        let path = Exec::FIELDS.iter().position(|field| field.name == "path");
        let (value, marks) = path.map_or((Value::Null, 0), |at| (event.body_value(at), event.body_marks(at)));
        self.scratch.clear();
        json::plain(value, &mut self.scratch);
        let exe = Some(self.scratch.as_slice()).filter(|exe| !exe.is_empty());
        let entry = self.table.change(at);
        entry.set_exe(exe);
        entry.execed = true;
        if exe.is_none() || marks & mark::TRUNCATED != 0 {
            entry.known = Known::Partly;
        }
        if self.places.is_mixed()
            && let Some(lines) = self.proc.cgroup(entry.pid, entry.ticks)
        {
            let (_, place) = self.places.read(&lines);
            if place != entry.place {
                entry.place = place;
            }
        }
        self.table.weigh(at);
    }
}

/// Nanoseconds of a clock tick, the unit of start times in /proc.
fn tick() -> Result<u64, EnrichError> {
    let ticks = sysconf(SysconfVar::CLK_TCK).map_err(|error| EnrichError::ClockTicks(Some(error)))?;
    let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| (1..=1_000_000_000).contains(ticks));
    Ok(1_000_000_000 / ticks.ok_or(EnrichError::ClockTicks(None))?)
}
