//! What the running kernel half is told: which events are wanted, whose are left out, and when they are ours.

use aya::maps::{Array, MapData, MapError};
use common::{
    Call,
    call::NONE,
    filter::{Control, Filter, KINDS},
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Words of a [`Control`].
const WORDS: usize = size_of::<Control>() / 8;

/// The map of the kernel half that holds its [`Control`], and what is in it.
pub struct Steering {
    map: Array<MapData, [u64; WORDS]>,
    control: Control,
}

impl Steering {
    /// The control of a kernel half that was just loaded.
    pub fn new(map: Array<MapData, [u64; WORDS]>) -> Self {
        Self { map, control: Control { until: u64::MAX, agent: std::process::id(), ..Control::default() } }
    }

    /// Changes the control.
    pub fn set(&mut self, change: impl FnOnce(&mut Control)) -> Result<(), MapError> {
        change(&mut self.control);
        let words = <[u64; WORDS]>::read_from_bytes(self.control.as_bytes()).unwrap_or([0; WORDS]);
        self.map.set(0, words, 0)
    }

    /// Puts other classes of events in place of the wanted ones, all at once: the new filter is written beside the one
    /// that holds, and then chosen.
    pub fn want(&mut self, wanted: &[u8; KINDS]) -> Result<(), MapError> {
        let next = 1 - (self.control.chosen as usize & 1);
        self.set(|control| control.filters[next] = filter(wanted))?;
        self.set(|control| control.chosen = next as u32)
    }
}

/// The calls that somebody wants, by number.
fn filter(wanted: &[u8; KINDS]) -> Filter {
    let mut filter = Filter { wanted: *wanted, ..Filter::default() };
    for call in Call::ALL {
        if call.kinds().iter().any(|kind| wanted[*kind as usize] != 0) {
            filter.x86_64[call.x86_64()] = *call as u8;
            filter.i386[call.i386()] = *call as u8;
        }
    }
    // calls that an architecture lacks
    filter.x86_64[NONE] = 0;
    filter.i386[NONE] = 0;
    filter
}
