//! The kernel half before it runs: load and attach, or find what is there.

use std::{collections::BTreeMap, path::Path};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapData, MapError, RingBuf},
    programs::{
        BtfTracePoint, Lsm as LsmProgram, Program as AyaProgram, TracePoint,
        links::{FdLink, PinnedLink},
    },
    util::nr_cpus,
};
use common::{
    Call, Hook, Kind, Record as _,
    filter::{Control, Counts, class},
};
use sha2::{Digest as _, Sha256};
use zerocopy::IntoBytes as _;

use super::{
    hooks::{BINPRM, CALLS, Entry, Family, LSM, OPERATIONS, PROGRAMS, Program, URING},
    jumps::{Jumps, before, load},
    kernel::{Attached, BTF, Kernel, LSM_LIST, Options, SourceError},
    lanes::Lanes,
    object,
    offsets::Types,
    pin::{self, Pins, Special, Thing},
    refusal::{chain, is_denied, load_error, refusal},
    speech::{self, Speech},
    steering::{Steering, Wanted},
};

/// The map of the kernel half's writable globals: it holds one [`Control`].
const CONTROL: &str = ".bss";

/// Threads whose notes of security hooks are kept at once.
const NOTES: u32 = 128;

/// Operations of io_uring(7) that were submitted on one CPU and are not done: the oldest of more are told without what
/// they asked for. So are those with long names (8 KiB each), of which there are few.
const IN_FLIGHT: u32 = 512;
const LONG_IN_FLIGHT: u32 = 16;

/// What is to be loaded on this kernel.
pub struct Plan {
    object: Vec<u8>,
    layout: Vec<u8>,
    missing: Vec<String>,
    family: Family,
    cpus: u32,
    /// All of this, and the options, as a hash. The first half says what events look like.
    pub generation: String,
}

impl Plan {
    /// Looks at the kernel.
    pub fn new(options: &Options) -> Result<Self, SourceError> {
        let bytes = std::fs::read(BTF).map_err(SourceError::NoBtf)?;
        let types = Types::read(&bytes)?;
        let (layout, missing) = types.layout()?;
        let cast = types.cast();
        let family = options.family.unwrap_or_else(|| Family::best(cast.is_some()));
        if family != Family::Base && cast.is_none() {
            return Err(SourceError::NoCast(family.name()));
        }
        if family == Family::Perf
            && let Err(error) = Special::Trace.ensure()
        {
            tracing::warn!(error, "programs behind perf events cannot be attached");
        }
        let cpus = nr_cpus().map_err(|(_, error)| SourceError::Wait(error))? as u32;
        let programs: Vec<_> = LSM.iter().chain(PROGRAMS).map(|it| family.object_name(it.name)).collect();
        let object = object::of(&programs, cast);
        let layout = layout.as_bytes().to_vec();
        let mut hash = Sha256::new();
        hash.update(&object);
        hash.update(&layout);
        hash.update([family as u8, u8::from(options.speaks)]);
        hash.update([options.ring_bytes, cpus].as_bytes());
        for program in LSM.iter().chain(PROGRAMS).filter(|it| is_needed(it, family, &options.wanted)) {
            hash.update(format!("{} {:?} ", program.name, program.entry));
        }
        let digest = hash.finalize();
        let generation = format!("{}_{}", wire(), seal::text::hex(&digest[..8]));
        Ok(Self { object, layout, missing, family, cpus, generation })
    }

    /// Whether this program understands the events of a generation.
    pub fn understands(generation: &str) -> bool {
        generation.split_once('_').is_some_and(|(it, _)| it == wire())
    }
}

/// What events look like, as a hash.
fn wire() -> String {
    let mut hash = Sha256::new();
    hash.update([size_of::<Control>(), size_of::<Counts>()].as_bytes());
    hash.update(format!("{:?}", common::Header::FIELDS));
    for kind in Kind::ALL {
        hash.update(format!("{} {} {:?}", *kind as u16, kind.name(), kind.fields()));
    }
    hash.update(format!("{:?}", Call::ALL));
    seal::text::hex(&hash.finalize()[..4])
}

/// The kernel's types as the loader wants them: by these it finds what a program is attached to.
fn kernel_types() -> Result<Btf, SourceError> {
    Btf::from_sys_fs().map_err(|error| SourceError::Load(EbpfError::BtfError(error)))
}

/// Where maps come from.
enum Maps<'a> {
    Loaded(&'a mut Ebpf),
    Pinned(&'a Path),
}

impl Maps<'_> {
    fn take(&mut self, name: &'static str) -> Result<Map, SourceError> {
        match self {
            Self::Loaded(ebpf) => ebpf.take_map(name).ok_or(SourceError::Missing(name)),
            Self::Pinned(dir) => MapData::from_pin(pin::path(dir, Thing::Map, name))
                .and_then(Map::from_map_data)
                .map_err(|error| SourceError::Map(name, error)),
        }
    }
}

/// Gives names to what is loaded, until one is refused.
struct Naming<'a> {
    dir: Option<&'a Path>,
    refused: Option<String>,
}

impl Naming<'_> {
    fn name<E: std::error::Error>(&mut self, thing: Thing, name: &str, pin: impl FnOnce(&Path) -> Result<(), E>) {
        let Some(dir) = self.dir else { return };
        if let Err(error) = pin(&pin::path(dir, thing, name)) {
            self.refused = Some(format!("{name}: {}", chain(&error)));
            self.dir = None;
        }
    }
}

/// A map as what it must be.
fn of_type<T: TryFrom<Map, Error = MapError>>(name: &'static str, map: Map) -> Result<T, SourceError> {
    T::try_from(map).map_err(|error| SourceError::Map(name, error))
}

/// The maps that the user half reads or writes.
const MAPS: [&str; 12] = [
    "CRITICAL",
    "BULK",
    CONTROL,
    "MATCHERS",
    "OWN",
    "EXECUTABLES",
    "ENV",
    "COUNTS",
    "SEQUENCE",
    "LEFT",
    CALLS,
    OPERATIONS,
];

impl Kernel {
    /// The parts of a kernel half that are read from its maps.
    fn of(
        mut maps: Maps<'_>,
        naming: &mut Naming<'_>,
        options: &Options,
        (family, generation): (Family, &str),
    ) -> Result<Self, SourceError> {
        let mut take = |name: &'static str| -> Result<Map, SourceError> {
            let map = maps.take(name)?;
            naming.name(Thing::Map, name, |path| map.pin(path));
            Ok(map)
        };
        let critical: RingBuf<MapData> = of_type("CRITICAL", take("CRITICAL")?)?;
        let bulk: RingBuf<MapData> = of_type("BULK", take("BULK")?)?;
        let lanes = Lanes::new((critical, options.backlog_bytes / 2), (bulk, options.backlog_bytes));
        let steering = Steering::new(
            of_type(CONTROL, take(CONTROL)?)?,
            of_type("MATCHERS", take("MATCHERS")?)?,
            of_type("OWN", take("OWN")?)?,
            of_type("EXECUTABLES", take("EXECUTABLES")?)?,
            of_type("ENV", take("ENV")?)?,
        )
        .map_err(|error| SourceError::Map(CONTROL, error))?;
        let sequences = take("SEQUENCE")?;
        let Map::PerCpuArray(data) = &sequences else { return Err(SourceError::Missing("SEQUENCE")) };
        let load = data.info().map_err(|error| SourceError::Map("SEQUENCE", error))?.id();
        let jumps = [CALLS, OPERATIONS].map(|name| Ok((name, Jumps::of(name, take(name)?)?)));
        let jumps = jumps.into_iter().collect::<Result<_, SourceError>>()?;
        Ok(Self {
            ebpf: None,
            there: BTreeMap::new(),
            maps: Vec::new(),
            lanes: lanes.map_err(|error| SourceError::Wait(error.into()))?,
            steering,
            speech: None,
            counts: of_type("COUNTS", take("COUNTS")?)?,
            sequences: of_type("SEQUENCE", sequences)?,
            left: of_type("LEFT", take("LEFT")?)?,
            jumps,
            programs: BTreeMap::new(),
            links: BTreeMap::new(),
            family,
            attached: Vec::new(),
            missing: Vec::new(),
            lsm: None,
            load,
            generation: generation.to_owned(),
            pins: None,
            unpinned: None,
            is_closed: false,
            found: None,
            own: None,
        })
    }

    /// Loads the programs that `options` ask for and attaches them. They end with us.
    pub fn open(options: &Options) -> Result<Self, SourceError> {
        Self::load_anew(&Plan::new(options)?, options, None, 0)
    }

    /// Loads the programs that `options` ask for and attaches them; they make events from a time on. A program that
    /// cannot be attached is no error: see [`Kernel::attached`].
    pub(super) fn load_anew(
        plan: &Plan,
        options: &Options,
        pins: Option<&Pins>,
        from: u64,
    ) -> Result<Self, SourceError> {
        let ring = options.ring_bytes;
        let mut ebpf = EbpfLoader::new()
            // nothing in the object is relocated by the kernel's types, and they take 15 MiB
            .btf(None)
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global("LAYOUT", &plan.layout[..], true)
            .override_global(speech::LEVEL, &speech::level(options.speaks), true)
            .map_max_entries("CRITICAL", ring / 2)
            .map_max_entries("BULK", ring)
            .map_max_entries("EXEC_DRAFT", plan.cpus)
            .map_max_entries("REQUESTS", IN_FLIGHT * plan.cpus)
            .map_max_entries("TAGS", IN_FLIGHT * plan.cpus)
            .map_max_entries("LONG_TEXTS", LONG_IN_FLIGHT * plan.cpus)
            .map_max_entries("NOTES", if is_lsm_on() { NOTES } else { 1 })
            .load(&plan.object)
            .map_err(load_error)?;
        let draft = pins.map(|pins| pins.draft().map_err(|error| error.to_string()));
        let mut naming = match &draft {
            Some(Ok(dir)) => Naming { dir: Some(dir), refused: None },
            Some(Err(why)) => Naming { dir: None, refused: Some(why.clone()) },
            None => Naming { dir: None, refused: None },
        };
        let speech = if options.speaks { Speech::of(&mut ebpf) } else { None };
        let what = (plan.family, plan.generation.as_str());
        let mut kernel = Self::of(Maps::Loaded(&mut ebpf), &mut naming, options, what)?;
        kernel.ebpf = Some(ebpf);
        kernel.speech = speech;
        kernel.missing.clone_from(&plan.missing);
        let control = |error| SourceError::Map(CONTROL, error);
        kernel.steering.begin(from).map_err(control)?;
        kernel.steer(options)?;
        let btf = kernel_types()?;
        kernel.attach_lsm(&options.wanted, &btf, &mut naming);
        kernel.attach_all(&options.wanted, &btf, &mut naming);
        if let (Some(pins), Some(_)) = (pins, naming.dir) {
            match pins.keep(&plan.generation) {
                Ok(()) => kernel.named(pins)?,
                Err(error) => naming.refused = Some(error.to_string()),
            }
        }
        if let Some(why) = naming.refused {
            pins.inspect(|pins| pins.discard());
            kernel.unpinned = Some(why);
        }
        kernel.claim();
        Ok(kernel)
    }

    fn attach_all(&mut self, wanted: &Wanted, btf: &Btf, naming: &mut Naming<'_>) {
        let family = self.family;
        for program in PROGRAMS.iter().filter(|program| is_needed(program, family, wanted)) {
            let is = |it: &Attached| it.program.name == program.name && it.program.entry == program.entry;
            if !self.attached.iter().any(is) {
                let failed = self.attach(program, btf, naming).err();
                self.attached.push(Attached { program: *program, failed });
            }
        }
    }

    /// Attaches the programs that are needed and not there yet. One that was adopted has none to load from: what it
    /// lacks comes with the next start, and is told as degraded until then.
    pub(super) fn attach_needed(&mut self, wanted: &Wanted) -> Result<(), SourceError> {
        let btf = kernel_types()?;
        let dir = self.pins.as_ref().map(|pins| pins.generation(&self.generation));
        let mut naming = Naming { dir: dir.as_deref(), refused: None };
        self.attach_all(wanted, &btf, &mut naming);
        if let Some(why) = naming.refused {
            tracing::warn!(why, "a program cannot be pinned: it ends with this run");
        }
        self.claim();
        Ok(())
    }

    /// Finds a kernel half that is there.
    pub(super) fn adopt(plan: &Plan, options: &Options, pins: &Pins, generation: &str) -> Result<Self, SourceError> {
        let dir = pins.generation(generation);
        let mut naming = Naming { dir: None, refused: None };
        let mut kernel = Self::of(Maps::Pinned(&dir), &mut naming, options, (plan.family, generation))?;
        let failed = |error: &dyn std::error::Error| SourceError::Pin(chain(error));
        for entry in std::fs::read_dir(&dir).map_err(|error| failed(&error))? {
            let path = entry.map_err(|error| failed(&error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(name) = name.strip_prefix("program_") {
                let is_lsm = LSM.iter().any(|program| program.name == name);
                let program = match plan.family {
                    _ if is_lsm => LsmProgram::from_pin(&path).map(AyaProgram::Lsm),
                    Family::Perf => TracePoint::from_pin(&path).map(AyaProgram::TracePoint),
                    Family::Fast | Family::Base => BtfTracePoint::from_pin(&path).map(AyaProgram::BtfTracePoint),
                };
                let program = match program {
                    Ok(program) => program,
                    // the kernel gives out its types, which aya asks for, to CAP_SYS_ADMIN alone
                    Err(error) if is_denied(&error) => {
                        kernel.is_closed = true;
                        continue;
                    }
                    Err(error) => return Err(failed(&error)),
                };
                let fd = program.fd().map_err(|error| failed(&error))?.try_clone().map_err(|error| failed(&error))?;
                kernel.programs.insert(name.to_owned(), fd);
                kernel.there.insert(name.to_owned(), program);
            } else if let Some(name) = name.strip_prefix("link_") {
                let link = PinnedLink::from_pin(&path).map_err(|error| failed(&error))?;
                kernel.links.insert(name.to_owned(), link.into());
            }
        }
        kernel.named(pins)?;
        kernel.lsm = no_lsm();
        for program in LSM.iter().chain(PROGRAMS).filter(|it| is_needed(it, plan.family, &options.wanted)) {
            let is_there = match program.entry {
                Entry::Call(_) | Entry::Operation(_) | Entry::Judge if kernel.is_closed => true,
                Entry::Lsm(_) if !kernel.links.contains_key(program.name) => {
                    kernel.lsm = Some("they could not be attached when the programs were loaded".to_owned());
                    continue;
                }
                Entry::Tracepoint(..) | Entry::Lsm(_) => kernel.links.contains_key(program.name),
                Entry::Call(_) | Entry::Operation(_) | Entry::Judge => kernel.programs.contains_key(program.name),
            };
            let failed = (!is_there).then(|| "it could not be attached when the programs were loaded".to_owned());
            kernel.attached.push(Attached { program: *program, failed });
        }
        kernel.missing.clone_from(&plan.missing);
        kernel.claim();
        Ok(kernel)
    }

    /// Says who we are and what we want.
    pub(super) fn steer(&mut self, options: &Options) -> Result<(), SourceError> {
        let steering = &mut self.steering;
        let set = steering.introduce(&options.environment);
        let set = set.and_then(|()| steering.want(&options.wanted));
        set.map_err(|error| SourceError::Map(CONTROL, error))
    }

    fn attach(&mut self, program: &Program, btf: &Btf, naming: &mut Naming<'_>) -> Result<(), String> {
        let name = self.family.object_name(program.name);
        let ebpf = self.ebpf.as_mut().ok_or("nothing was loaded")?;
        let loaded = ebpf.program_mut(&name).ok_or_else(|| format!("the object has no program {name}"))?;
        load(loaded, program.entry, btf).map_err(|error| refusal(&error))?;
        if !self.programs.contains_key(program.name) {
            let fd = loaded.fd().map_err(|error| refusal(&error))?.try_clone().map_err(|error| error.to_string())?;
            self.programs.insert(program.name.to_owned(), fd);
            naming.name(Thing::Program, program.name, |path| loaded.pin(path));
        }
        match program.entry {
            Entry::Call(_) | Entry::Operation(_) | Entry::Judge => self.jump(program),
            Entry::Tracepoint(..) | Entry::Lsm(_) => {
                let mut link = link(loaded, program.entry)?;
                if let Some(dir) = naming.dir {
                    link = match link.pin(pin::path(dir, Thing::Link, program.name)) {
                        Ok(pinned) => pinned.into(),
                        Err(error) => {
                            naming.name(Thing::Link, program.name, |_| Err(error));
                            // the one that could not be named is gone
                            self::link(loaded, program.entry)?
                        }
                    };
                }
                self.links.insert(program.name.to_owned(), link);
                Ok(())
            }
        }
    }

    /// Attaches the security tier, or says why there is none, or which part of it. It is no loss of events: without it
    /// some names are copied from the caller's memory, and marked so.
    fn attach_lsm(&mut self, wanted: &Wanted, btf: &Btf, naming: &mut Naming<'_>) {
        self.lsm = no_lsm();
        let family = self.family;
        for program in LSM.iter().filter(|program| is_needed(program, family, wanted)) {
            match self.attach(program, btf, naming) {
                Ok(()) => self.attached.push(Attached { program: *program, failed: None }),
                Err(why) if self.lsm.is_none() => self.lsm = Some(format!("{}: {why}", program.name)),
                Err(_) => {}
            }
        }
    }

    /// Lets others jump to a program.
    pub(super) fn jump(&mut self, program: &Program) -> Result<(), String> {
        let Some((map, slot)) = program.entry.slot() else { return Ok(()) };
        let fd = self.programs.get(program.name).ok_or("it is not loaded")?;
        self.jumps.get_mut(map).ok_or("there is no such map")?.programs.set(slot, fd, 0).map_err(|error| chain(&error))
    }

    /// Attaches a program again whose link is gone.
    pub(super) fn attach_again(&mut self, program: &Program) -> Result<(), String> {
        let loaded = self.program_mut(program.name).ok_or("it is not loaded")?;
        let link = link(loaded, program.entry)?;
        self.links.insert(program.name.to_owned(), link);
        if self.is_pinned() { self.name_again() } else { Ok(()) }
    }

    pub(super) fn program_mut(&mut self, name: &str) -> Option<&mut AyaProgram> {
        let full = self.family.object_name(name);
        let loaded = self.ebpf.as_mut().and_then(|ebpf| ebpf.program_mut(&full));
        loaded.or_else(|| self.there.get_mut(name))
    }

    /// It has names from now on.
    fn named(&mut self, pins: &Pins) -> Result<(), SourceError> {
        self.pins = Some(pins.clone());
        for name in MAPS {
            let path = pin::path(&pins.generation(&self.generation), Thing::Map, name);
            self.maps.push((name, MapData::from_pin(path).map_err(|error| SourceError::Map(name, error))?));
        }
        Ok(())
    }
}

/// Attaches a program that is loaded.
fn link(program: &mut AyaProgram, entry: Entry) -> Result<FdLink, String> {
    match (program, entry) {
        (AyaProgram::BtfTracePoint(program), Entry::Tracepoint(..)) => {
            let link = program.attach().and_then(|id| program.take_link(id)).map_err(|error| refusal(&error))?;
            Ok(link.into())
        }
        (AyaProgram::TracePoint(program), Entry::Tracepoint(group, name)) => {
            let id = program.attach(group, name).or_else(|error| match before(name) {
                Some(name) => program.attach(group, name),
                None => Err(error),
            });
            let link = id.and_then(|id| program.take_link(id));
            link.map_err(|error| refusal(&error))?.try_into().map_err(|error| chain(&error))
        }
        (AyaProgram::Lsm(program), Entry::Lsm(_)) => {
            let link = program.attach().and_then(|id| program.take_link(id)).map_err(|error| refusal(&error))?;
            Ok(link.into())
        }
        _ => Err("the program is of another type".to_owned()),
    }
}

/// Whether the kernel asks programs of security hooks at all; where it does not say, they are tried.
fn is_lsm_on() -> bool {
    std::fs::read_to_string(LSM_LIST).map_or(true, |list| list.trim().split(',').any(|name| name == "bpf"))
}

fn no_lsm() -> Option<String> {
    (!is_lsm_on()).then(|| "bpf is not among the security modules of this kernel".to_owned())
}

/// Whether a program has work to do. Those of processes always have: the process table lives by them.
fn is_needed(program: &Program, family: Family, wanted: &Wanted) -> bool {
    let classes = |kind: Kind| wanted.classes[kind as usize];
    match (program.entry, program.name) {
        (Entry::Tracepoint(_, "sys_exit"), _) => !wanted.calls.is_empty(),
        (Entry::Judge, _) => !wanted.matchers.is_empty(),
        (Entry::Lsm(_), _) => is_lsm_on() && program.kinds.iter().any(|kind| classes(*kind) != 0),
        (Entry::Tracepoint(..), _) if matches!(program.hook, Hook::IoUring | Hook::IoUringSubmit) => {
            program.kinds.iter().chain(URING).any(|kind| classes(*kind) != 0)
        }
        (Entry::Tracepoint(..), _) if program.hook == Hook::Capability => classes(Kind::Capability) != 0,
        (Entry::Tracepoint(..), _) if program.kinds == [Kind::Modify] => classes(Kind::Modify) != 0,
        (Entry::Tracepoint(..), BINPRM) => family == Family::Perf,
        (Entry::Tracepoint(..), _) => true,
        // what fails is no matter of the process table
        (Entry::Call(Kind::Exec), _) => classes(Kind::Exec) & (class::DENIED | class::FAILED) != 0,
        (Entry::Call(_) | Entry::Operation(_), _) => program.kinds.iter().any(|kind| classes(*kind) != 0),
    }
}
