//! The kernel half as it runs: read, steer, detach.

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use aya::{
    Ebpf, EbpfError,
    maps::{HashMap, MapData, MapError, PerCpuArray},
    programs::{Program, ProgramFd, links::FdLink},
};
use common::{
    Hook,
    filter::{Counts, THREADS},
};
use thiserror::Error;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{
    hooks::{self, Family},
    journal::{self, Base, Found},
    jumps::Jumps,
    lanes::Lanes,
    object,
    offsets::OffsetsError,
    own::Own,
    pin::{self, Pins, Thing},
    speech::Speech,
    steering::{Steering, Wanted},
};

/// Where the kernel shows its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The security modules that are asked, once securityfs is mounted.
pub const LSM_LIST: &str = "/sys/kernel/security/lsm";

/// What the kernel half is told before it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the ring buffer of the bulk lane in bytes: a power of two, and a multiple of two pages. That of the
    /// critical lane has half of it.
    pub ring_bytes: u32,
    /// Most bytes of events that wait in our memory when more come than can be worked on.
    pub backlog_bytes: usize,
    /// Whether the kernel half speaks in the agent's log.
    pub speaks: bool,
    /// How programs read kernel memory; `None` for the best way that this kernel has.
    pub family: Option<Family>,
    /// Names of the variables of the environment that are told of an exec.
    pub environment: Vec<String>,
    /// Which events are wanted.
    pub wanted: Wanted,
    /// How the kernel half outlives us; `None`: not at all.
    pub stay: Option<Stay>,
}

/// How the kernel half outlives the agent.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Its names.
    pub pins: Pins,
    /// The directory of the journal.
    pub journal: PathBuf,
    /// The id of this boot.
    pub boot: String,
    /// The last batch of the log that is durable.
    pub last_batch: u64,
    /// Whether it is an error when it cannot.
    pub must: bool,
}

/// Why the kernel half could not be started.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The kernel shows no types.
    #[error("reading {BTF}: {0}; sigtrail needs a kernel built with CONFIG_DEBUG_INFO_BTF")]
    NoBtf(io::Error),
    /// The types cannot be read.
    #[error("reading {BTF}: {0}")]
    Offsets(#[from] OffsetsError),
    /// A family of typed loads was asked for, and cannot be.
    #[error("the {0} family needs the kernel function {cast} (Linux 6.2)", cast = object::CAST)]
    NoCast(&'static str),
    /// Rights are missing.
    #[error("loading eBPF programs: not permitted; run as root, or with CAP_BPF and CAP_PERFMON")]
    NotPermitted,
    /// The kernel refused the object as a whole.
    #[error("loading the eBPF object: {0}")]
    Load(#[from] EbpfError),
    /// The object lacks a part: a build error.
    #[error("the eBPF object has no {0} of the right type")]
    Missing(&'static str),
    /// A map could not be used.
    #[error("using the eBPF map {0}: {1}")]
    Map(&'static str, MapError),
    /// It cannot outlive us, and should.
    #[error("pinning the kernel half: {0}; with `kernel.pin: auto` the agent goes on without")]
    Pin(String),
    /// Waiting for events failed.
    #[error("waiting for events: {0}")]
    Wait(io::Error),
}

/// What became of a program.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The program.
    pub program: hooks::Program,
    /// Why it could not be attached; `None` when it runs.
    pub failed: Option<String>,
}

impl Attached {
    /// The record about a program that could not be attached.
    pub fn degraded(&self) -> Option<Own> {
        let why = self.failed.clone()?;
        let program = self.program;
        tracing::warn!(program = program.name, why, "a hook is degraded: its events are missing");
        let kinds = program.kinds.iter().map(|kind| kind.name()).collect();
        Some(Own::Degraded { program: program.name, kinds, why })
    }
}

/// Words of [`Counts`].
pub(super) const COUNTS: usize = size_of::<Counts>() / 8;

/// The kernel half, loaded and attached. Dropping it detaches what has no name.
pub struct Kernel {
    /// What was loaded; `None` when it was there before us.
    pub(super) ebpf: Option<Ebpf>,
    /// What was there before us, by name without the family.
    pub(super) there: BTreeMap<String, Program>,
    /// Maps that have names, to name them again.
    pub(super) maps: Vec<(&'static str, MapData)>,
    pub(super) lanes: Lanes,
    pub(super) steering: Steering,
    pub(super) speech: Option<Speech>,
    pub(super) counts: PerCpuArray<MapData, [u64; COUNTS]>,
    pub(super) sequences: PerCpuArray<MapData, u64>,
    pub(super) left: HashMap<MapData, u32, u64>,
    /// The programs that others jump to, by map.
    pub(super) jumps: BTreeMap<&'static str, Jumps>,
    /// By name without the family.
    pub(super) programs: BTreeMap<String, ProgramFd>,
    pub(super) links: BTreeMap<String, FdLink>,
    pub(super) family: Family,
    pub(super) attached: Vec<Attached>,
    pub(super) missing: Vec<String>,
    pub(super) lsm: Option<String>,
    pub(super) load: u32,
    pub(super) generation: String,
    /// It was there before us, and its programs are not for us: it can be read and ended, no more.
    pub(super) is_closed: bool,
    /// Its names; `None` when it has none.
    pub(super) pins: Option<Pins>,
    /// Why it has none.
    pub(super) unpinned: Option<String>,
    /// What its journal said, until it is asked for.
    pub(super) found: Option<Found>,
    /// What the agent had done itself by hook when it did so last; `None` where that is not looked at.
    pub(super) own: Option<Vec<Option<u64>>>,
}

impl Kernel {
    /// How the programs read kernel memory.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What became of each program that was asked for.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Members of structs that this kernel lacks: what they would tell is null in records.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Why the security tier is not there; `None` when it is.
    pub fn lsm(&self) -> Option<&str> {
        self.lsm.as_deref()
    }

    /// Which load it is: the id of the map that numbers the events, unique within a boot.
    pub fn load(&self) -> u32 {
        self.load
    }

    /// All that is fixed since the load, as a hash.
    pub fn generation(&self) -> &str {
        &self.generation
    }

    /// Why it will not outlive us; `None` when it will, or when nobody asked for it.
    pub fn unpinned(&self) -> Option<&str> {
        self.unpinned.as_deref()
    }

    /// Whether it will outlive us.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// What the journal says of the run before, once.
    pub fn take_found(&mut self) -> Option<Found> {
        self.found.take()
    }

    /// Wants other events from now on. Programs that this takes and were not needed before are attached first; returns
    /// what became of them.
    pub fn want(&mut self, wanted: &Wanted) -> Result<&[Attached], SourceError> {
        let before = self.attached.len();
        self.attach_needed(wanted)?;
        self.steering.want(wanted).map_err(|error| SourceError::Map("CONTROL", error))?;
        Ok(&self.attached[before..])
    }

    /// See [`Lanes::pressed`].
    pub fn pressed(&self) -> Arc<AtomicBool> {
        self.lanes.pressed()
    }

    /// When it hands over to another one, in nanoseconds since boot: its events from then on are not ours.
    pub fn until(&self) -> u64 {
        self.steering.control().until
    }

    /// When each thread last did something that was left to the kernel half before this one; `None` if that is not known
    /// of all.
    pub fn left(&self) -> Option<BTreeMap<u32, u64>> {
        let left: BTreeMap<_, _> = self.left.iter().collect::<Result<_, _>>().ok()?;
        (left.len() < THREADS).then_some(left)
    }

    /// Hands over the events that are there, see [`Lanes::drain`].
    pub fn drain(&mut self, each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        if let Some(speech) = &mut self.speech {
            speech.flush();
        }
        self.lanes.drain(each)
    }

    /// Makes room in the rings while there is no time for their events.
    pub fn soak(&mut self) {
        self.lanes.fill();
    }

    /// What is accounted for once the batch that is being sealed is durable.
    pub fn closing(&mut self, base: Base) {
        self.lanes.closing(base);
    }

    /// Whether its journal is so long that a batch should be sealed.
    pub fn is_long(&self) -> bool {
        self.lanes.is_long()
    }

    /// All events that were handed over are sealed, and durable.
    pub fn sealed(&mut self) {
        self.lanes.sealed();
    }

    /// Waits until events are there in number, or until the time is over.
    pub fn wait(&self, time: Duration) -> Result<(), SourceError> {
        self.lanes.wait(time).map_err(|error| SourceError::Wait(error.into()))
    }

    /// What happened to the events of each hook on each CPU, since load.
    pub fn counts(&self) -> Result<Vec<(Hook, Vec<Counts>)>, SourceError> {
        let mut all = Vec::with_capacity(Hook::ALL.len());
        for hook in Hook::ALL {
            let values = self.counts.get(&(*hook as u32), 0).map_err(|error| SourceError::Map("COUNTS", error))?;
            let counts = values.iter().map(|counts| Counts::read_from_bytes(counts.as_bytes()).unwrap_or_default());
            all.push((*hook, counts.collect()));
        }
        Ok(all)
    }

    /// The next sequence number of each CPU: all lower ones were given to events.
    pub fn sequences(&self) -> Result<Vec<u64>, SourceError> {
        let values = self.sequences.get(&0, 0).map_err(|error| SourceError::Map("SEQUENCE", error))?;
        Ok(values.iter().copied().collect())
    }

    /// Stops making events, for good; those that are waiting stay readable.
    pub fn detach(&mut self) {
        if let Some(pins) = self.pins.take() {
            if let Err(error) = pins.remove(&self.generation) {
                tracing::warn!(%error, "the names of the programs cannot be removed: `sigtrail detach` does it");
            }
            pins.leave();
        }
        self.links.clear();
    }

    /// Takes another name for its generation: one of that name is to be loaded.
    pub(super) fn leave(&mut self) -> Result<(), String> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let name = format!("{}_{}", self.generation, self.load);
        pins.rename(&self.generation, &name).map_err(|error| error.to_string())?;
        self.generation = name;
        Ok(())
    }

    /// Removes the journal: all is told.
    pub fn forget(&mut self) {
        self.lanes.forget();
    }

    /// Times that the kernel skipped a program because one was running already on that CPU (`recursion_misses`): the
    /// events of those times are lost without another trace. Programs that sit on a hook are asked: the kernel does not
    /// look before a jump from one to another, so the others are never skipped.
    pub fn skipped(&self) -> u64 {
        let sits = |it: &&hooks::Program| it.entry.slot().is_none();
        // a skip of this one costs a detail and no event
        let counted = hooks::LSM.iter().chain(hooks::PROGRAMS).filter(sits).filter(|it| it.name != hooks::BINPRM);
        let programs = counted.filter_map(|it| self.programs.get(it.name));
        programs.map(|program| misses(program).unwrap_or(0)).sum()
    }

    /// The programs that sit on a hook: how often each ran since load, and for how many nanoseconds, with all that it
    /// jumped to. Empty while the kernel does not measure it (bpf_stats_enabled in /proc/sys/kernel).
    pub fn runs(&self) -> Vec<(&'static str, u64, u64)> {
        let measured = std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
        if measured.is_ok_and(|text| text.trim() == "0") {
            return Vec::new();
        }
        let sits = hooks::LSM.iter().chain(hooks::PROGRAMS).filter(|it| it.entry.slot().is_none());
        let of = |it: &hooks::Program| {
            let program = self.programs.get(it.name)?;
            Some((it.name, figure(program, "run_cnt:")?, figure(program, "run_time_ns:")?))
        };
        sits.filter_map(of).collect()
    }

    /// Bytes of events that wait in memory.
    pub fn waiting_bytes(&self) -> u64 {
        self.lanes.waiting_bytes()
    }

    /// Whether this kernel counts them (5.12); where it does not, [`Kernel::skipped`] is 0 whatever happens.
    pub fn counts_skips(&self) -> bool {
        self.programs.values().any(|program| misses(program).is_some())
    }

    /// Keeps a journal: goes on with that of the run before, or begins one.
    pub(super) fn keep_journal(&mut self, stay: &Stay, resume: bool) -> Result<(), String> {
        let (journal, found) = if resume {
            journal::Journal::resume(&stay.journal, &stay.boot, self.load, stay.last_batch)
        } else {
            let base =
                Base { batch: stay.last_batch, version: env!("CARGO_PKG_VERSION").to_owned(), ..Base::default() };
            journal::Journal::begin(&stay.journal, &stay.boot, self.load, base.clone())
                .map(|journal| (journal, Found { base, ..Found::default() }))
        }
        .map_err(|error| error.to_string())?;
        self.lanes.keep(journal, &found);
        self.found = resume.then_some(Found { events: Default::default(), ..found });
        Ok(())
    }

    /// The name of one of its things, if it has names.
    pub(super) fn path(&self, thing: Thing, name: &str) -> Option<PathBuf> {
        Some(pin::path(&self.pins.as_ref()?.generation(&self.generation), thing, name))
    }
}

fn misses(program: &ProgramFd) -> Option<u64> {
    figure(program, "recursion_misses:")
}

/// A number that the kernel tells of a program (bpf_prog_show_fdinfo).
fn figure(program: &ProgramFd, name: &str) -> Option<u64> {
    let fd = program.as_fd().as_raw_fd();
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
