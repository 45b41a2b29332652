//! What the running kernel half is told: which events are wanted, whose are left out, and when they are ours.

use aya::maps::{Array, HashMap, MapData, MapError};
use common::{
    Call, Kind,
    call::{LACKING, SOCKET_OPERATIONS, SOCKETCALL},
    filter::{Control, Executable, Filter, KINDS, Matcher, Own, Variable, class, variable},
    names::Touched,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Words of a [`Control`] and of a [`Matcher`].
const WORDS: usize = size_of::<Control>() / 8;
const MATCHER_WORDS: usize = size_of::<Matcher>() / 8;
/// Words of 32 bits of an [`Executable`].
const EXECUTABLE_WORDS: usize = size_of::<Executable>() / 4;

/// Which events the kernel half shall send.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The bits of [`class`], by kind.
    pub classes: [u8; KINDS],
    /// The calls.
    pub calls: Vec<Call>,
    /// What is asked of single events, by kind.
    pub matchers: Vec<(Kind, Box<Matcher>)>,
}

impl Wanted {
    /// All events.
    pub fn all() -> Self {
        let mut classes = [0; KINDS];
        for kind in Kind::ALL {
            classes[*kind as usize] = class::ALL;
        }
        Self { classes, calls: Call::ALL.to_vec(), matchers: Vec::new() }
    }

    /// Also all events of these kinds.
    #[must_use]
    pub fn with_whole(mut self, kinds: &[Kind]) -> Self {
        for kind in kinds {
            self.classes[*kind as usize] = class::ALL;
        }
        // some calls make events of two kinds, and some fill those of others: one more is dropped by its class
        if !kinds.is_empty() {
            self.calls = Call::ALL.to_vec();
        }
        self.matchers.retain(|(kind, _)| !kinds.contains(kind));
        self
    }

    /// Also what the process table and the watch over credentials need, whatever else is wanted.
    #[must_use]
    pub fn with_processes(mut self) -> Self {
        const NEEDED: [Kind; 5] = [Kind::Exec, Kind::Fork, Kind::Exit, Kind::Setid, Kind::Namespace];
        for kind in NEEDED {
            self.classes[kind as usize] |= class::SUCCESS;
        }
        let is_needed = |call: &Call| call.kind().is_some_and(|kind| NEEDED.contains(&kind));
        let missing: Vec<Call> =
            Call::ALL.iter().copied().filter(is_needed).filter(|it| !self.calls.contains(it)).collect();
        self.calls.extend(missing);
        self.matchers.retain(|(kind, _)| !NEEDED.contains(kind));
        self
    }
}

/// The map of the kernel half that holds its [`Control`], and what is in it; the maps beside it that it looks into.
pub struct Steering {
    map: Array<MapData, [u64; WORDS]>,
    matchers: Array<MapData, [u64; MATCHER_WORDS]>,
    own: HashMap<MapData, Own, u32>,
    executables: HashMap<MapData, u64, [u32; EXECUTABLE_WORDS]>,
    environment: HashMap<MapData, Variable, u32>,
    control: Control,
}

impl Steering {
    /// The control of a kernel half.
    pub fn new(
        map: Array<MapData, [u64; WORDS]>,
        matchers: Array<MapData, [u64; MATCHER_WORDS]>,
        own: HashMap<MapData, Own, u32>,
        executables: HashMap<MapData, u64, [u32; EXECUTABLE_WORDS]>,
        environment: HashMap<MapData, Variable, u32>,
    ) -> Result<Self, MapError> {
        let control = Control::read_from_bytes(map.get(&0, 0)?.as_bytes()).unwrap_or_default();
        Ok(Self { map, matchers, own, executables, environment, control })
    }

    /// Says what is ours: who touches it is told.
    pub fn own(&mut self, what: Touched, number: u32) -> Result<(), MapError> {
        self.own.insert([what.0, number], 0, 0)
    }

    /// Forgets the names of what runs: they are those of another run, and this one reads them from /proc, where what was
    /// renamed since has another name.
    fn forget_executables(&mut self) -> Result<(), MapError> {
        let known: Vec<_> = self.executables.keys().collect::<Result<_, _>>()?;
        for file in known {
            match self.executables.remove(&file) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says which variables of the environment are told of an exec, and which are not any more.
    fn tell_variables(&mut self, names: &[String]) -> Result<(), MapError> {
        let names: Vec<Variable> = names.iter().filter_map(|name| variable(name)).collect();
        let known: Vec<_> = self.environment.keys().collect::<Result<_, _>>()?;
        for name in known.iter().filter(|name| !names.contains(name)) {
            self.environment.remove(name)?;
        }
        for name in &names {
            self.environment.insert(name, 0, 0)?;
        }
        self.set(|control| control.environment = names.len() as u64)
    }

    /// What it was told.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The first words to one that was just loaded: events from this time on are made.
    pub fn begin(&mut self, from: u64) -> Result<(), MapError> {
        self.set(|control| (control.from, control.until) = (from, u64::MAX))
    }

    /// Says who we are, and which variables are told of an exec.
    pub fn introduce(&mut self, environment: &[String]) -> Result<(), MapError> {
        self.set(|control| {
            control.agent_born = born().unwrap_or(0);
            control.agent = std::process::id();
            control.agent_group = nix::unistd::getpgrp().as_raw().cast_unsigned();
        })?;
        // from here on the kernel half sees new ones itself
        for thread in threads() {
            self.own(Touched::PROCESS, thread)?;
        }
        self.forget_executables()?;
        self.tell_variables(environment)
    }

    /// Says all again if somebody else has said something. Returns whether that was so.
    pub fn insist(&mut self) -> Result<bool, MapError> {
        if self.map.get(&0, 0)?.as_bytes() == self.control.as_bytes() {
            return Ok(false);
        }
        self.set(|_| ())?;
        Ok(true)
    }

    /// Whether any event of these kinds is wanted.
    pub fn wants(&self, kinds: &[Kind]) -> bool {
        let filter = &self.control.filters[self.control.chosen as usize & 1];
        kinds.iter().any(|kind| filter.wanted[*kind as usize] != 0)
    }

    /// Changes the control.
    pub fn set(&mut self, change: impl FnOnce(&mut Control)) -> Result<(), MapError> {
        change(&mut self.control);
        let words = <[u64; WORDS]>::read_from_bytes(self.control.as_bytes()).unwrap_or([0; WORDS]);
        self.map.set(0, words, 0)
    }

    /// Wants other events from now on, all at once: what is new is written beside what holds, and then chosen.
    pub fn want(&mut self, wanted: &Wanted) -> Result<(), MapError> {
        let next = 1 - (self.control.chosen as usize & 1);
        for (kind, matcher) in &wanted.matchers {
            let words: &[u64; MATCHER_WORDS] = zerocopy::transmute_ref!(&**matcher);
            self.matchers.set((next * KINDS + *kind as usize) as u32, words, 0)?;
        }
        self.set(|control| control.filters[next] = filter(wanted))?;
        self.set(|control| control.chosen = next as u64)
    }
}

/// The threads of this process.
fn threads() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect()
}

/// Start of this process in clock ticks since boot (field 22 of `/proc/PID/stat`, proc_pid_stat(5)).
fn born() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// The calls that somebody wants, by number.
fn filter(wanted: &Wanted) -> Filter {
    let mut filter = Filter { wanted: wanted.classes, ..Filter::default() };
    for call in &wanted.calls {
        filter.x86_64[call.x86_64()] = *call as u8;
        call.i386().iter().for_each(|number| filter.i386[*number] = *call as u8);
    }
    if SOCKET_OPERATIONS.iter().any(|(_, call)| wanted.calls.contains(call)) {
        let (number, mark) = SOCKETCALL;
        filter.i386[number] = mark;
    }
    for (kind, _) in &wanted.matchers {
        filter.matched[*kind as usize] = 1;
    }
    filter.x86_64[LACKING] = 0;
    filter.i386[LACKING] = 0;
    filter
}
