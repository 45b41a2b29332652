//! A sink that is not reached for long is told in the log itself: whoever reads another sink, or this one later, knows.

use std::{sync::Arc, time::Duration};

use seal::text;

use crate::{deliver::Status, source::Own};

/// The sinks, each with the longest time that a batch may wait for it.
#[derive(Debug, Default)]
pub struct Late(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    name: String,
    status: Arc<Status>,
    most: u64,
    is_late: bool,
}

impl Late {
    /// Watches a sink. Zero: it may take any time.
    pub fn watch(&mut self, name: String, status: Arc<Status>, most: Duration) {
        if !most.is_zero() {
            self.0.push(Watched { name, status, most: most.as_secs(), is_late: false });
        }
    }

    /// Sinks that are late since the last look, or are not any more. `wall`: nanoseconds since 1970.
    pub fn look(&mut self, wall: u64) -> Vec<Own> {
        self.0.iter_mut().filter_map(|sink| sink.look(wall / 1_000_000_000)).collect()
    }
}

impl Watched {
    fn look(&mut self, now: u64) -> Option<Own> {
        let report = self.status.report();
        let since = report.oldest.filter(|oldest| now.saturating_sub(*oldest) > self.most);
        if since.is_some() == self.is_late {
            return None;
        }
        self.is_late = since.is_some();
        let (name, why) = (self.name.clone(), report.trouble.filter(|_| self.is_late));
        tracing::warn!(sink = name, is_late = self.is_late, "a batch waits longer for it than `max_lag`, or did");
        Some(Own::Sink { name, since: since.map(|since| text::time(since * 1_000_000_000)), why })
    }
}
