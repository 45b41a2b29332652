//! What a verifier found.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::batch::BatchError;
use crate::header::{BatchKind, Gap, Header};
use crate::jcs::JcsError;
use crate::proof::Checkpoint;
use crate::text::{hex, time};
use crate::tree::Hash;

/// A step of the wall clock below this, in nanoseconds, is the slewing of an NTP client and not reported.
pub const STEP: u64 = 100_000_000;

/// Hooks that are told apart in [`Report::lost_by_hook`]; what more there are is counted as `other`.
const HOOKS: usize = 4096;

/// A list that keeps the first thousand entries and counts the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped<T> {
    kept: Vec<T>,
    count: u64,
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

impl<T> Capped<T> {
    const KEPT: usize = 1000;

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        self.count += 1;
        if self.kept.len() < Self::KEPT {
            self.kept.push(entry);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first ones.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.kept.iter()
    }
}

impl<'a, T> IntoIterator for &'a Capped<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is not there, or could not be checked. What is there may be believed.
    Incomplete,
    /// Something was changed, or signed by who should not have.
    Tampered,
}

/// The last word on a log, the worst one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All there is was checked and nothing was found.
    Verified,
    /// The worst finding is of this severity.
    Found(Severity),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum What {
    /// The seal line cannot be read or contradicts itself.
    #[error("the seal is broken: {0}")]
    Seal(BatchError),
    /// The lines are not those of the header.
    #[error("the event lines are not those that were sealed: `{0}` differs")]
    Lines(&'static str),
    /// A line is no event line.
    #[error("an event line is not in canonical form: {0}")]
    Event(JcsError),
    /// The batch is of another log.
    #[error("the batch belongs to another log: {0}")]
    Origin(String),
    /// The batch does not follow the one before.
    #[error("the header does not follow the one before: `{0}` does not continue")]
    Follows(&'static str),
    /// Two histories.
    #[error("the log forks: another batch with the same number, or another past, is signed")]
    Fork,
    /// The checkpoint is not signed by the host key.
    #[error("the host signature (key id {}) is not one of the expected host key", hex(.0))]
    HostSignature([u8; 4]),
    /// The host key that signed the checkpoint counts no more.
    #[error("the host key was revoked: it signs for batches up to {after}")]
    Revoked {
        /// The last batch that it signs for.
        after: u64,
    },
    /// The checkpoint is not signed by the chain key that the header before announced.
    #[error("the chain signature (key id {}) is not one of the chain key announced for this batch", hex(.0))]
    ChainSignature([u8; 4]),
    /// The new host key did not sign its announcement.
    #[error("the new host key did not sign the batch that announces it")]
    NewHostSignature,
    /// Batch 0 has no enrolment, or one of another key.
    #[error("batch 0 is not the enrolment of the host key of this log")]
    Enrolment,
    /// The log has another root than a head known from elsewhere.
    #[error("the root is not that of the known head")]
    Head,
    /// There is no key to check the signatures with.
    #[error("no host key is known (none given, batch 0 not there): signatures were not checked")]
    NoKey,
    /// The input does not begin at the beginning.
    #[error("the input begins with this batch, what was before is not there")]
    Begins,
    /// Batches are not there.
    #[error("batches {from} up to the one before this are missing")]
    Missing {
        /// The first one.
        from: u64,
    },
    /// A batch stands behind later ones and cannot be compared with a copy.
    #[error("the batch stands behind later ones")]
    Late,
    /// Only the seal is left.
    #[error("the {events} event lines are not there, only their seal is")]
    Absent {
        /// How many there were.
        events: u64,
    },
    /// Lines were replaced by their leaves.
    #[error("{lines} event lines are redacted")]
    Redacted {
        /// How many.
        lines: u64,
    },
    /// Lines at the end without a seal.
    #[error("{lines} unsealed lines at the end{}", if *.inside { ", the last one cut off" } else { "" })]
    Unsealed {
        /// How many.
        lines: u64,
        /// The input ends in the middle of a line.
        inside: bool,
    },
    /// A known head is beyond the end, within a hole, or of another log.
    #[error("a known head has {head} batches, the log does not show it")]
    Unshown {
        /// The size of the head.
        head: u64,
    },
    /// There is no seal at all.
    #[error("no sealed batch")]
    Empty,
    /// There is no batch of the time that is asked about.
    #[error("nothing was sealed since then: the last batch is {last}")]
    Silent {
        /// The last batch before.
        last: u64,
    },
    /// Nothing was sealed for longer than the auditor allows.
    #[error("silent since {}{}", time(*.since), if *.stopped { ", after a stop" } else { "" })]
    Quiet {
        /// The end of the last batch, in nanoseconds since 1970, by the clock of the host.
        since: u64,
        /// The last batch is the last one of a run of the agent.
        stopped: bool,
    },
    /// A receipt is not what it says.
    #[error("the receipt of {0} is not over this log")]
    Receipt(String),
    /// A time stamp is not what it says.
    #[error("{0} is no time stamp of the authority over its head")]
    Stamp(String),
    /// Too few witnesses.
    #[error("no state of the log was cosigned by as many witnesses as the policy wants")]
    Quorum,
    /// Events of a CPU are missing between batches, or there twice.
    #[error("cpu {cpu}: event {first} follows event {after}")]
    Cpu {
        /// The CPU.
        cpu: u32,
        /// The last event of the batch before.
        after: u64,
        /// The first of this one.
        first: u64,
    },
    /// More events of a CPU are lost than it had.
    #[error("cpu {0}: more events lost than counted")]
    CpuLost(u32),
    /// The account of a hook does not add up.
    #[error("the account of hook {0} does not add up")]
    Account(String),
    /// The total of the lost is less than its parts.
    #[error("`lost` is {total}, less than the accounts say")]
    Lost {
        /// The total.
        total: u64,
    },
    /// An input among others is something else.
    #[error("not a sealed log")]
    NotALog,
    /// The input could not be read to its end.
    #[error("the input cannot be read further: {0}")]
    Unreadable(String),
    /// The input is encrypted, and there is no identity for it.
    #[error("the input is encrypted (age), and there is no --identity for it: its lines were not checked")]
    Encrypted,
}

impl What {
    /// How bad it is. What the agent itself signed about losses is incomplete, not tampered.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Seal(_)
            | Self::Lines(_)
            | Self::Event(_)
            | Self::Origin(_)
            | Self::Follows(_)
            | Self::Fork
            | Self::HostSignature(_)
            | Self::Revoked { .. }
            | Self::ChainSignature(_)
            | Self::NewHostSignature
            | Self::Enrolment
            | Self::Head => Severity::Tampered,
            Self::NoKey
            | Self::Begins
            | Self::Missing { .. }
            | Self::Late
            | Self::Absent { .. }
            | Self::Redacted { .. }
            | Self::Unsealed { .. }
            | Self::Unshown { .. }
            | Self::Empty
            | Self::Silent { .. }
            | Self::Quiet { .. }
            | Self::Receipt(_)
            | Self::Stamp(_)
            | Self::Quorum
            | Self::Cpu { .. }
            | Self::CpuLost(_)
            | Self::Account(_)
            | Self::Lost { .. }
            | Self::NotALog
            | Self::Unreadable(_)
            | Self::Encrypted => Severity::Incomplete,
        }
    }

    /// Whether it says that something of one batch is not there: of a batch before the time that is asked about, that is
    /// no news.
    pub(super) fn is_of_its_batch(&self) -> bool {
        matches!(
            self,
            Self::Begins
                | Self::Missing { .. }
                | Self::Late
                | Self::Absent { .. }
                | Self::Redacted { .. }
                | Self::Receipt(_)
                | Self::Cpu { .. }
                | Self::CpuLost(_)
                | Self::Account(_)
                | Self::Lost { .. }
        )
    }
}

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The batch, if its number is known.
    pub batch: Option<u64>,
    /// Which input, counted from 0.
    pub input: usize,
    /// Which line of it, counted from 1: that of the seal, or of the event.
    pub line: u64,
    /// What is wrong.
    pub what: What,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(batch) = self.batch {
            write!(f, "batch {batch}, ")?;
        }
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        write!(f, "{}", self.what)
    }
}

/// A receipt, as a header tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The batch whose header has it.
    pub batch: u64,
    /// The size of the tree that was cosigned.
    pub size: u64,
    /// When, in seconds since 1970, as the witness says.
    pub time: u64,
    /// Whether a witness of the policy made it, over this log.
    pub checked: bool,
}

/// What a log says and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The identity of the log.
    pub origin: Option<String>,
    /// The node name in the last good header.
    pub host: Option<String>,
    /// The version of the agent in the last good header.
    pub agent: Option<String>,
    /// Good batches before [`super::Trust::since`]; of the rest of this report, only receipts and findings may be theirs.
    pub older: u64,
    /// Good batches, each counted once.
    pub batches: u64,
    /// Batches that were there again, the same.
    pub duplicates: u64,
    /// Event lines in good batches.
    pub events: u64,
    /// Redacted lines.
    pub redacted: u64,
    /// Batches without their payload.
    pub absent: u64,
    /// The ranges of those: first and last.
    pub absent_ranges: Capped<(u64, u64)>,
    /// The wall clock at the first opening and the last closing, in nanoseconds since 1970.
    pub wall: Option<(u64, u64)>,
    /// Events lost, by the `lost` lines.
    pub lost: u64,
    /// Events lost, by the accounts of the hooks.
    pub lost_by_hook: BTreeMap<String, u64>,
    /// What sinks did not get.
    pub gaps: Capped<Gap>,
    /// Ranges of batches that are not there: first and last.
    pub missing: Capped<(u64, u64)>,
    /// Starts of the agent.
    pub starts: u64,
    /// Starts without a stop before: the batch.
    pub unclean: Capped<u64>,
    /// Steps of the wall clock: the batch and the nanoseconds.
    pub steps: Capped<(u64, i64)>,
    /// Changes of the policy: the batch and the new hash.
    pub policies: Capped<(u64, Hash)>,
    /// Changes of the host key: the batch.
    pub rotations: Capped<u64>,
    /// The head of the log after the last good batch.
    pub last: Option<Checkpoint>,
    /// The kind of the last good batch: an end other than `stop` is a log that goes on, or was cut.
    pub last_kind: Option<BatchKind>,
    /// The last receipt of each witness, by its name.
    pub receipts: BTreeMap<String, Told>,
    /// The size of the log up to which the witnesses of the policy are enough.
    pub witnessed: Option<u64>,
    /// The heads known from elsewhere that the log shows.
    pub heads: Vec<Checkpoint>,
    /// When it was heard of last, if that is longer ago than the auditor allows.
    pub silent: Option<u64>,
    /// Lines at an end without a seal.
    pub unsealed: u64,
    /// Whether the auditor brought the host key.
    pub pinned: bool,
    /// What is wrong, in the order of the input.
    pub findings: Capped<Finding>,
    /// How many of the findings are [`Severity::Tampered`].
    pub tampered: u64,
    /// The first of those, also if a flood of other findings came before it.
    pub first_tampered: Option<Finding>,
}

impl Report {
    /// The last word.
    pub fn verdict(&self) -> Verdict {
        if self.tampered > 0 {
            Verdict::Found(Severity::Tampered)
        } else if self.findings.is_empty() {
            Verdict::Verified
        } else {
            Verdict::Found(Severity::Incomplete)
        }
    }

    /// Adds a finding; also for who reads the inputs and cannot.
    pub fn found(&mut self, finding: Finding) {
        if finding.what.severity() == Severity::Tampered {
            self.tampered += 1;
            self.first_tampered.get_or_insert_with(|| finding.clone());
        }
        self.findings.push(finding);
    }

    /// Looks whether a good batch ended at `time`, in nanoseconds since 1970, or later. If none did, that is a finding
    /// behind all `inputs`.
    pub fn heard_since(&mut self, time: u64, inputs: usize) {
        if let Some((_, since)) = self.wall.filter(|(_, end)| *end < time) {
            let stopped = self.last_kind == Some(BatchKind::Stop);
            self.silent = Some(since);
            self.found(Finding { batch: None, input: inputs, line: 0, what: What::Quiet { since, stopped } });
        }
    }

    /// Adds a good batch with so many lines, given the header before it if that was good too.
    pub(super) fn take(&mut self, header: &Header, head: &Checkpoint, lines: u64, before: Option<&Header>) {
        let (facts, number) = (&header.facts, header.batch);
        self.batches += 1;
        self.events += lines;
        let from = self.wall.map_or(facts.wall.0, |(from, _)| from);
        self.wall = Some((from, facts.wall.1));
        self.lost = self.lost.saturating_add(facts.lost);
        for account in facts.accounts.iter().filter(|account| account.lost > 0) {
            let known = self.lost_by_hook.len() < HOOKS || self.lost_by_hook.contains_key(&account.hook);
            let hook = if known { &account.hook } else { "other" };
            let lost = self.lost_by_hook.entry(hook.to_owned()).or_default();
            *lost = lost.saturating_add(account.lost);
        }
        facts.gaps.iter().for_each(|gap| self.gaps.push(gap.clone()));
        if matches!(facts.kind, BatchKind::Start | BatchKind::Recovered) {
            self.starts += 1;
            let clean = |before: &Header| matches!(before.facts.kind, BatchKind::Stop | BatchKind::Genesis);
            if before.is_some_and(|before| !clean(before)) {
                self.unclean.push(number);
            }
        }
        if facts.clock.step_ns.unsigned_abs() >= STEP {
            self.steps.push((number, facts.clock.step_ns));
        }
        if before.is_some_and(|before| before.facts.policy != facts.policy) {
            self.policies.push((number, facts.policy));
        }
        if header.hostkey.is_some() {
            self.rotations.push(number);
        }
        if self.host.as_deref() != Some(&*facts.host) {
            self.host = Some(facts.host.clone());
        }
        if self.agent.as_deref() != Some(&*facts.agent.version) {
            self.agent = Some(facts.agent.version.clone());
        }
        self.last = Some(head.clone());
        self.last_kind = Some(facts.kind);
    }
}
