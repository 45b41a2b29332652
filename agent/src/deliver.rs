//! The way of one batch to one sink: read after the cursor, send, move the cursor.
//!
//! One task per sink. It shares with others only the files of the spool, the number "durable up to here", and what it
//! reports: its [`Status`] and its [`Gaps`]. A sink that is down costs disk, never events, and never another sink.
//!
//! Delivery is at least once: the cursor moves after the receiver has the batch, so a crash between repeats it.

mod again;
mod pace;
mod receipts;
mod report;
mod wait;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seal::{Gap, GapReason, Receipt};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::sealed::{self, Batch};
use crate::sink::{Limit, Outcome, Sink};
use crate::spool::{Cursor, Next, Position, Quarantine, Reader, SpoolError};
pub use again::Refused;
pub use pace::Pace;
pub use receipts::Receipts;
pub use report::{Gaps, Report, Status};

/// Bytes of refused batches that are kept for each sink.
const QUARANTINE_MAX: u64 = 64 << 20;

/// What the daemon wants of every delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Counts up when files, credentials and certificates are to be opened anew (SIGHUP).
    pub reopen: u64,
    /// Deliver what is there, for at most [`Pace::drain`], and end.
    pub stop: bool,
}

/// All that a delivery shares with the rest of the agent.
#[derive(Clone, Debug)]
pub struct Way {
    /// Directory of the spool.
    pub spool: PathBuf,
    /// The last durable batch; `None` while there is none.
    pub head: watch::Receiver<Option<u64>>,
    /// What the daemon wants.
    pub orders: watch::Receiver<Orders>,
    /// Where this sink's state can be read.
    pub status: Arc<Status>,
    /// Where the sealer finds what sinks did not get.
    pub gaps: Gaps,
    /// Where the sealer finds what receivers signed.
    pub receipts: Receipts,
    /// Waiting times.
    pub pace: Pace,
}

/// Why a step has to be done again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("a task of the disk was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("cannot keep a refused batch in {path}: {source}")]
    Quarantine { path: PathBuf, source: std::io::Error },
}

/// Delivers to `sink` until told to stop. Nothing that goes wrong ends it: what is not delivered stays in the spool.
pub async fn run(sink: Sink, way: Way) -> Result<(), SpoolError> {
    let cursor = Cursor::new(&way.spool, sink.name())?;
    let mut delivery = Delivery::begin(sink, cursor, way);
    while delivery.is_wanted() {
        match delivery.gather().await {
            Ok(()) if delivery.queue.is_empty() => match delivery.offer_again().await {
                Ok(true) => {}
                Ok(false) => delivery.wait_for_more().await,
                Err(error) => delivery.back_off(error.to_string()).await,
            },
            Ok(()) => delivery.hand_over().await,
            Err(error) => delivery.back_off(error.to_string()).await,
        }
    }
    Ok(())
}

struct Delivery {
    sink: Sink,
    cursor: Cursor,
    way: Way,
    orders: Orders,
    /// `None` until the cursor is read, and while a blocking thread has it.
    reader: Option<Reader>,
    /// Read and not yet acknowledged, oldest first: at most the sink's limit and one batch.
    queue: VecDeque<Batch>,
    /// Read, but not announced as durable.
    ahead: Option<Batch>,
    /// Done with: its memory is for the next one.
    done: Option<Batch>,
    /// The last batch the sink has.
    position: Option<u64>,
    /// Whether the cursor file says so.
    saved: bool,
    /// Most for one send: halved by "too large", and kept.
    limit: Limit,
    /// Up to this batch one at a time, to find the one that is refused.
    single_until: Option<u64>,
    /// Failures in a row.
    failures: u32,
    /// How often the first batch was refused.
    refusals: u32,
    /// Refused batches to be offered again, the first one last; `None`: to be looked for.
    again: Option<Vec<Refused>>,
    /// When to give up draining.
    deadline: Option<Instant>,
}

impl Delivery {
    fn begin(sink: Sink, cursor: Cursor, mut way: Way) -> Self {
        let orders = *way.orders.borrow_and_update();
        let limit = sink.limit();
        Self {
            sink,
            cursor,
            way,
            orders,
            reader: None,
            queue: VecDeque::new(),
            ahead: None,
            done: None,
            position: None,
            saved: true,
            limit,
            single_until: None,
            failures: 0,
            refusals: 0,
            again: None,
            deadline: None,
        }
    }

    /// Whether there is a reason to go on: told to stop, it is what can still be delivered in time.
    fn is_wanted(&mut self) -> bool {
        self.obey();
        let Some(deadline) = self.deadline else {
            return true;
        };
        let head = *self.way.head.borrow();
        let behind = head.is_some() && self.position < head;
        Instant::now() < deadline && (behind || !self.saved)
    }

    /// Takes new orders.
    fn obey(&mut self) {
        // A daemon that is gone without a word wants the same as one that says stop.
        let gone = self.way.orders.has_changed().is_err();
        let mut orders = *self.way.orders.borrow_and_update();
        orders.stop |= gone;
        if orders.reopen != self.orders.reopen {
            self.sink.reopen();
            self.again = None;
        }
        if orders.stop && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.way.pace.drain);
        }
        self.orders = orders;
    }

    /// Fills the queue with what is durable, up to the sink's limit.
    async fn gather(&mut self) -> Result<(), StepError> {
        let head = *self.way.head.borrow_and_update();
        self.begin_where_the_cursor_is(head).await?;
        let mut bytes = size_of(self.queue.iter());
        while self.queue.is_empty() || (self.queue.len() < self.limit.batches && bytes < self.limit.bytes) {
            if self.queue.back().map(|batch| batch.number).or(self.position) >= head {
                break;
            }
            let next = match self.ahead.take() {
                Some(batch) => Next::Batch(batch),
                None => self.read().await?,
            };
            match next {
                Next::Batch(batch) if head.is_none_or(|head| batch.number > head) => {
                    self.ahead = Some(batch);
                    break;
                }
                Next::Batch(batch) => {
                    bytes += batch.bytes.len();
                    self.queue.push_back(batch);
                }
                Next::Gap { from, to } => self.miss(from, to, GapReason::Lag),
                Next::Nothing => break,
            }
        }
        let oldest = self.queue.front().map(|batch| &*batch.bytes).and_then(sealed::sealed_at);
        self.way.status.update(|report| report.oldest = oldest);
        Ok(())
    }

    /// Opens the reader; also anew when the log began again and the cursor is of the old one.
    async fn begin_where_the_cursor_is(&mut self, head: Option<u64>) -> Result<(), StepError> {
        if self.reader.is_none() && self.queue.is_empty() {
            let cursor = self.cursor.clone();
            // Only the first time: later the memory knows better than the file.
            if self.position.is_none() {
                let found = spawn_blocking(move || cursor.load()).await?;
                if found == Position::Damaged {
                    tracing::warn!(sink = self.sink.name(), "the cursor is damaged: sending from the oldest batch");
                }
                self.position = found.after();
            }
            self.reader = Some(Reader::open(&self.way.spool, self.position));
            let position = self.position;
            self.way.status.update(|report| report.cursor = position);
        }
        if self.position.is_some() && head.is_some() && self.position > head {
            let (sink, position) = (self.sink.name(), self.position);
            tracing::warn!(sink, ?position, ?head, "the cursor is ahead of the log: sending from the oldest batch");
            (self.position, self.ahead) = (None, None);
            self.reader = Some(Reader::open(&self.way.spool, None));
            self.way.status.update(|report| report.cursor = None);
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Next, StepError> {
        let reader = self.reader.take();
        let after = self.queue.back().map(|batch| batch.number).or(self.position);
        let mut reader = reader.unwrap_or_else(|| Reader::open(&self.way.spool, after));
        if let Some(done) = self.done.take() {
            reader.reuse(done);
        }
        let (reader, next) = spawn_blocking(move || {
            let next = reader.next();
            (reader, next)
        })
        .await?;
        self.reader = Some(reader);
        Ok(next?)
    }

    /// Sends the front of the queue once, and does what the outcome asks for.
    async fn hand_over(&mut self) {
        let group = self.group();
        let (Some(first), Some(last)) = (group.first().cloned(), group.last().map(|batch| batch.number)) else {
            return;
        };
        let Some(outcome) = self.send(&group).await else { return };
        match outcome {
            Outcome::Delivered { note, receipt } => {
                if let Some(receipt) = receipt {
                    self.keep(receipt).await;
                }
                self.delivered(&group, note).await;
            }
            Outcome::Retry { after, why } => {
                let wait = after.unwrap_or_else(|| self.way.pace.backoff(self.failures));
                self.failed(why, false, wait).await;
            }
            Outcome::Slow { why } => {
                let wait = self.way.pace.slow_backoff(self.failures);
                self.failed(why, true, wait).await;
            }
            Outcome::TooLarge { .. } if group.len() > 1 => self.limit.bytes = size_of(&group) / 2,
            Outcome::TooLarge { why } => self.give_up(&first, 413, &why).await,
            Outcome::Refused { .. } | Outcome::Rejected { .. } if group.len() > 1 => self.single_until = Some(last),
            Outcome::Rejected { status, answer } => self.give_up(&first, status, &answer).await,
            Outcome::Refused { status, answer } => {
                self.refusals += 1;
                if self.refusals >= self.way.pace.refused_tries {
                    self.give_up(&first, status, &answer).await;
                } else {
                    let wait = self.way.pace.refused_every;
                    self.failed(format!("HTTP {status}: batch {} refused", first.number), false, wait).await;
                }
            }
        }
    }

    /// Sends once; nothing when the time to stop came before the answer.
    async fn send(&mut self, batches: &[Batch]) -> Option<Outcome> {
        let drained = wait::drained(self.deadline, self.way.orders.clone(), self.way.pace.drain);
        tokio::select! {
            outcome = self.sink.send(batches) => Some(outcome),
            () = drained => {
                self.deadline = Some(Instant::now());
                None
            }
        }
    }

    /// The batches of one send.
    fn group(&self) -> Vec<Batch> {
        let single = self.single_until.zip(self.queue.front()).is_some_and(|(until, front)| front.number <= until);
        let most = if single { 1 } else { self.limit.batches };
        let mut bytes = 0;
        let fits = |(at, batch): &(usize, &Batch)| {
            bytes += batch.bytes.len();
            *at == 0 || bytes <= self.limit.bytes
        };
        self.queue.iter().take(most).enumerate().take_while(fits).map(|(_, batch)| batch.clone()).collect()
    }

    /// Keeps a receipt for the next header, also over a restart. When the disk does not take it, only that is lost.
    async fn keep(&self, receipt: Receipt) {
        let (receipts, spool, sink) = (self.way.receipts.clone(), self.way.spool.clone(), self.sink.name().to_owned());
        let kept = spawn_blocking(move || receipts.keep(&spool, &sink, receipt)).await;
        if let Err(error) = kept.map_err(std::io::Error::other).flatten() {
            tracing::warn!(sink = self.sink.name(), %error, "a receipt could not be stored");
        }
    }

    async fn delivered(&mut self, group: &[Batch], note: Option<String>) {
        let bytes = size_of(group) as u64;
        self.way.status.update(|report| report.delivered(group.len() as u64, bytes, note));
        self.pass(group.len()).await;
    }

    /// The first `batches` of the queue are done with.
    async fn pass(&mut self, batches: usize) {
        (self.failures, self.refusals) = (0, 0);
        self.done = self.queue.drain(..batches).next_back();
        self.position = self.done.as_ref().map(|batch| batch.number).or(self.position);
        self.saved = false;
        self.save().await;
    }

    /// Moves the cursor. When the disk does not take it the delivery goes on: a repeat is no loss.
    async fn save(&mut self) {
        let Some(position) = self.position.filter(|_| !self.saved) else {
            return;
        };
        let cursor = self.cursor.clone();
        let stored = spawn_blocking(move || cursor.store(position)).await.map_err(StepError::from);
        match stored.and_then(|stored| Ok(stored?)) {
            Ok(()) => {
                self.saved = true;
                self.way.status.update(|report| report.cursor = Some(position));
            }
            Err(error) => self.way.status.update(|report| report.trouble(error.to_string(), true)),
        }
    }

    /// A batch that nobody takes: kept aside for this sink, and told to the log.
    async fn give_up(&mut self, batch: &Batch, status: u16, answer: &str) {
        if let Err(error) = self.set_aside(batch.clone(), format!("{status}\n{answer}\n")).await {
            return self.back_off(error.to_string()).await;
        }
        tracing::warn!(sink = self.sink.name(), batch = batch.number, status, "refused for good: put into quarantine");
        self.miss(batch.number, batch.number, GapReason::Quarantine);
        self.pass(1).await;
    }

    async fn set_aside(&self, batch: Batch, answer: String) -> Result<(), StepError> {
        let path = quarantine_of(&self.way.spool, self.sink.name());
        let place = Quarantine::new(path.clone(), QUARANTINE_MAX);
        let keep = move || {
            place.keep(&format!("{}.ndjson", batch.number), &batch.bytes)?;
            place.keep(&format!("{}.answer", batch.number), answer.as_bytes())
        };
        match spawn_blocking(keep).await? {
            Ok(_) => Ok(()),
            Err(source) => Err(StepError::Quarantine { path, source }),
        }
    }

    fn miss(&self, from: u64, to: u64, reason: GapReason) {
        let sink = self.sink.name().to_owned();
        self.way.status.update(|report| report.missed += to - from + 1);
        self.way.gaps.add(Gap { sink, from, to, reason });
    }
}

/// Bytes of some batches before compression.
fn size_of<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> usize {
    batches.into_iter().map(|batch| batch.bytes.len()).sum()
}

/// Where batches that `sink` refused are kept.
pub fn quarantine_of(spool: &Path, sink: &str) -> PathBuf {
    spool.join("quarantine").join(sink)
}
