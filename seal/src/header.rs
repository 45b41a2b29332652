//! The header of a batch: strict text, one fact a line, the leaf of the host's log.

use std::fmt;

use crate::note::Vkey;
use crate::tree::Hash;

mod parse;

pub use parse::HeaderError;

/// The first line of a header.
pub const VERSION: &str = "sigtrail/batch/v1";

/// The longest header in bytes: one more does not fit an entry of C2SP `tlog-tiles.md`.
pub const MAX_HEADER: usize = 65_535;

/// Why a batch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Batch 0: its one event line is the enrolment note.
    Genesis,
    /// The agent started.
    Start,
    /// Events.
    Events,
    /// Nothing to tell but that the agent lives, with the counters.
    Heartbeat,
    /// The agent stopped in order.
    Stop,
    /// The host key changes: the checkpoint carries the signatures of the old and of the new key.
    Rotate,
    /// The agent came back after an end without [`BatchKind::Stop`] and took over what it found.
    Recovered,
}

impl BatchKind {
    const ALL: [Self; 7] =
        [Self::Genesis, Self::Start, Self::Events, Self::Heartbeat, Self::Stop, Self::Rotate, Self::Recovered];

    /// The word in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Start => "start",
            Self::Events => "events",
            Self::Heartbeat => "heartbeat",
            Self::Stop => "stop",
            Self::Rotate => "rotate",
            Self::Recovered => "recovered",
        }
    }
}

/// What adjtimex(2) says, and how far the wall clock moved against the boot clock since the header before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Whether the clock is synchronised (no `STA_UNSYNC`).
    pub sync: bool,
    /// The largest error the kernel assumes, in microseconds.
    pub maxerr_us: u64,
    /// The change of (`CLOCK_REALTIME` - `CLOCK_BOOTTIME`) since the header before, in nanoseconds.
    pub step_ns: i64,
}

/// Which program made the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its version, a word.
    pub version: String,
    /// SHA-256 of `/proc/self/exe`.
    pub exe: Hash,
    /// SHA-256 of the loaded BPF object.
    pub bpf: Hash,
}

/// The events of one CPU in a batch: the kernel half numbers every event per CPU, also those that found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The CPU, as in `/proc/cpuinfo`.
    pub id: u32,
    /// The number of the first event.
    pub first: u64,
    /// The number of the last event.
    pub last: u64,
    /// How many between them found no room.
    pub lost: u64,
}

/// The account of one hook: `seen = kfilter + lost + recv` and `recv = ufilter + emit + merge`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The hook, a word.
    pub hook: String,
    /// How often it ran for something that could be an event.
    pub seen: u64,
    /// Dropped by the filter in the kernel.
    pub kfilter: u64,
    /// Wanted and not had.
    pub lost: u64,
    /// Received by the user half.
    pub recv: u64,
    /// Dropped by the policy in the user half.
    pub ufilter: u64,
    /// Written as an event line.
    pub emit: u64,
    /// Of those written, how many have a field cut short.
    pub trunc: u64,
    /// Told as part of a summary. The header says so only when there are any.
    pub merge: u64,
}

/// Why the payload of some batches never came to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The spool was full.
    Evict,
    /// The sink refused them for good.
    Quarantine,
    /// The sink was too far behind.
    Lag,
}

impl GapReason {
    const ALL: [Self; 3] = [Self::Evict, Self::Quarantine, Self::Lag];

    /// The word in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Quarantine => "quarantine",
            Self::Lag => "lag",
        }
    }
}

/// Batches that a sink did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The sink, a word.
    pub sink: String,
    /// The first batch.
    pub from: u64,
    /// The last batch.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{} {}", self.sink, self.from, self.to, self.reason.name())
    }
}

/// What the agent knows about a batch; the rest of the header comes from the chain and the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Why the batch was made.
    pub kind: BatchKind,
    /// The boot id, a word (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The node name (uname(2)).
    pub host: String,
    /// `CLOCK_BOOTTIME` in nanoseconds when the batch was opened and closed.
    pub mono: (u64, u64),
    /// The wall clock in nanoseconds since 1970 when the batch was opened and closed.
    pub wall: (u64, u64),
    /// The state of the wall clock.
    pub clock: Clock,
    /// The program.
    pub agent: Agent,
    /// SHA-256 of the text of the policy in effect.
    pub policy: Hash,
    /// Which programs number the events: another number means that they were loaded anew, and begin with 0. Within one
    /// load the numbers of each CPU go on, also over a start of the agent.
    pub load: Option<u64>,
    /// The CPUs with events in this batch, by ascending id.
    pub cpus: Vec<Cpu>,
    /// The accounts of the hooks, in any order, each hook once.
    pub accounts: Vec<Account>,
    /// All events lost in this batch, at any stage.
    pub lost: u64,
    /// What sinks did not get.
    pub gaps: Vec<Gap>,
    /// The last cosignature line of each witness (C2SP `tlog-cosignature.md`).
    pub receipts: Vec<String>,
    /// Extensions: names begin with `x-`; covered by the signature, ignored by verifiers.
    pub extensions: Vec<(String, String)>,
}

/// A header, whole. `Header::parse(&header.to_string())` gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The identity of the log.
    pub origin: String,
    /// The number of the batch, from 0.
    pub batch: u64,
    /// The root of the host's log before this batch.
    pub prev: Hash,
    /// The number of event lines.
    pub events: u64,
    /// The stream sequence of the first line; of the next one to come, if there is none.
    pub first: u64,
    /// The RFC 6962 root over the event lines.
    pub root: Hash,
    /// The length of the event lines in bytes, each with its LF.
    pub bytes: u64,
    /// What the agent says.
    pub facts: Facts,
    /// The chain key of the batch after this one.
    pub next: Vkey,
    /// The new host key, with [`BatchKind::Rotate`] only.
    pub hostkey: Option<Vkey>,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::text::{base64, hex, time};
        let facts = &self.facts;
        writeln!(f, "{VERSION}")?;
        writeln!(f, "origin {}", self.origin)?;
        writeln!(f, "batch {}", self.batch)?;
        writeln!(f, "prev {}", base64(&self.prev))?;
        writeln!(f, "kind {}", facts.kind.name())?;
        writeln!(f, "events {}", self.events)?;
        writeln!(f, "first {}", self.first)?;
        writeln!(f, "root {}", base64(&self.root))?;
        writeln!(f, "bytes {}", self.bytes)?;
        writeln!(f, "boot {}", facts.boot)?;
        writeln!(f, "host {}", facts.host)?;
        writeln!(f, "mono {} {}", facts.mono.0, facts.mono.1)?;
        writeln!(f, "wall {} {}", time(facts.wall.0), time(facts.wall.1))?;
        let clock = &facts.clock;
        writeln!(f, "clock sync={} maxerr_us={} step_ns={}", u8::from(clock.sync), clock.maxerr_us, clock.step_ns)?;
        let agent = &facts.agent;
        writeln!(f, "agent {} sha256:{} bpf sha256:{}", agent.version, hex(&agent.exe), hex(&agent.bpf))?;
        writeln!(f, "policy sha256:{}", hex(&facts.policy))?;
        facts.load.iter().try_for_each(|load| writeln!(f, "load {load}"))?;
        for cpu in &facts.cpus {
            writeln!(f, "cpu {} {} {} {}", cpu.id, cpu.first, cpu.last, cpu.lost)?;
        }
        for a in &facts.accounts {
            write!(f, "acct {} seen={} kfilter={} lost={} ", a.hook, a.seen, a.kfilter, a.lost)?;
            write!(f, "recv={} ufilter={} emit={} trunc={}", a.recv, a.ufilter, a.emit, a.trunc)?;
            if a.merge > 0 {
                write!(f, " merge={}", a.merge)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "lost {}", facts.lost)?;
        facts.gaps.iter().try_for_each(|gap| writeln!(f, "gap {gap}"))?;
        facts.receipts.iter().try_for_each(|receipt| writeln!(f, "receipt {receipt}"))?;
        writeln!(f, "next {}", self.next)?;
        self.hostkey.iter().try_for_each(|key| writeln!(f, "hostkey {key}"))?;
        facts.extensions.iter().try_for_each(|(name, value)| writeln!(f, "{name} {value}"))
    }
}
