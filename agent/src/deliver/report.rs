//! What a delivery tells: its state, and the batches its sink did not get.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use seal::Gap;

/// Most gaps that wait for a header.
const GAPS_MAX: usize = 256;

/// The state of one delivery, for `sigtrail status` and metrics.
#[derive(Debug, Default)]
pub struct Status(Mutex<Report>);

/// What [`Status`] holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The last batch the sink has, durably known: the spool may release up to here.
    pub cursor: Option<u64>,
    /// Seconds since 1970 at which the oldest batch was sealed that waits for the sink, as its header says.
    pub oldest: Option<u64>,
    /// Batches acknowledged since the start.
    pub batches: u64,
    /// Their bytes before compression.
    pub bytes: u64,
    /// Sends that have to be done again.
    pub retries: u64,
    /// Batches the sink does not get: evicted before, or refused for good.
    pub missed: u64,
    /// Whether the last send failed for a reason that will not pass by itself.
    pub needs_operator: bool,
    /// What went wrong last, and is not yet over.
    pub trouble: Option<String>,
    /// The last thing an operator should know though it was no failure.
    pub note: Option<String>,
    /// When the sink last acknowledged a batch.
    pub last_success: Option<SystemTime>,
}

impl Status {
    /// The state now.
    pub fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Report {
    pub(super) fn delivered(&mut self, batches: u64, bytes: u64, note: Option<String>) {
        self.batches += batches;
        self.bytes += bytes;
        self.note = note.or(self.note.take());
        (self.trouble, self.needs_operator) = (None, false);
        self.last_success = Some(SystemTime::now());
    }

    pub(super) fn trouble(&mut self, why: String, needs_operator: bool) {
        (self.trouble, self.needs_operator) = (Some(why), needs_operator);
    }
}

/// Batches that sinks did not get, on their way into the next header.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Arc<Mutex<Vec<Gap>>>);

impl Gaps {
    /// All gaps since the last call, in the order they were found.
    pub fn take(&self) -> Vec<Gap> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a gap. Neighbours become one. When too many wait, the ones of a sink are joined over what is between: a
    /// header then names more than is missing, never less.
    pub fn add(&self, gap: Gap) {
        let mut gaps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = gaps.len() >= GAPS_MAX;
        let same = gaps.iter_mut().rev().find(|other| other.sink == gap.sink && other.reason == gap.reason);
        match same {
            Some(other) if full || other.to.checked_add(1) == Some(gap.from) => {
                other.from = other.from.min(gap.from);
                other.to = other.to.max(gap.to);
            }
            // Also when full: sinks and reasons are few, so this cannot grow far.
            _ => gaps.push(gap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::GapReason;

    #[test]
    fn gaps_join_and_stay_few() {
        let gaps = Gaps::default();
        let gap = |from, to| Gap { sink: "a".to_owned(), from, to, reason: GapReason::Lag };
        gaps.add(gap(1, 2));
        gaps.add(gap(3, 3));
        assert_eq!(gaps.take(), [gap(1, 3)]);
        for n in 0..10_000 {
            gaps.add(gap(n * 2, n * 2));
        }
        let all = gaps.take();
        assert_eq!((all.len(), all.last().unwrap().to), (GAPS_MAX, 19_998));
        assert!(gaps.take().is_empty());
    }
}
