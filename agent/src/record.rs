//! A record: an event, what the agent knows about its process, and what the policy says to it.
//!
//! [`json`] writes it as one line of the log; [`Slot`] names one of its fields for the policy.

pub mod errno;
pub mod field;
pub mod json;
mod mismatch;
#[cfg(test)]
pub(crate) mod sample;
pub mod words;

use common::Event;
pub use field::{ContextField, Derived, Part, Slot};
pub use mismatch::{line as mismatch, mismatches};

/// What the policy decided about an event, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Not recorded.
    #[default]
    Drop,
    /// Recorded.
    Keep,
    /// Recorded, and the batch is sealed at once.
    Alert,
    /// Recorded as an alert, and the process is captured.
    Capture,
}

impl Verdict {
    /// Its name in policies and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Keep => "keep",
            Self::Alert => "alert",
            Self::Capture => "capture",
        }
    }
}

/// A verdict and the rule that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// What to do with the event.
    pub verdict: Verdict,
    /// The `id` of the rule; empty when no rule matched.
    pub rule: &'a str,
}

/// What the agent knows about the process of an event, at the time of the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Name of `uid`, `euid`, `auid`; `None` when there is none.
    pub user: Option<&'a str>,
    /// Name of `euid`.
    pub euser: Option<&'a str>,
    /// Name of `auid`.
    pub auser: Option<&'a str>,
    /// Name of `gid`.
    pub group: Option<&'a str>,
    /// The process.
    pub process: Option<&'a Process>,
}

/// A process as the process table has it. It is written into every record of the process, so it is kept as JSON
/// beside its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// First eight digits of the boot id, process id and start time in clock ticks: the same after a restart of
    /// the agent, another after the reuse of the process id.
    pub id: String,
    /// The program it runs.
    pub exe: Option<Vec<u8>>,
    /// Its parent.
    pub parent: Option<Relative>,
    /// Programs of its ancestors, the parent first, each ended by a NUL.
    pub ancestors: Vec<u8>,
    /// Whether all of the above was seen: false when the agent came late or events were lost.
    pub complete: bool,
    /// Path of its control group.
    pub cgroup: Option<String>,
    /// Its container.
    pub container: Option<Container>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// All of the above as one canonical JSON object, made by [`json::process`].
    pub json: Vec<u8>,
}

/// The parent of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relative {
    /// See [`Process::id`].
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// The program it runs.
    pub exe: Option<Vec<u8>>,
}

/// The container of a process, as its control group names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits for the usual runtimes.
    pub id: String,
    /// `docker`, `podman`, `containerd`, `cri-o`, `kubernetes`, `lxc`, `nspawn`, or empty when unknown.
    pub runtime: &'static str,
}

/// One line of the log before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What the kernel half sent.
    pub event: Event<'a>,
    /// What the agent knows.
    pub context: Context<'a>,
}
