//! The capabilities of the agent: what it needs, what is missing, and what each half gives up.
//!
//! | thread | keeps |
//! |---|---|
//! | hot half | the four of [`NEEDED`]: hooks are attached again, and processes looked at, as long as it runs |
//! | delivery, which talks to the network | none |
//! | captures | as the hot half |
//!
//! As root all keep also what [`FILES`] names: sinks may write to directories of others; and captures keep [`LIST`].

use std::collections::HashSet;

use caps::{CapSet, Capability, errors::CapsError};
use thiserror::Error;

use crate::source::Own;

/// A capability that the agent needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// It.
    pub capability: Capability,
    /// Whether the agent does not even start without.
    pub must: bool,
    /// What it is for.
    pub what: &'static str,
    /// What does not work without.
    pub without: &'static str,
}

/// What the agent needs when it is not root (capabilities(7)).
pub const NEEDED: &[Need] = &[
    Need {
        capability: Capability::CAP_BPF,
        must: true,
        what: "makes maps, loads programs, reads counts",
        without: "no eBPF program can be loaded: nothing is collected",
    },
    Need {
        capability: Capability::CAP_PERFMON,
        must: false,
        what: "attaches programs to tracepoints, which read kernel memory; also again, when one was taken away",
        without: "no program can be attached to a tracepoint: nothing is collected, and the log says so",
    },
    Need {
        capability: Capability::CAP_SYS_PTRACE,
        must: false,
        what: "reads executable and namespaces of processes that began before the agent",
        without: "of processes of other users that began before the agent, the executable is not known",
    },
    Need {
        capability: Capability::CAP_DAC_READ_SEARCH,
        must: false,
        what: "reaches the names of the programs in /sys/fs/bpf, and tracefs, which are root's alone",
        without: "the programs have no names in /sys/fs/bpf: they end with the agent, and its restart misses events; after \
                  Linux 6.18 no tracepoint can be found either",
    },
];

/// What root keeps besides: its sinks may use files of others, and give them away.
const FILES: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_NET_BIND_SERVICE,
];

/// Without it the kernel names no eBPF program of others. Only root has it.
const LIST: Capability = Capability::CAP_SYS_ADMIN;

/// Why rights cannot be as they should be.
#[derive(Debug, Error)]
pub enum RightsError {
    /// One is missing that nothing works without.
    #[error(
        "{capability} is missing: {without}. Start as root, or by the unit, or with `AmbientCapabilities={}`",
        all()
    )]
    Missing {
        /// The capability.
        capability: Capability,
        /// What does not work.
        without: &'static str,
    },
    /// They cannot be read or given up.
    #[error("capabilities: {0}")]
    Caps(#[from] CapsError),
}

/// The names of all that are needed.
fn all() -> String {
    NEEDED.iter().map(|need| need.capability.to_string()).collect::<Vec<_>>().join(" ")
}

/// Looks at what this process may. Returns what works without, but not all.
pub fn missing() -> Result<Vec<&'static Need>, RightsError> {
    let held = caps::read(None, CapSet::Effective)?;
    // it has both of what came out of it (Linux 5.8)
    let has_all = held.contains(&Capability::CAP_SYS_ADMIN);
    let came_out = [Capability::CAP_BPF, Capability::CAP_PERFMON];
    let is_there = |need: &&Need| held.contains(&need.capability) || (has_all && came_out.contains(&need.capability));
    let missing: Vec<_> = NEEDED.iter().filter(|need| !is_there(need)).collect();
    match missing.iter().find(|need| need.must) {
        Some(Need { capability, without, .. }) => Err(RightsError::Missing { capability: *capability, without }),
        None => Ok(missing),
    }
}

impl Need {
    /// The record about one that is missing.
    pub fn degraded(&self) -> Own {
        let why = format!("{} is missing: {}", self.capability, self.without);
        tracing::warn!("{why}");
        Own::Degraded { program: "capabilities", kinds: Vec::new(), why }
    }
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the kernel to the disk.
    Hot,
    /// From the disk to the sinks.
    Delivery,
    /// Looks into processes when somebody asks.
    Captures,
}

/// Gives up, for this thread and those it starts, what its half does not need, for good.
pub fn give_up(half: Half) -> Result<(), RightsError> {
    let mut keep: HashSet<Capability> = HashSet::new();
    if half != Half::Delivery {
        keep.extend(NEEDED.iter().map(|need| need.capability));
    }
    if nix::unistd::geteuid().is_root() {
        keep.extend(FILES);
    }
    if half == Half::Captures {
        keep.insert(LIST);
    }
    let held = caps::read(None, CapSet::Permitted)?;
    let keep: HashSet<_> = keep.intersection(&held).copied().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)?;
    Ok(())
}
