//! The kernel half: load, attach, drain.

use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Array, MapData, MapError, PerCpuArray, ProgramArray, RingBuf},
    programs::{Program as AyaProgram, ProgramError},
    util::nr_cpus,
};
use common::{
    Call, Hook, Kind,
    filter::{Counts, KINDS, class},
};
use thiserror::Error;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{
    hooks::{Entry, Family, Jump, PROGRAMS, Program},
    lanes::Lanes,
    object,
    offsets::{OffsetsError, Types},
    speech::{self, Speech},
    steering::Steering,
};

/// Where the kernel shows its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The map of the kernel half's writable globals: it holds one [`common::filter::Control`].
const CONTROL: &str = ".bss";

/// Operations of io_uring(7) that were submitted on one CPU and are not done: the oldest of more are told without what
/// they asked for. So are those with long names (8 KiB each), of which there are few.
const IN_FLIGHT: u32 = 512;
const LONG_IN_FLIGHT: u32 = 16;

/// What the kernel half is told before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the ring buffer of the bulk lane in bytes: a power of two, and a multiple of two pages. That of the
    /// critical lane has half of it.
    pub ring_bytes: u32,
    /// Bytes waiting at which the reader is woken before its time.
    pub wake_bytes: u32,
    /// Most bytes of events that wait in our memory when more come than can be worked on.
    pub backlog_bytes: usize,
    /// Whether the kernel half speaks in the agent's log.
    pub speaks: bool,
    /// How programs read kernel memory; `None` for the best way that this kernel has.
    pub family: Option<Family>,
    /// The bits of [`class`] that are wanted, by kind.
    pub wanted: [u8; KINDS],
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
    /// Waiting for events failed.
    #[error("waiting for events: {0}")]
    Wait(io::Error),
}

/// What became of a program.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The program.
    pub program: Program,
    /// Why it could not be attached; `None` when it runs.
    pub failed: Option<String>,
}

/// The kernel half, loaded and attached. Dropping it detaches everything.
pub struct Kernel {
    ebpf: Ebpf,
    lanes: Lanes,
    steering: Steering,
    speech: Option<Speech>,
    counts: PerCpuArray<MapData, [u64; 5]>,
    sequences: PerCpuArray<MapData, u64>,
    /// The programs that others jump to.
    jumps: Vec<(Jump, ProgramArray<MapData>)>,
    family: Family,
    attached: Vec<Attached>,
    missing: Vec<String>,
}

impl Kernel {
    /// Loads the programs that `options` ask for and attaches them. A program that cannot be attached is no error: see
    /// [`Kernel::attached`].
    pub fn open(options: &Options) -> Result<Self, SourceError> {
        let bytes = std::fs::read(BTF).map_err(SourceError::NoBtf)?;
        let types = Types::read(&bytes)?;
        let (layout, missing) = types.layout()?;
        let cast = types.cast();
        let family = options.family.unwrap_or_else(|| Family::best(cast.is_some()));
        let cpus = nr_cpus().map_err(|(_, error)| SourceError::Wait(error))? as u32;
        let btf = Btf::from_sys_fs().map_err(|error| SourceError::Load(EbpfError::BtfError(error)))?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global("LAYOUT", layout.as_bytes(), true)
            .override_global(speech::LEVEL, &speech::level(options.speaks), true)
            .map_max_entries("CRITICAL", options.ring_bytes / 2)
            .map_max_entries("BULK", options.ring_bytes)
            .map_max_entries("EXEC_DRAFT", cpus)
            .map_max_entries("REQUESTS", IN_FLIGHT * cpus)
            .map_max_entries("TAGS", IN_FLIGHT * cpus)
            .map_max_entries("LONG_TEXTS", LONG_IN_FLIGHT * cpus)
            .load(&object::bound(cast))
            .map_err(load_error)?;

        let critical = ring(&mut ebpf, "CRITICAL").ok_or(SourceError::Missing("map CRITICAL"))?;
        let bulk = ring(&mut ebpf, "BULK").ok_or(SourceError::Missing("map BULK"))?;
        let lanes = Lanes::new((critical, options.backlog_bytes / 2), (bulk, options.backlog_bytes));
        let control = ebpf.take_map(CONTROL).and_then(|map| Array::try_from(map).ok());
        let mut steering = Steering::new(control.ok_or(SourceError::Missing("map CONTROL"))?);
        steering
            .set(|control| control.wake_bytes = options.wake_bytes)
            .and_then(|()| steering.want(&options.wanted))
            .map_err(|error| SourceError::Map("CONTROL", error))?;
        let counts = ebpf.take_map("COUNTS").and_then(|map| PerCpuArray::try_from(map).ok());
        let sequences = ebpf.take_map("SEQUENCE").and_then(|map| PerCpuArray::try_from(map).ok());
        let jumps = Jump::ALL.iter().map(|jump| {
            let map = ebpf.take_map(jump.map()).and_then(|map| ProgramArray::try_from(map).ok());
            Ok((*jump, map.ok_or(SourceError::Missing("program array"))?))
        });
        let jumps = jumps.collect::<Result<_, SourceError>>()?;
        let mut kernel = Self {
            lanes: lanes.map_err(|error| SourceError::Wait(error.into()))?,
            steering,
            speech: if options.speaks { Speech::of(&mut ebpf) } else { None },
            counts: counts.ok_or(SourceError::Missing("map COUNTS"))?,
            sequences: sequences.ok_or(SourceError::Missing("map SEQUENCE"))?,
            jumps,
            ebpf,
            family,
            attached: Vec::new(),
            missing,
        };
        for program in PROGRAMS {
            if is_needed(program, &options.wanted) {
                let failed = kernel.attach(program, &btf, &types).err();
                kernel.attached.push(Attached { program: *program, failed });
            }
        }
        Ok(kernel)
    }

    fn attach(&mut self, program: &Program, btf: &Btf, types: &Types<'_>) -> Result<(), String> {
        let name = format!("{}_{}", program.name, self.family.name());
        let loaded = self.ebpf.program_mut(&name).ok_or_else(|| format!("the object has no program {name}"))?;
        let names = match program.entry {
            Entry::Tracepoint(_, names) => names,
            Entry::Jump(jump, _) => jump.tracepoint(),
        };
        let tracepoint = names.iter().find(|name| types.has_tracepoint(name));
        let tracepoint = tracepoint.ok_or_else(|| format!("this kernel has no tracepoint {}", names.join(" or ")))?;
        load(loaded, tracepoint, btf).map_err(|error| refusal(&error))?;
        match (program.entry, loaded) {
            (Entry::Jump(jump, kind), loaded) => {
                let fd = loaded.fd().map_err(|error| refusal(&error))?;
                let map = self.jumps.iter_mut().find(|(it, _)| *it == jump);
                let (_, map) = map.ok_or_else(|| format!("the object has no map {}", jump.map()))?;
                map.set(kind as u32, fd, 0).map_err(|error| error.to_string())
            }
            (Entry::Tracepoint(..), AyaProgram::BtfTracePoint(loaded)) => {
                loaded.attach().map(|_| ()).map_err(|error| refusal(&error))
            }
            (Entry::Tracepoint(group, _), AyaProgram::TracePoint(loaded)) => {
                loaded.attach(group, tracepoint).map(|_| ()).map_err(|error| refusal(&error))
            }
            _ => Err(format!("program {name} is of another type")),
        }
    }

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

    /// Wants other classes of events from now on.
    pub fn want(&mut self, wanted: &[u8; KINDS]) -> Result<(), SourceError> {
        self.steering.want(wanted).map_err(|error| SourceError::Map("CONTROL", error))
    }

    /// Hands over the events that are there, see [`Lanes::drain`].
    pub fn drain(&mut self, each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        if let Some(speech) = &mut self.speech {
            speech.flush();
        }
        self.lanes.drain(each)
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

    /// Stops making events; those that are waiting stay readable.
    pub fn detach(&mut self) {
        for program in PROGRAMS.iter().filter(|program| matches!(program.entry, Entry::Tracepoint(..))) {
            let name = format!("{}_{}", program.name, self.family.name());
            let unloaded = match self.ebpf.program_mut(&name) {
                Some(AyaProgram::BtfTracePoint(loaded)) => loaded.unload(),
                Some(AyaProgram::TracePoint(loaded)) => loaded.unload(),
                _ => Ok(()),
            };
            if let Err(error) = unloaded {
                tracing::debug!(program = name, %error, "was not loaded");
            }
        }
    }

    /// Times that the kernel skipped a program because one was running already on that CPU (`recursion_misses`): the
    /// events of those times are lost without another trace.
    pub fn skipped(&self) -> u64 {
        let names = self.attached.iter().filter(|it| it.failed.is_none()).map(|it| it.program.name);
        names.map(|name| self.misses(name).unwrap_or(0)).sum()
    }

    fn misses(&self, name: &str) -> Option<u64> {
        let program = self.ebpf.program(&format!("{name}_{}", self.family.name()))?;
        let fd = program.fd().ok()?.as_fd().as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }
}

fn ring(ebpf: &mut Ebpf, name: &str) -> Option<RingBuf<MapData>> {
    RingBuf::try_from(ebpf.take_map(name)?).ok()
}

/// Loads a program unless it is loaded already: it may serve several kinds.
fn load(program: &mut AyaProgram, tracepoint: &str, btf: &Btf) -> Result<(), ProgramError> {
    if program.fd().is_ok() {
        return Ok(());
    }
    match program {
        AyaProgram::BtfTracePoint(program) => program.load(tracepoint, btf),
        AyaProgram::TracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Whether a program has work to do. Those of processes always have: the process table lives by them.
fn is_needed(program: &Program, wanted: &[u8; KINDS]) -> bool {
    let is_wanted = |kind: &Kind| wanted[*kind as usize] != 0;
    match (program.entry, program.hook) {
        (Entry::Tracepoint(..), Hook::SysExit) => Call::ALL.iter().flat_map(|call| call.kinds()).any(is_wanted),
        (Entry::Tracepoint(..), Hook::Exec | Hook::Fork | Hook::Exit) => true,
        // what fails is no matter of the process table
        (Entry::Jump(_, Kind::Exec), _) => wanted[Kind::Exec as usize] & (class::DENIED | class::FAILED) != 0,
        _ => program.kinds.iter().any(is_wanted),
    }
}

/// What the process table needs, whatever the policy wants.
pub fn with_processes(mut wanted: [u8; KINDS]) -> [u8; KINDS] {
    for kind in [Kind::Exec, Kind::Fork, Kind::Exit] {
        wanted[kind as usize] |= class::SUCCESS;
    }
    wanted
}

fn load_error(error: EbpfError) -> SourceError {
    let denied = |error: &io::Error| error.raw_os_error() == Some(nix::libc::EPERM);
    match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) if denied(io_error) => SourceError::NotPermitted,
        _ => SourceError::Load(error),
    }
}

/// Why a program was refused, in one line.
fn refusal(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(nix::libc::EPERM) => {
            "not permitted: CAP_PERFMON or CAP_BPF is missing, or the kernel forbids programs of this type".to_owned()
        }
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let numbers = ["processed", "stack depth", "verification time"];
            let says = |line: &&str| !line.is_empty() && !numbers.iter().any(|it| line.starts_with(it));
            let why = log.lines().rev().find(says);
            format!("{io_error}: {}", why.unwrap_or("the verifier says nothing"))
        }
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            text
        }
    };
    text.chars().take(400).collect()
}
