//! How far the sinks are: up to where the spool may release, and which of them is not reached for long. The latter is told
//! in the log itself: whoever reads another sink, or this one later, knows.

use std::{cell::Cell, sync::Arc, time::Duration};

use seal::text;

use crate::{deliver::Status, source::Own};

/// The sinks.
#[derive(Debug, Default)]
pub struct Progress(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    name: String,
    status: Arc<Status>,
    required: bool,
    /// The most seconds that a batch may wait.
    most: u64,
    is_late: Cell<bool>,
}

impl Progress {
    /// Adds a sink. `max_lag`: how long a batch may wait for it; zero for any time.
    pub fn add(&mut self, name: String, status: Arc<Status>, required: bool, max_lag: Duration) {
        self.0.push(Watched { name, status, required, most: max_lag.as_secs(), is_late: Cell::new(false) });
    }

    /// The last batch that all required sinks have.
    pub fn released(&self) -> Option<u64> {
        self.0.iter().filter(|sink| sink.required).map(|sink| sink.status.report().cursor).min().flatten()
    }

    /// Sinks that are late since the last look, or are not any more. `wall`: nanoseconds since 1970.
    pub fn late(&self, wall: u64) -> Vec<Own> {
        self.0.iter().filter(|sink| sink.most > 0).filter_map(|sink| sink.look(wall / 1_000_000_000)).collect()
    }
}

impl Watched {
    fn look(&self, now: u64) -> Option<Own> {
        let report = self.status.report();
        let since = report.oldest.filter(|oldest| now.saturating_sub(*oldest) > self.most);
        if since.is_some() == self.is_late.replace(since.is_some()) {
            return None;
        }
        let (name, why) = (self.name.clone(), report.trouble.filter(|_| since.is_some()));
        tracing::warn!(sink = name, late = since.is_some(), "a batch waits for it longer than `max_lag`, or did");
        Some(Own::Sink { name, since: since.map(|since| text::time(since * 1_000_000_000)), why })
    }
}
