//! From the ring to a judged record.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use common::{Event, filter::Counts};

use super::{
    Log, Status, Tally,
    status::describe,
    tally::{Closed, Marks},
};
use crate::{
    clock::{Now, Stamp},
    enrich::{Credentials, Enrich},
    policy::{Policy, Scratch},
    record::{Judgement, Record, Verdict},
    source::{Kernel, Source, SourceError},
};

/// A wall clock that moved by less than this has not stepped, it was steered.
const STEP: i64 = 100_000_000;

/// The parts that make records of events.
pub struct Front {
    source: Source,
    enrich: Enrich,
    credentials: Credentials,
    policy: Policy,
    scratch: Scratch,
    stamp: Stamp,
    offset: i64,
    tally: Tally,
    /// When the rate was worked out, and how many events there were then.
    published: (Instant, u64),
}

/// A rate is taken over at least this time.
const RATE_AGE: Duration = Duration::from_millis(500);

/// What [`Front::drain`] hands over for each event: the record, the judgement, the time (empty when
/// it is dropped), the account.
pub type Opened<'a> = &'a mut dyn FnMut(&Record<'_>, Judgement<'_>, &str, &mut Tally) -> ControlFlow<()>;

impl Front {
    /// Puts the parts together.
    pub fn new(source: Source, enrich: Enrich, policy: Policy, now: Now) -> Self {
        let mut stamp = Stamp::default();
        stamp.set(now);
        Self {
            source,
            enrich,
            credentials: Credentials::default(),
            policy,
            scratch: Scratch::default(),
            stamp,
            offset: now.offset(),
            tally: Tally::default(),
            published: (Instant::now(), 0),
        }
    }

    /// Judges the events that are there, until `each` breaks. Returns whether there are no more.
    pub fn drain(
        &mut self,
        mut each: impl FnMut(&Record<'_>, Judgement<'_>, &str, &mut Tally) -> ControlFlow<()>,
    ) -> bool {
        let Self { source, enrich, credentials, policy, scratch, stamp, tally, .. } = self;
        source.drain(|bytes| {
            let event = match Event::decode(bytes) {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%error, "the kernel half sent something else than an event");
                    tally.undecodable();
                    return ControlFlow::Continue(());
                }
            };
            tally.received(&event);
            let (time, mut full) = (event.header.ktime, false);
            if let Some(event) = credentials.follow(&event) {
                let record = Record { event, context: enrich.context(&event) };
                let judgement = policy.judge(&record, scratch);
                // the event that shows it follows in any case
                full = each(&record, judgement, stamp.text(time), tally).is_break();
            }
            let context = enrich.context(&event);
            let record = Record { event, context };
            let judgement = policy.judge(&record, scratch);
            let text = if judgement.verdict == Verdict::Drop { "" } else { stamp.text(time) };
            let flow = each(&record, judgement, text, tally);
            if full { ControlFlow::Break(()) } else { flow }
        })
    }

    /// Waits for events.
    pub fn wait(&self, time: Duration) -> Result<(), SourceError> {
        self.source.wait(time)
    }

    /// Follows the wall clock; returns by how much it stepped, if it did.
    pub fn follow(&mut self, now: Now) -> Option<i64> {
        let step = now.offset() - self.offset;
        self.stamp.set(now);
        self.offset = now.offset();
        (step.abs() >= STEP).then_some(step)
    }

    /// Stops the kernel half.
    pub fn detach(&mut self) {
        self.source.detach();
    }

    /// SHA-256 of the policy's text.
    pub fn policy_digest(&self) -> [u8; 32] {
        self.policy.digest()
    }

    /// The next sequence number of each CPU, to close an account with after the events before are taken.
    pub fn sequences(&self) -> Result<Vec<u64>, SourceError> {
        self.source.kernel().map_or(Ok(Vec::new()), Kernel::sequences)
    }

    /// Closes the account of a batch. `sequences`: see [`Front::sequences`]; `empty`: all events before are taken.
    pub fn close(&mut self, sequences: Vec<u64>, empty: bool) -> Result<Closed, SourceError> {
        // the counts last: of every gap that shows, the loss is counted by now
        let marks = self.marks(sequences)?;
        let closed = self.tally.close(marks, empty);
        if closed.lost > 0 {
            self.credentials.forget();
        }
        Ok(closed)
    }

    fn marks(&self, sequences: Vec<u64>) -> Result<Marks, SourceError> {
        let Some(kernel) = self.source.kernel() else { return Ok(Marks { sequences, ..Marks::default() }) };
        let sum = |counts: Vec<Counts>| {
            counts.iter().fold(Counts::default(), |sum, it| Counts {
                seen: sum.seen + it.seen,
                filtered: sum.filtered + it.filtered,
                sent: sum.sent + it.sent,
                lost: sum.lost + it.lost,
                truncated: sum.truncated + it.truncated,
            })
        };
        let counts = kernel.counts()?.into_iter().map(|(hook, counts)| (hook, sum(counts))).collect();
        Ok(Marks { counts, sequences, skipped: kernel.skipped() })
    }

    /// Publishes the state for `status`.
    pub fn publish(&mut self, log: &Log, trouble: Option<String>, status: &Arc<Mutex<Status>>) {
        let (since, before) = self.published;
        let age = since.elapsed();
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        self.source.kernel().inspect(|kernel| describe(kernel, &mut status));
        status.total = self.tally.total;
        if age >= RATE_AGE {
            status.rate = (self.tally.total.received - before) * 1000 / (age.as_millis() as u64);
            self.published = (Instant::now(), self.tally.total.received);
        }
        status.processes = self.enrich.processes();
        log.describe(&mut status);
        status.trouble = trouble;
    }
}
