//! What is measured of records, for metrics: how long they took to the disk, and which rules kept them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Upper bounds of the delays that are told apart, in nanoseconds.
pub const BOUNDS: [u64; 12] = [
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Rules that are counted by name.
const RULES: usize = 512;

/// Stands for the rules beyond them.
const OTHERS: &str = "(others)";

/// From the event in the kernel until its record was durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// Records by the first of [`BOUNDS`] that was kept; the last are those beyond all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All delays together, in nanoseconds.
    pub nanoseconds: u64,
}

/// What was measured since the start.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// When the events of the open batch happened, in nanoseconds since boot.
    waiting: Vec<u64>,
    /// How long records took.
    pub delays: Delays,
    /// Events that a rule kept, by its id; that is empty for those that no rule matched.
    pub rules: BTreeMap<String, u64>,
}

impl Meter {
    /// A rule kept an event.
    pub fn matched(&mut self, rule: &str) {
        let rule = if self.rules.len() < RULES || self.rules.contains_key(rule) { rule } else { OTHERS };
        match self.rules.get_mut(rule) {
            Some(count) => *count += 1,
            None => drop(self.rules.insert(rule.to_owned(), 1)),
        }
    }

    /// An event that happened at a time since boot is in the open batch.
    pub fn waits(&mut self, ktime: u64) {
        self.waiting.push(ktime);
    }

    /// The batch is durable.
    pub fn durable(&mut self, boot: u64) {
        for ktime in self.waiting.drain(..) {
            let delay = boot.saturating_sub(ktime);
            let at = BOUNDS.iter().position(|bound| delay <= *bound).unwrap_or(BOUNDS.len());
            self.delays.counts[at] += 1;
            self.delays.nanoseconds = self.delays.nanoseconds.saturating_add(delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_measured_once_and_when_it_is_durable() {
        let mut meter = Meter::default();
        meter.waits(0);
        meter.waits(5_000_000_000);
        assert_eq!(meter.delays, Delays::default());
        meter.durable(5_002_500_000);
        meter.durable(99_000_000_000);
        let mut counts = [0; BOUNDS.len() + 1];
        (counts[0], counts[11]) = (1, 1);
        assert_eq!(meter.delays, Delays { counts, nanoseconds: 5_005_000_000 });
        meter.waits(0);
        meter.durable(10_000_000_001);
        assert_eq!(meter.delays.counts[12], 1);
    }

    #[test]
    fn rules_are_counted_in_bounded_memory() {
        let mut meter = Meter::default();
        for rule in 0..10 * RULES {
            meter.matched(&rule.to_string());
            meter.matched("0");
        }
        assert_eq!(meter.rules.len(), RULES + 1);
        assert_eq!(meter.rules["0"], 10 * RULES as u64 + 1);
        assert_eq!(meter.rules.values().sum::<u64>(), 20 * RULES as u64);
    }
}
