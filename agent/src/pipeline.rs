//! The hot half: the way of one event from the kernel to the disk, on one thread.
//!
//! ```text
//! kernel ring ─▶ decode ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ spool
//! └───────────── front ───────────────────┘   └─────── log ────────┘
//! ```

mod front;
mod log;
mod meter;
mod seam;
mod selftest;
mod shed;
mod status;
mod tally;

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use nix::errno::Errno;
use seal::{BatchKind, Gap, Receipt};
use thiserror::Error;

pub use front::{Front, Opened};
pub use log::{Log, LogError, LogOptions, following};
pub use meter::{BOUNDS, Delays};
use seam::Seam;
pub use selftest::SelfTest;
pub use shed::Shed;
pub use status::{HookCounts, HookStatus, ProgramRuns, Status, place};
pub use tally::{Closed, Tally};

use crate::{
    capture::recorder::Recorder,
    clock::Now,
    policy::Policy,
    record::{Judgement, Record, Verdict},
    source::{Own, SourceError, Wanted},
    spool::Room,
};

/// Why the pipeline ended before it was told to.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The kernel half cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The log cannot go on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A clock cannot be read.
    #[error("reading the clock: {0}")]
    Clock(#[from] Errno),
}

/// Shows a record to a person: the record, the judgement, the time of the event.
pub type Show<'a> = &'a mut dyn FnMut(&Record<'_>, Judgement<'_>, &str);

/// What the rest of the agent gives to the pipeline and takes from it.
pub struct Ties<'a> {
    /// Set when the pipeline shall end; the word is the reason for the `stop` record.
    pub stop: &'a AtomicBool,
    /// Why it was set.
    pub why: &'a Mutex<&'static str>,
    /// Whether the kernel half shall go on when it is set.
    pub leave: &'a AtomicBool,
    /// A directory of ours, to try hooks in.
    pub scratch: &'a Path,
    /// Told the number of each batch that is durable.
    pub announce: &'a mut dyn FnMut(u64),
    /// Asked for batches that sinks did not get.
    pub gaps: &'a mut dyn FnMut() -> Vec<Gap>,
    /// Asked for what receivers signed.
    pub receipts: &'a mut dyn FnMut() -> Vec<Receipt>,
    /// Asked how far all required sinks are.
    pub released: &'a mut dyn FnMut() -> Option<u64>,
    /// Asked for what happened to sinks, at a time of the wall clock in nanoseconds since 1970.
    pub late: &'a mut dyn FnMut(u64) -> Vec<Own>,
    /// Asked for records that shall be sealed at once.
    pub told: &'a mut dyn FnMut() -> Vec<Own>,
    /// Told the rule and the process of an event that asks for a capture.
    pub capture: &'a mut dyn FnMut(&str, u32),
    /// What is left of events that are dropped.
    pub recorder: Recorder,
    /// Asked for a policy that shall hold from now on, with what it leaves to the kernel half.
    pub policy: &'a mut dyn FnMut() -> Option<(Policy, Wanted)>,
    /// What becomes of a flood.
    pub shed: Shed,
    /// Whether events still reach the log, if somebody waits for a sign of that.
    pub test: Option<SelfTest>,
    /// Shown each record that is kept.
    pub show: Option<Show<'a>>,
    /// Where the state is published.
    pub status: &'a Arc<Mutex<Status>>,
}

/// Nanoseconds after which the state is published though nothing is sealed.
const PUBLISH: u64 = 1_000_000_000;

/// Nanoseconds after which the kernel half is looked at.
const CHECK: u64 = 5_000_000_000;

/// An event that was begun before a kernel half handed over is in its ring after so many nanoseconds.
const LATE: u64 = 20_000_000;

/// While a batch is stored, the rings are emptied this often.
const SOAK: Duration = Duration::from_millis(5);

/// A blocked log is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until it is told to stop: the story of this file.
pub fn run(mut front: Front, mut log: Log, poll: Duration, mut ties: Ties<'_>) -> Result<(), PipelineError> {
    let mut now = Now::read()?;
    ties.recorder.tick(now);
    let mut first = log.first_kind();
    while let Some(until) = front.ends() {
        drain_to(until, &mut front, &mut log, &mut first, &mut ties)?;
        seal(&mut front, &mut log, first, &mut ties)?;
        front.succeed();
        first = BatchKind::Events;
    }
    seal(&mut front, &mut log, first, &mut ties)?;
    let mut published = now.boot;
    let mut checked = now.boot;
    while !ties.stop.load(Ordering::Acquire) {
        if let Some((policy, wanted)) = (ties.policy)() {
            exchange(&mut front, &mut log, policy, &wanted, &mut ties)?;
        }
        if let Some(test) = &mut ties.test {
            test.act(&mut front, now);
        }
        let empty = gather(&mut front, &mut log, &mut ties, now);
        now = Now::read()?;
        (ties.told)().iter().try_for_each(|own| log.alert(own, now))?;
        if let Some(step) = front.follow(now) {
            log.own(&Own::ClockStep { nanoseconds: step }, now)?;
        }
        if log.is_due(now) || front.is_due() {
            let kind = log.due_kind();
            seal(&mut front, &mut log, kind, &mut ties)?;
        } else if empty {
            if now.boot >= checked + CHECK {
                for hook in front.check(ties.scratch) {
                    tracing::warn!(?hook, "the kernel half was not as it should be");
                    log.alert(&hook, now)?;
                }
                checked = now.boot;
            }
            if now.boot >= published + PUBLISH {
                front.refresh()?;
                front.publish(&log, None, ties.status);
                published = now.boot;
            }
            front.wait(log.time_left(now).min(poll))?;
        }
        now = Now::read()?;
    }
    let leave = ties.leave.load(Ordering::Acquire) && front.stays();
    if !leave {
        front.detach();
    }
    // what waits may be more than a batch
    while !gather(&mut front, &mut log, &mut ties, now) {
        let kind = log.due_kind();
        seal(&mut front, &mut log, kind, &mut ties)?;
        now = Now::read()?;
    }
    (ties.told)().iter().try_for_each(|own| log.own(own, now))?;
    let why = *ties.why.lock().unwrap_or_else(PoisonError::into_inner);
    log.own(&Own::Stop { why, pinned: leave }, Now::read()?)?;
    seal(&mut front, &mut log, BatchKind::Stop, &mut ties)?;
    if !leave {
        front.forget();
    }
    Ok(())
}

/// Takes what a kernel half makes until it hands over to the next one.
fn drain_to(
    until: u64,
    front: &mut Front,
    log: &mut Log,
    kind: &mut BatchKind,
    ties: &mut Ties<'_>,
) -> Result<(), PipelineError> {
    loop {
        let now = Now::read()?;
        let is_over = now.boot > until + LATE;
        if !gather(front, log, ties, now) {
            seal(front, log, std::mem::replace(kind, BatchKind::Events), ties)?;
        } else if is_over {
            return Ok(());
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Puts a policy in place of the one that holds. What that one judged is sealed first, with its digest.
fn exchange(
    front: &mut Front,
    log: &mut Log,
    policy: Policy,
    wanted: &Wanted,
    ties: &mut Ties<'_>,
) -> Result<(), PipelineError> {
    if policy.digest() == front.policy_digest() {
        tracing::info!("the policy is the same as before");
        return Ok(());
    }
    let kind = log.due_kind();
    seal(front, log, kind, ties)?;
    let text = policy.text().to_owned();
    match front.exchange(policy, wanted) {
        Ok(degraded) => {
            let now = Now::read()?;
            log.own(&Own::Policy { text }, now)?;
            degraded.iter().try_for_each(|it| log.own(it, now))?;
            tracing::info!("another policy holds");
        }
        Err(error) => tracing::error!("the policy stays as it was; the kernel half does not take the new one: {error}"),
    }
    Ok(())
}

/// Takes events until there are no more, the batch is full, an alert in it has waited long enough, or a capture asks for
/// something. Returns whether there are no more.
fn gather(front: &mut Front, log: &mut Log, ties: &mut Ties<'_>, now: Now) -> bool {
    if log.is_full() {
        return false;
    }
    ties.recorder.tick(now);
    front.drain(|record, judgement, time, tally| {
        ties.recorder.record(record, judgement, now);
        if judgement.verdict == Verdict::Drop {
            tally.dropped(record);
        } else {
            keep((record, judgement, time), tally, log, ties, now);
        }
        if log.is_full() || log.is_late() || ties.recorder.is_asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// Makes a line, or a part of a summary, of a record that is not dropped.
fn keep(
    (record, judgement, time): (&Record<'_>, Judgement<'_>, &str),
    tally: &mut Tally,
    log: &mut Log,
    ties: &mut Ties<'_>,
    now: Now,
) {
    tally.meter.matched(judgement.rule);
    if judgement.verdict == Verdict::Capture {
        (ties.capture)(judgement.rule, record.event.header.pid);
    }
    if let Some(show) = &mut ties.show {
        show(record, judgement, time);
    }
    let has_room = match log.room() {
        Room::All => true,
        Room::Critical => !shed::is_plain(record, judgement),
        Room::Own => false,
    };
    if !has_room {
        tally.refused(record);
    } else if !tell((record, judgement, time), tally, log, ties, now) {
        return;
    }
    if let Some(test) = &mut ties.test {
        test.look(judgement.rule);
    }
}

/// Makes the line of a record that finds room, or the part of a summary. Returns whether it is one.
fn tell(
    (record, judgement, time): (&Record<'_>, Judgement<'_>, &str),
    tally: &mut Tally,
    log: &mut Log,
    ties: &mut Ties<'_>,
    now: Now,
) -> bool {
    let (is_merged, gone) = ties.shed.takes(record, judgement, time, tally);
    if let Some(Err(error)) = gone.map(|own| log.own(&own, now)) {
        tracing::warn!(%error, "a summary makes no line");
    }
    if is_merged {
        return true;
    }
    match log.record(record, judgement, time, now) {
        Ok(()) => {
            tally.emitted(record);
            tally.meter.waits(record.event.header.ktime);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "a record makes no line");
            tally.unwritten(record);
            false
        }
    }
}

/// Makes a sealed batch durable. A disk may take seconds for that: meanwhile another thread takes what comes out of the
/// rings, into the room that events have in memory.
fn store(front: &mut Front, log: &mut Log) -> Result<(), LogError> {
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let soak = move || {
            while ended.recv_timeout(SOAK) == Err(RecvTimeoutError::Timeout) {
                front.soak();
            }
        };
        if let Err(error) = thread::Builder::new().name("soak".into()).spawn_scoped(scope, soak) {
            tracing::debug!(%error, "the rings must hold what comes until the batch is stored");
        }
        let stored = log.store();
        drop(end);
        stored
    })
}

/// Closes the account of the batch, seals it and makes it durable. Between two tries of a disk that refuses, nothing
/// more is taken from the rings: what then finds no room there is counted by the kernel half.
fn seal(front: &mut Front, log: &mut Log, kind: BatchKind, ties: &mut Ties<'_>) -> Result<(), PipelineError> {
    let sequences = front.sequences()?;
    let empty = gather(front, log, ties, Now::read()?);
    let now = Now::read()?;
    for summary in front.flush(&mut ties.shed) {
        log.own(&summary, now)?;
    }
    for sink in (ties.late)(now.wall) {
        log.own(&sink, now)?;
    }
    let account = front.close(sequences, empty)?;
    let now = Now::read()?;
    for lost in account.lost_records() {
        log.own(&lost, now)?;
    }
    log.seal(kind, &account, front.policy_digest(), (ties.gaps)(), &(ties.receipts)(), now)?;
    front.closing(log.next());
    let room = log.room();
    while let Err(error) = store(front, log) {
        tracing::error!(%error, "the log cannot be written; trying again");
        front.publish(log, Some(error.to_string()), ties.status);
        if ties.stop.load(Ordering::Acquire) {
            return Err(error.into());
        }
        thread::sleep(RETRY);
    }
    front.sealed(Now::read()?);
    (ties.announce)(log.last());
    // what cannot be removed now is tried again after the next seal
    if let Some(Err(error)) = (ties.released)().map(|past| log.release(past)) {
        tracing::warn!(%error, "a segment that all sinks have stays in the spool");
    }
    match log.room() {
        now if now == room => {}
        Room::All => tracing::warn!("the spool has room for all events again"),
        Room::Critical => tracing::warn!("the spool is nearly full: of new events only critical ones are kept"),
        Room::Own => tracing::error!("the spool is full: no new events are kept"),
    }
    front.publish(log, None, ties.status);
    if let Some(test) = &mut ties.test {
        test.sealed(now, ties.status);
    }
    Ok(())
}
