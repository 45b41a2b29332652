//! The disk between the hot and the cold half: sealed batches, appended by one thread, read by every sink.
//!
//! The segment files are the truth; there is no index. A batch is durable when [`Spool::append`] returns Ok (with
//! [`Sync::Seal`]). Whatever the files hold, the spool opens: what cannot be used goes to `quarantine/` and is reported.
//!
//! ```text
//! spool/  seg-<first batch>.stl        records, see frame.rs     cursors/<sink>   how far each sink is
//!         seg-<first batch>.seals.zst  what an evicted one left  quarantine/      torn tails, damaged segments
//!         evicted                      what was dropped and not told yet     ballast         place for the worst day
//! ```

mod active;
mod contents;
mod cursor;
pub mod frame;
mod quarantine;
mod reader;
mod recover;
mod repair;
mod room;
mod seals;
mod segment;
mod untold;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use crate::sealed::Batch;
pub use contents::Contents;
pub use cursor::{Cursor, Position, is_sink_name};
pub use quarantine::Quarantine;
pub use reader::{Next, Reader};
pub use recover::Recovery;
pub use repair::{Damage, damage, repair};
pub use room::Room;

use crate::disk;
use active::Active;
use seals::Seals;
use untold::Untold;

/// In [`Sync::Interval`] at most this much is not yet durable, and kept in memory until it is.
const PENDING_MAX: usize = 4 << 20;
/// Largest ballast file.
const BALLAST_MAX: u64 = 8 << 20;

/// How the spool uses the disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the spool, made with mode 0700.
    pub dir: PathBuf,
    /// A segment is closed at this size; less on a small disk or with a small `max_bytes` (an eighth of either).
    pub segment_bytes: u64,
    /// A segment is closed at this age.
    pub segment_age: Duration,
    /// Most bytes of segments, ballast and kept seals together; the seals take at most a sixteenth of it. `quarantine/` may
    /// hold another sixteenth besides.
    pub max_bytes: u64,
    /// Bytes to leave free on the file system, at most 5% of it.
    pub min_free: u64,
    /// When a batch is made durable.
    pub sync: Sync,
    /// What to do when there is no room.
    pub when_full: WhenFull,
}

impl Options {
    /// The defaults: 8 MiB or 1 h per segment, 1 GiB in all, 512 MiB left free, every seal durable, oldest dropped.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            segment_bytes: 8 << 20,
            segment_age: Duration::from_hours(1),
            max_bytes: 1 << 30,
            min_free: 512 << 20,
            sync: Sync::Seal,
            when_full: WhenFull::DropOldest,
        }
    }
}

/// When a batch is made durable (fdatasync(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before [`Spool::append`] returns.
    Seal,
    /// At most this long after; the caller also calls [`Spool::sync`] when nothing is appended.
    Interval(Duration),
    /// When the kernel likes.
    Never,
}

/// What to do when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the oldest closed segments, keep their seals, and report them.
    DropOldest,
    /// Say so in time ([`Spool::room`]), so that less is sealed; then refuse with [`SpoolError::Full`].
    DropNewest,
    /// Refuse with [`SpoolError::Full`].
    Stop,
}

/// What went wrong. After any of these the spool is as it was before the call, which can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room and nothing that may be dropped: try again later.
    #[error("the spool at {dir} is full")]
    Full {
        /// Directory of the spool.
        dir: PathBuf,
    },
    /// The batch could not be made durable, in two files: try again, the disk is failing.
    #[error("cannot make {path} durable")]
    Sync {
        /// The second file.
        path: PathBuf,
        /// What fsync said.
        source: io::Error,
    },
    /// The numbers of batches must rise.
    #[error("batch {batch} does not come after batch {last}")]
    Order {
        /// Number of the refused batch.
        batch: u64,
        /// Last number in the spool.
        last: u64,
    },
    /// The batch does not fit a record.
    #[error("batch {batch} cannot be stored")]
    Frame {
        /// Its number.
        batch: u64,
        /// Why.
        source: frame::FrameError,
    },
    /// A name that cannot be a file name.
    #[error("`{0}` cannot name a sink: use 1 to 64 of a-z 0-9 _ -")]
    SinkName(String),
    /// The disk refused.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Batches that were dropped because the spool was full, before every required sink had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// First batch.
    pub from: u64,
    /// Last batch.
    pub to: u64,
}

/// What came with an append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was evicted belongs into the next header"]
pub struct Appended {
    /// Dropped since the last successful append, oldest first. The next append counts as having told them.
    pub evicted: Vec<Evicted>,
    /// The ballast had to be given up: the disk is full.
    pub ballast_used: bool,
}

/// A segment that is not written any more.
#[derive(Debug)]
struct Closed {
    first: u64,
    last: u64,
    bytes: u64,
    path: PathBuf,
}

/// The writer's side, owned by the hot thread.
#[derive(Debug)]
pub struct Spool {
    options: Options,
    closed: VecDeque<Closed>,
    active: Option<Active>,
    seals: Seals,
    ballast: u64,
    last: Option<u64>,
    released: Option<u64>,
    /// Records not known to be durable. After a failed fsync they are written again from here.
    pending: Vec<u8>,
    encoder: frame::Encoder,
    /// How much of `pending` is in the active segment.
    written: usize,
    synced_at: Instant,
    untold: Untold,
    ballast_used: bool,
}

impl Spool {
    /// Opens the spool, making it when it is not there. What it holds is never a reason to fail.
    pub fn open(options: Options) -> Result<(Self, Recovery), SpoolError> {
        let (closed, mut recovery) = recover::recover(&options)?;
        let encoder = frame::Encoder::new().map_err(|source| SpoolError::Io {
            doing: "prepare the compression for",
            path: options.dir.clone(),
            source,
        })?;
        let seals = Seals::open(&options.dir, options.max_bytes / 16).map_err(|source| SpoolError::Io {
            doing: "list the kept seals of",
            path: options.dir.clone(),
            source,
        })?;
        let untold = Untold::open(&options.dir, closed.front().map(|oldest| oldest.first));
        let failed = |source| SpoolError::Io { doing: "open what was dropped from", path: options.dir.clone(), source };
        let untold = untold.map_err(failed)?;
        recovery.evicted = untold.handed().to_vec();
        let mut spool = Self {
            last: recovery.last.as_ref().map(|batch| batch.number),
            closed,
            options,
            active: None,
            seals,
            ballast: 0,
            released: None,
            pending: Vec::new(),
            encoder,
            written: 0,
            synced_at: Instant::now(),
            untold,
            ballast_used: false,
        };
        // The one of an earlier life may be larger than what is allowed now.
        spool.drop_ballast();
        spool.fill_ballast();
        Ok((spool, recovery))
    }

    /// Appends a sealed batch. With [`Sync::Seal`] it is durable when this returns Ok.
    pub fn append(&mut self, batch: u64, bytes: &[u8]) -> Result<Appended, SpoolError> {
        if let Some(last) = self.last.filter(|last| batch <= *last) {
            return Err(SpoolError::Order { batch, last });
        }
        let before = self.pending.len();
        self.encoder.encode(batch, bytes, &mut self.pending).map_err(|source| SpoolError::Frame { batch, source })?;
        if let Err(error) = self.store((self.pending.len() - before) as u64) {
            self.take_back(before);
            return Err(error);
        }
        self.last = Some(batch);
        let ballast_used = std::mem::take(&mut self.ballast_used);
        Ok(Appended { evicted: self.untold.hand_out(), ballast_used })
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.active.is_none() || self.written < self.pending.len() {
            self.write_pending()?;
        }
        self.make_durable()
    }

    /// Every required sink has all up to and including batch `past` (its cursor is durable): segments before may go.
    pub fn release(&mut self, past: u64) -> Result<(), SpoolError> {
        // A cursor from another life may point ahead: it must not excuse a later loss.
        let Some(past) = self.last.map(|last| last.min(past)) else {
            return Ok(());
        };
        self.released = self.released.max(Some(past));
        while self.segments() > 1 && self.closed.front().is_some_and(|closed| closed.last <= past) {
            self.drop_oldest()?;
        }
        Ok(())
    }

    /// Makes the newest segment of an earlier life durable. It may have been killed between a write and the fsync; or the
    /// fsync failed, and another one on this file would not tell: so the bytes go to a new file.
    pub fn renew(&self) -> Result<(), SpoolError> {
        let Some(newest) = self.closed.back().filter(|_| self.active.is_none()) else {
            return Ok(());
        };
        repair::renew(&newest.path, &self.options.dir)
    }

    /// A reader that begins after batch `after`, or with the oldest.
    pub fn reader(&self, after: Option<u64>) -> Reader {
        Reader::open(&self.options.dir, after)
    }

    /// The last batch appended.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Bytes of segments, ballast and kept seals.
    pub fn used(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        closed + self.active.as_ref().map_or(0, Active::len) + self.ballast + self.seals.bytes()
    }

    /// Most bytes that it may take.
    pub fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    fn store(&mut self, bytes: u64) -> Result<(), SpoolError> {
        self.make_room(bytes)?;
        self.write_pending()?;
        let due_now = match self.options.sync {
            Sync::Seal => true,
            Sync::Interval(most) => self.synced_at.elapsed() >= most || self.pending.len() > PENDING_MAX,
            Sync::Never => false,
        };
        if due_now {
            self.make_durable()?;
        } else if self.options.sync == Sync::Never {
            self.forget_written();
        }
        let due = |active: &Active| active.is_due(self.segment_bytes(), self.options.segment_age);
        if self.active.as_ref().is_some_and(due) {
            self.close()?;
        }
        Ok(())
    }

    /// Undoes a failed append: the record is neither in memory nor, whole or in part, on the disk.
    fn take_back(&mut self, before: usize) {
        let over = self.written.saturating_sub(before) as u64;
        if over > 0
            && let Some(active) = &mut self.active
            && let Err(error) = active.cut(over, self.last)
        {
            tracing::warn!(path = %active.path().display(), %error, "cannot cut a record back");
            self.abandon();
        }
        self.pending.truncate(before);
        self.written = self.written.min(before);
    }

    /// Keeps the quota and the free space, by the policy.
    fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        while self.used().saturating_add(bytes) > self.options.max_bytes {
            self.evict()?;
        }
        let dir = &self.options.dir;
        let failed = |source| SpoolError::Io { doing: "ask for the free space of", path: dir.clone(), source };
        let space = disk::space(dir).map_err(failed)?;
        let floor = self.options.min_free.min(space.total / 20);
        let mut free = space.free;
        while free < floor.saturating_add(bytes) {
            match self.evict() {
                Ok(more) => free = free.saturating_add(more),
                // The rest of the disk is not ours to free, and an audit log is worth the reserve.
                Err(SpoolError::Full { .. }) if self.options.when_full != WhenFull::Stop => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops the oldest closed segment if the policy allows it; of what a sink will miss, the seals stay. The bytes won.
    fn evict(&mut self) -> Result<u64, SpoolError> {
        let may = self.options.when_full == WhenFull::DropOldest && self.segments() > 1;
        let Some(oldest) = self.closed.front().filter(|_| may) else {
            return Err(SpoolError::Full { dir: self.options.dir.clone() });
        };
        let from = self.released.map_or(oldest.first, |past| oldest.first.max(past.saturating_add(1)));
        if from > oldest.last {
            return Ok(self.drop_oldest()?.map_or(0, |gone| gone.bytes));
        }
        let (before, range) = (self.used(), Evicted { from, to: oldest.last });
        let seals = Seals::of(oldest.first, &oldest.path);
        // on a full disk there may be no room for these as long as the segment is there
        let kept = seals.as_ref().is_ok_and(|seals| self.seals.keep(seals).is_ok());
        let path = &self.options.dir;
        let failed = |source| SpoolError::Io { doing: "note what is dropped from", path: path.clone(), source };
        self.untold.announce(range).map_err(failed)?;
        let Some(gone) = self.drop_oldest()? else {
            return Ok(0);
        };
        if !kept && let Err(error) = seals.and_then(|seals| self.seals.keep(&seals)) {
            tracing::warn!(from, to = gone.last, %error, "cannot keep the seals of the batches that are dropped");
        }
        tracing::warn!(from, to = gone.last, "the spool is full: dropped its oldest batches");
        self.untold.add(range);
        Ok(before.saturating_sub(self.used()))
    }

    fn drop_oldest(&mut self) -> Result<Option<Closed>, SpoolError> {
        let Some(oldest) = self.closed.front() else {
            return Ok(None);
        };
        if let Err(source) = disk::remove_if_there(&oldest.path) {
            // What is no file (nor made by us) cannot be unlinked, but it can be moved out of the way.
            let failed = |_| SpoolError::Io { doing: "remove the segment", path: oldest.path.clone(), source };
            Self::quarantine(&self.options).take(&oldest.path).map_err(failed)?;
        }
        // Else a power cut may bring back this one and not the one after it: a hole in the log.
        let failed = |source| SpoolError::Io { doing: "remove the segment", path: oldest.path.clone(), source };
        disk::sync_dir(&self.options.dir).map_err(failed)?;
        Ok(self.closed.pop_front())
    }

    /// Segments that hold a batch: one always stays, so that the last batch can be compared with the sealer's state.
    fn segments(&self) -> usize {
        self.closed.len() + usize::from(self.active.as_ref().is_some_and(|active| active.len() > 0))
    }

    /// The size at which a segment is closed: a full disk must leave several to choose from.
    fn segment_bytes(&self) -> u64 {
        let room = disk::space(&self.options.dir).map_or(u64::MAX, |space| space.free.saturating_add(self.used()));
        self.options.segment_bytes.min(self.options.max_bytes / 8).min(room / 8)
    }

    fn quarantine(options: &Options) -> Quarantine {
        Quarantine::new(options.dir.join("quarantine"), options.max_bytes / 16)
    }

    fn ballast_path(&self) -> PathBuf {
        self.options.dir.join("ballast")
    }

    /// Takes the ballast, or as much of it as the disk can spare; without it the spool works too.
    fn fill_ballast(&mut self) {
        if self.room() != Room::All {
            return;
        }
        let room = disk::space(&self.options.dir).map_or(0, |space| space.free);
        let bytes = BALLAST_MAX.min(self.options.max_bytes / 8).min(room / 8);
        if self.ballast > 0 || bytes < 4096 || self.used().saturating_add(bytes) > self.options.max_bytes {
            return;
        }
        let path = self.ballast_path();
        match disk::create_new(&path, 0o600).and_then(|file| disk::preallocate(&file, bytes)) {
            Ok(()) => self.ballast = bytes,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no ballast");
                self.drop_ballast();
            }
        }
    }

    /// Gives the ballast up; whether there was one.
    fn drop_ballast(&mut self) -> bool {
        if let Err(error) = disk::remove_if_there(&self.ballast_path()) {
            tracing::warn!(%error, "cannot remove the ballast of the spool");
            return false;
        }
        std::mem::take(&mut self.ballast) > 0
    }
}

#[cfg(test)]
mod tests;
