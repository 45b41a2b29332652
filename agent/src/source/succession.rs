//! From one kernel half to the next without a gap: what is there is found, and hands over to what is wanted.
//!
//! Both are attached for a moment, the older one first in line at each hook. They agree on a time: events before it are
//! the older one's, events from it on the newer one's.

use std::{collections::VecDeque, time::Duration};

use super::{
    Own, journal,
    kernel::{Kernel, Options, SourceError, Stay},
    load::Plan,
    pin::Pins,
};
use crate::clock::Now;

/// So far ahead lies the time on which two kernel halves agree, in nanoseconds: both must have heard of it before.
pub const AHEAD: u64 = 100_000_000;

/// A kernel half, those that hand over to it, and what is to be told about that.
pub struct Succession {
    /// Oldest first; the last one is what was asked for.
    pub line: VecDeque<Kernel>,
    /// Records, one for each that was there before.
    pub told: Vec<Own>,
}

impl Succession {
    /// Finds, loads and attaches. A program that cannot be attached is no error: see [`Kernel::attached`].
    pub fn open(options: &Options) -> Result<Self, SourceError> {
        let plan = Plan::new(options)?;
        let Some(stay) = &options.stay else {
            return Ok(Self::alone(Kernel::load_anew(&plan, options, None, 0)?));
        };
        if let Err(why) = stay.pins.make() {
            if stay.must {
                return Err(SourceError::Pin(why));
            }
            tracing::warn!(why, "the programs will end with the agent: events of a restart are missing");
            let mut kernel = Kernel::load_anew(&plan, options, None, 0)?;
            kernel.unpinned = Some(why);
            return Ok(Self::alone(kernel));
        }
        let mut told = Vec::new();
        let mut line = find(&plan, options, stay, &mut told)?;
        if line.back().is_none_or(|last| last.generation() != plan.generation) {
            let from = if line.is_empty() { 0 } else { u64::MAX };
            line.push_back(anew(&plan, options, stay, from)?);
        }
        let loads: Vec<_> = line.iter().map(Kernel::load).collect();
        for load in journal::loads(&stay.journal).into_iter().filter(|load| !loads.contains(load)) {
            journal::forget(&stay.journal, Some(load));
        }
        let mut succession = Self { line, told };
        succession.agree()?;
        Ok(succession)
    }

    fn alone(kernel: Kernel) -> Self {
        Self { line: VecDeque::from([kernel]), told: Vec::new() }
    }

    /// Each one and the next agree on a time. Those that agreed before a crash stay with it.
    fn agree(&mut self) -> Result<(), SourceError> {
        let failed = |error| SourceError::Map("CONTROL", error);
        for at in 1..self.line.len() {
            let mut from = self.line[at].steering.control().from;
            if from == u64::MAX {
                from = Now::read().map_err(|error| SourceError::Wait(error.into()))?.boot + AHEAD;
                self.line[at].steering.begin(from).map_err(failed)?;
            }
            // in this order: if this comes late, some events are made by both, and those of the older are left out
            if self.line[at - 1].until() != from {
                self.line[at - 1].steering.set(|control| control.until = from).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Loads, with a journal and names. What has names and no journal would be taken up by a later run that does not know
/// what is sealed of it.
fn anew(plan: &Plan, options: &Options, stay: &Stay, from: u64) -> Result<Kernel, SourceError> {
    let loaded = Kernel::load_anew(plan, options, Some(&stay.pins), from);
    let mut kernel = loaded.inspect_err(|_| stay.pins.discard())?;
    if kernel.is_pinned()
        && let Err(why) = kernel.keep_journal(stay, false)
    {
        if let Some(pins) = kernel.pins.take()
            && let Err(error) = pins.remove(&kernel.generation)
        {
            tracing::warn!(%error, "the names of the programs cannot be removed");
        }
        kernel.unpinned = Some(why);
    }
    match &kernel.unpinned {
        Some(why) if stay.must => Err(SourceError::Pin(why.clone())),
        Some(why) => {
            tracing::warn!(why, "the programs will end with the agent: events of a restart are missing");
            Ok(kernel)
        }
        None => Ok(kernel),
    }
}

/// What earlier runs left, oldest first. What cannot be used is removed, and told.
fn find(plan: &Plan, options: &Options, stay: &Stay, told: &mut Vec<Own>) -> Result<VecDeque<Kernel>, SourceError> {
    let mut found = Vec::new();
    for generation in stay.pins.generations().map_err(|error| SourceError::Pin(error.to_string()))? {
        let is_wanted = generation == plan.generation;
        match take_up(plan, options, stay, &generation) {
            Ok(kernel) if is_wanted || kernel.steering.control().from != u64::MAX => found.push(kernel),
            // a crash left it before it had made anything
            Ok(mut kernel) => {
                kernel.detach();
                kernel.forget();
            }
            Err(why) => {
                tracing::warn!(generation, why, "programs of an earlier run cannot be used: what waited there is lost");
                told.push(abandoned(generation.clone(), why));
                stay.pins.remove(&generation).map_err(|error| SourceError::Pin(error.to_string()))?;
            }
        }
    }
    // what was wanted by an earlier run, and is again, must be the last: of two with the same name there is but one
    found.sort_by_key(|kernel| kernel.steering.control().from);
    let handed_on = |kernel: &Kernel| kernel.until() != u64::MAX;
    if let Some(at) = found.iter().position(|kernel| kernel.generation() == plan.generation)
        && (at + 1 != found.len() || handed_on(&found[at]) || found[at].is_closed)
    {
        // its programs go on under another name until they are drained
        found[at].leave().map_err(SourceError::Pin)?;
    }
    for kernel in &mut found {
        kernel.steer(options)?;
        told.push(taken_up(kernel, &plan.generation)?);
    }
    Ok(found.into())
}

fn take_up(plan: &Plan, options: &Options, stay: &Stay, generation: &str) -> Result<Kernel, String> {
    if !Plan::understands(generation) {
        return Err("their events have another form".to_owned());
    }
    let mut kernel = Kernel::adopt(plan, options, &stay.pins, generation).map_err(|error| error.to_string())?;
    match kernel.keep_journal(stay, true) {
        Ok(()) => Ok(kernel),
        Err(why) => {
            kernel.detach();
            Err(why)
        }
    }
}

fn taken_up(kernel: &mut Kernel, wanted: &str) -> Result<Own, SourceError> {
    let numbers = kernel.sequences()?;
    let found = kernel.found.as_ref();
    let base = found.map(|found| found.base.clone()).unwrap_or_default();
    let next = |cpu: usize| base.cpus.iter().find(|(id, _)| *id as usize == cpu).map_or(0, |(_, next)| *next);
    let waiting = numbers.iter().enumerate().map(|(cpu, number)| number.saturating_sub(next(cpu))).sum();
    let unread = found.and_then(|found| found.written?.elapsed().ok()).map_or(0, |age: Duration| age.as_secs());
    Ok(Own::Handover {
        how: if kernel.generation() == wanted { "adopted" } else { "replaced" },
        from: base.version,
        generation: kernel.generation().to_owned(),
        waiting,
        journal: found.map_or(0, |found| found.count),
        unread_seconds: unread,
        why: None,
    })
}

fn abandoned(generation: String, why: String) -> Own {
    Own::Handover {
        how: "abandoned",
        from: String::new(),
        generation,
        waiting: 0,
        journal: 0,
        unread_seconds: 0,
        why: Some(why),
    }
}

/// Removes what earlier runs left. Returns how many loads there were.
pub fn detach(pins: &Pins, journal: &std::path::Path) -> std::io::Result<usize> {
    let count = pins.clear()?;
    journal::forget(journal, None);
    Ok(count)
}
