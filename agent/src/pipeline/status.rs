//! The state of the hot half, for `status`.

use std::collections::BTreeMap;

use common::filter::Counts;
use serde::{Deserialize, Serialize};

use super::{
    meter::Delays,
    tally::{Marks, Total},
};
use crate::source::{
    Kernel,
    hooks::{Entry, Program},
};

/// A program of the kernel half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Its name.
    pub program: String,
    /// Where it sits.
    pub at: String,
    /// Why it does not run; `None` when it does.
    pub degraded: Option<String>,
}

/// What happened to the events of a hook since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCounts {
    /// The hook.
    pub hook: String,
    /// Events of audited calls that came by.
    pub seen: u64,
    /// Not wanted.
    pub filtered: u64,
    /// Sent to the user half.
    pub sent: u64,
    /// Wanted, and there was no room.
    pub lost: u64,
    /// Sent with a value cut short.
    pub truncated: u64,
}

/// How much a program of the kernel half ran, since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRuns {
    /// Its name.
    pub program: String,
    /// How often.
    pub runs: u64,
    /// For how long, in nanoseconds.
    pub nanoseconds: u64,
}

/// The state of the hot half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How programs read kernel memory.
    pub family: String,
    /// Programs of the kernel half.
    pub hooks: Vec<HookStatus>,
    /// Counts of each hook.
    pub counts: Vec<HookCounts>,
    /// Times that the kernel left out a program of ours.
    pub skipped: u64,
    /// How much the programs ran; empty while the kernel does not measure it (`kernel.bpf_stats_enabled`).
    #[serde(default)]
    pub runs: Vec<ProgramRuns>,
    /// Totals since the start.
    pub total: Total,
    /// Records since the start, by kind.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// Events from the kernel half in the last second or so, per second.
    pub rate: u64,
    /// Bytes of events that wait in memory.
    #[serde(default)]
    pub queue_bytes: u64,
    /// How long records took until they were durable.
    #[serde(default)]
    pub delays: Delays,
    /// Events that each rule kept.
    #[serde(default)]
    pub rules: BTreeMap<String, u64>,
    /// Digest of the policy, as headers have it.
    #[serde(default)]
    pub policy: String,
    /// Times that the wall clock stepped.
    #[serde(default)]
    pub clock_steps: u64,
    /// Processes in the table.
    pub processes: usize,
    /// Name of the log.
    pub origin: String,
    /// The public host key that signs (name+id+key).
    #[serde(default)]
    pub host_key: String,
    /// Number of the last batch that is durable.
    pub last_batch: Option<u64>,
    /// When that was sealed, RFC 3339.
    pub last_sealed: Option<String>,
    /// Head of the log: `origin size root`.
    pub head: Option<String>,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// Bytes that it may take.
    #[serde(default)]
    pub spool_max_bytes: u64,
    /// Seconds since 1970 at which an event that the agent made itself last was in a durable batch; `None` where nobody
    /// waits for that, or never yet.
    #[serde(default)]
    pub selftest: Option<u64>,
    /// What the threads of the agent may though they need not, and why that could not be given up.
    #[serde(default)]
    pub unconfined: Vec<String>,
    /// Why the log cannot be written at the moment.
    pub trouble: Option<String>,
}

/// Fills in the kernel half's part of the state.
pub(super) fn describe(kernel: &Kernel, marks: &Marks, status: &mut Status) {
    kernel.family().name().clone_into(&mut status.family);
    status.hooks = hook_status(kernel);
    status.skipped = marks.skipped;
    status.queue_bytes = kernel.waiting_bytes();
    status.counts = marks.counts.iter().map(|(hook, counts)| HookCounts::of(hook.name(), counts)).collect();
}

/// How much each program ran.
pub(super) fn program_runs(kernel: &Kernel) -> Vec<ProgramRuns> {
    let runs = kernel.runs().into_iter();
    runs.map(|(program, runs, nanoseconds)| ProgramRuns { program: program.to_owned(), runs, nanoseconds }).collect()
}

/// Where a program sits, in words.
pub fn place(program: &Program) -> String {
    match program.entry {
        Entry::Tracepoint(_, at) | Entry::Lsm(at) => at.to_owned(),
        Entry::Call(kind) => format!("sys_exit, {}", kind.name()),
        Entry::Operation(kind) => format!("io_uring_complete, {}", kind.name()),
        Entry::Judge => "sys_exit, after the others".to_owned(),
    }
}

/// What became of each program.
fn hook_status(kernel: &Kernel) -> Vec<HookStatus> {
    let programs = kernel.attached().iter().map(|attached| HookStatus {
        program: attached.program.name.to_owned(),
        at: place(&attached.program),
        degraded: attached.failed.clone(),
    });
    programs.collect()
}

impl HookCounts {
    /// Those of a hook, over all CPUs.
    pub fn of(hook: &str, counts: &Counts) -> Self {
        let Counts { seen, filtered, sent, lost, truncated, .. } = *counts;
        Self { hook: hook.to_owned(), seen, filtered, sent, lost, truncated }
    }
}
