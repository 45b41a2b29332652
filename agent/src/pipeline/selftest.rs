//! Whether an event still reaches the log: the agent makes one itself, and looks for it.
//!
//! ```text
//! a file of ours is removed ─▶ hook ─▶ ring ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ durable ─▶ passed
//! ```

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Front, Status};
use crate::{clock::Now, policy::SELF_TEST};

/// The test, and how far it is.
pub struct SelfTest {
    /// The file that is made and removed.
    file: PathBuf,
    /// Nanoseconds between two tests.
    every: u64,
    /// Time since boot of the next.
    next: u64,
    /// The event has come, and is in the batch that is gathered.
    is_seen: bool,
    /// Told of each test that passed.
    passed: Box<dyn FnMut(&Status)>,
}

impl SelfTest {
    /// A test with a file in a directory of ours. The first is made at once.
    pub fn new(file: PathBuf, every: Duration, passed: Box<dyn FnMut(&Status)>) -> Self {
        Self { file, every: every.as_nanos() as u64, next: 0, is_seen: false, passed }
    }

    /// Makes the event when it is time. One that got lost on its way is not made up for.
    pub(super) fn act(&mut self, front: &mut Front, now: Now) {
        if now.boot < self.next {
            return;
        }
        if let Err(error) = front.test(&self.file) {
            tracing::error!(error, file = %self.file.display(), "the agent cannot test itself");
        }
        // the time that was given may be old: a batch was stored in between
        self.next = Now::read().unwrap_or(now).boot + self.every;
    }

    /// Looks at the rule of a record that is kept.
    pub(super) fn look(&mut self, rule: &str) {
        self.is_seen |= rule == SELF_TEST;
    }

    /// All that was kept is durable.
    pub(super) fn sealed(&mut self, now: Now, status: &Mutex<Status>) {
        if std::mem::take(&mut self.is_seen) {
            let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
            status.selftest = Some(now.wall / 1_000_000_000);
            (self.passed)(&status);
        }
    }
}
