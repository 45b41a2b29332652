//! From the ring to a judged record.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use common::{Event, filter::Counts};

use super::{
    Log, Seam, Shed, Status, Tally,
    status::{describe, program_runs},
    tally::{Closed, Marks},
};
use crate::{
    clock::{Now, Stamp},
    enrich::{Credentials, Enrich},
    policy::{Policy, Scratch},
    record::{Judgement, Record, Verdict},
    source::{Attached, Kernel, Own, Source, SourceError, Wanted},
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
    /// What the kernel half said when it was asked last.
    told: Marks,
    seam: Seam,
    /// Times that the wall clock stepped.
    steps: u64,
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
    pub fn new(mut source: Source, enrich: Enrich, policy: Policy, now: Now) -> Self {
        let mut tally = Tally::default();
        if let Some(found) = source.kernel_mut().and_then(Kernel::take_found) {
            tally.resume(&found.base);
        }
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
            tally,
            told: Marks::default(),
            seam: Seam::default(),
            steps: 0,
            published: (Instant::now(), 0),
        }
    }

    /// Judges the events that are there, until `each` breaks. Returns whether there are no more.
    pub fn drain(
        &mut self,
        mut each: impl FnMut(&Record<'_>, Judgement<'_>, &str, &mut Tally) -> ControlFlow<()>,
    ) -> bool {
        let Self { source, enrich, credentials, policy, scratch, stamp, tally, seam, .. } = self;
        let until = source.ends();
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
            let is_ours = match until {
                Some(until) => seam.before(&event, bytes, until),
                None => !seam.is_told(&event, bytes),
            };
            if !is_ours {
                tally.repeated();
                return ControlFlow::Continue(());
            }
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

    /// Makes room in the rings while there is no time for their events.
    pub fn soak(&mut self) {
        self.source.soak();
    }

    /// Follows the wall clock; returns by how much it stepped, if it did.
    pub fn follow(&mut self, now: Now) -> Option<i64> {
        let step = now.offset() - self.offset;
        self.stamp.set(now);
        self.offset = now.offset();
        let stepped = step.abs() >= STEP;
        self.steps += u64::from(stepped);
        stepped.then_some(step)
    }

    /// Puts a policy in place of the one that holds, in the kernel half first. Returns what then is degraded.
    pub fn exchange(&mut self, policy: Policy, wanted: &Wanted) -> Result<Vec<Own>, SourceError> {
        let attached = self.source.want(wanted)?;
        let degraded = attached.iter().filter_map(Attached::degraded).collect();
        self.policy = policy;
        Ok(degraded)
    }

    /// Stops the kernel half.
    pub fn detach(&mut self) {
        self.source.detach();
    }

    /// Whether the kernel half goes on without us.
    pub fn stays(&self) -> bool {
        self.source.kernel().is_some_and(Kernel::is_pinned)
    }

    /// When the kernel half hands over to another one that is there; `None` when there is none.
    pub fn ends(&self) -> Option<u64> {
        self.source.ends()
    }

    /// All that the kernel half made is sealed: goes on with the next one.
    pub fn succeed(&mut self) {
        self.source.succeed();
        if let Some(kernel) = self.source.kernel() {
            self.seam.meet(kernel.left());
        }
        match self.source.kernel_mut().and_then(Kernel::take_found) {
            Some(found) => self.tally.resume(&found.base),
            None => self.tally.begin_anew(),
        }
    }

    /// What is accounted for once the batch of this number is durable.
    pub fn closing(&mut self, batch: u64) {
        let base = self.tally.base(batch);
        if let Some(kernel) = self.source.kernel_mut() {
            kernel.closing(base);
        }
    }

    /// Whether a batch should be sealed, though nothing else asks for that: what is taken and not sealed is kept twice.
    pub fn is_due(&self) -> bool {
        self.source.kernel().is_some_and(Kernel::is_long)
    }

    /// The batch is durable since a time.
    pub fn sealed(&mut self, now: Now) {
        self.tally.meter.durable(now.boot);
        if let Some(kernel) = self.source.kernel_mut() {
            kernel.sealed();
        }
    }

    /// All is sealed, and nothing is to be gone on with.
    pub fn forget(&mut self) {
        if let Some(kernel) = self.source.kernel_mut() {
            kernel.forget();
        }
    }

    /// Looks whether the kernel half is as it should be, and mends it.
    pub fn check(&mut self, scratch: &Path) -> Vec<Own> {
        self.source.kernel_mut().map_or(Vec::new(), |kernel| kernel.check(scratch))
    }

    /// Makes an event of our own, see [`Kernel::test`].
    pub fn test(&mut self, file: &Path) -> Result<(), String> {
        self.source.kernel_mut().map_or(Ok(()), |kernel| kernel.test(file))
    }

    /// SHA-256 of the policy's text.
    pub fn policy_digest(&self) -> [u8; 32] {
        self.policy.digest()
    }

    /// The next sequence number of each CPU, to close an account with after the events before are taken.
    pub fn sequences(&self) -> Result<Vec<u64>, SourceError> {
        self.source.kernel().map_or(Ok(Vec::new()), Kernel::sequences)
    }

    /// The summaries of what was merged in this batch.
    pub fn flush(&mut self, shed: &mut Shed) -> Vec<Own> {
        shed.flush(&mut self.tally)
    }

    /// Closes the account of a batch. `sequences`: see [`Front::sequences`]; `empty`: all events before are taken.
    pub fn close(&mut self, sequences: Vec<u64>, empty: bool) -> Result<Closed, SourceError> {
        // the counts last: of every gap that shows, the loss is counted by now
        let marks = self.ask(sequences)?;
        let load = self.source.kernel().map(|kernel| u64::from(kernel.load()));
        let mut closed = self.tally.close(marks, empty);
        closed.load = load;
        if closed.lost > 0 {
            self.credentials.forget();
        }
        Ok(closed)
    }

    /// Asks the kernel half for its counts. They are published until it is asked again.
    pub fn refresh(&mut self) -> Result<(), SourceError> {
        self.ask(Vec::new()).map(drop)
    }

    fn ask(&mut self, sequences: Vec<u64>) -> Result<Marks, SourceError> {
        let Some(kernel) = self.source.kernel() else { return Ok(Marks { sequences, ..Marks::default() }) };
        let sum = |counts: Vec<Counts>| {
            counts.iter().fold(Counts::default(), |sum, it| Counts {
                seen: sum.seen + it.seen,
                filtered: sum.filtered + it.filtered,
                sent: sum.sent + it.sent,
                lost: sum.lost + it.lost,
                truncated: sum.truncated + it.truncated,
                own: sum.own + it.own,
            })
        };
        let counts = kernel.counts()?.into_iter().map(|(hook, counts)| (hook, sum(counts))).collect();
        self.told = Marks { counts, sequences, skipped: kernel.skipped() };
        Ok(self.told.clone())
    }

    /// Publishes the state for `status`.
    pub fn publish(&mut self, log: &Log, trouble: Option<String>, status: &Arc<Mutex<Status>>) {
        let (since, before) = self.published;
        let age = since.elapsed();
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        self.source.kernel().inspect(|kernel| describe(kernel, &self.told, &mut status));
        status.total = self.tally.total;
        status.kinds = self.tally.kinds.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect();
        if age >= RATE_AGE {
            status.rate = (self.tally.total.received - before) * 1000 / (age.as_millis() as u64);
            self.published = (Instant::now(), self.tally.total.received);
            status.runs = self.source.kernel().map_or_else(Vec::new, program_runs);
        }
        status.clock_steps = self.steps;
        status.delays = self.tally.meter.delays;
        status.rules.clone_from(&self.tally.meter.rules);
        status.policy = format!("sha256:{}", seal::text::hex(&self.policy.digest()));
        status.processes = self.enrich.processes();
        log.describe(&mut status);
        status.trouble = trouble;
    }
}
