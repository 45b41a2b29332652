//! The flight recorder: the last events in full detail, also those that the policy drops, in a memory of fixed size.
//!
//! The hot half writes lines into an open chunk. A chunk that is full, or a second old, is compressed and put into the
//! ring, where the oldest goes when there are more bytes than may be. A capture takes chunks out of the ring: the one
//! lock is held for that, and once for each chunk.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    clock::{Now, Stamp},
    record::{Judgement, Record, json},
};

/// A chunk is closed at this size.
const CHUNK: usize = 256 << 10;
/// A chunk is closed at this age, in nanoseconds.
const AGE: u64 = 1_000_000_000;
/// The fastest of zstd that is worth it: a tenth of the size.
const LEVEL: i32 = 1;
/// How long the hot half may take to close its chunk: the disk may hold it up.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether it records while nobody captures.
    pub always: bool,
    /// Bytes of compressed chunks.
    pub bytes: usize,
    /// Age of the oldest event.
    pub age: Duration,
}

/// Events of a short time, one a line.
#[derive(Debug)]
pub struct Chunk {
    /// Its number: the next one is that of the chunk behind it.
    pub number: u64,
    /// When it was closed, in nanoseconds since boot.
    pub closed: u64,
    packed: Vec<u8>,
    length: usize,
}

impl Chunk {
    /// Its lines.
    pub fn lines(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.packed, self.length)
    }
}

#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    next: u64,
}

#[derive(Debug, Default)]
struct Shared {
    options: Options,
    ring: Mutex<Ring>,
    /// Captures that want events.
    wanted: AtomicUsize,
    /// Times that somebody wanted the open chunk closed, and which of them was done last.
    asked: AtomicU64,
    done: AtomicU64,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_on(&self) -> bool {
        self.options.always || self.wanted.load(Ordering::Acquire) > 0
    }
}

/// The end of the hot half.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: json::Writer,
    packer: zstd::bulk::Compressor<'static>,
    stamp: Stamp,
    open: Vec<u8>,
    opened: u64,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

/// The end of captures.
#[derive(Clone, Debug, Default)]
pub struct Plug(Arc<Shared>);

/// The recorder as one capture sees it: as long as it is there, events are recorded.
#[derive(Debug)]
pub struct Tap(Arc<Shared>);

impl Recorder {
    /// A recorder, and the other end of it.
    pub fn new(options: Options) -> io::Result<(Self, Plug)> {
        let shared = Arc::new(Shared { options, ..Shared::default() });
        let recorder = Self {
            shared: shared.clone(),
            writer: json::Writer::default(),
            packer: zstd::bulk::Compressor::new(LEVEL)?,
            stamp: Stamp::default(),
            open: Vec::new(),
            opened: 0,
        };
        Ok((recorder, Plug(shared)))
    }

    /// Records an event, whatever its verdict.
    pub fn record(&mut self, record: &Record<'_>, judgement: Judgement<'_>, now: Now) {
        if !self.shared.is_on() {
            return;
        }
        if self.open.is_empty() {
            self.opened = now.boot;
        }
        self.writer.line(record, judgement, self.stamp.text(record.event.header.ktime), &mut self.open);
        self.open.push(b'\n');
        if self.open.len() >= CHUNK {
            self.close(now);
        }
    }

    /// Whether a capture waits for [`Recorder::tick`].
    pub fn is_asked(&self) -> bool {
        self.shared.done.load(Ordering::Relaxed) < self.shared.asked.load(Ordering::Acquire)
    }

    /// Closes the chunk when it is time, and lets go of what is too old. To be called again and again.
    pub fn tick(&mut self, now: Now) {
        self.stamp.set(now);
        let asked = self.shared.asked.load(Ordering::Acquire);
        if self.is_asked() || !self.open.is_empty() && now.boot >= self.opened + AGE {
            self.close(now);
            self.shared.done.store(asked, Ordering::Release);
            let oldest = now.boot.saturating_sub(self.shared.options.age.as_nanos() as u64);
            let is_on = self.shared.is_on();
            let mut ring = self.shared.ring();
            while ring.chunks.front().is_some_and(|chunk| chunk.closed < oldest || !is_on) {
                ring.drop_oldest();
            }
        }
    }

    fn close(&mut self, now: Now) {
        if self.open.is_empty() {
            return;
        }
        let length = self.open.len();
        let packed = self.packer.compress(&self.open);
        self.open.clear();
        // one long line must not hold memory for ever
        self.open.shrink_to(2 * CHUNK);
        let mut ring = self.shared.ring();
        let number = ring.next;
        ring.next += 1;
        match packed {
            Ok(mut packed) => {
                packed.shrink_to_fit();
                ring.bytes += packed.len();
                ring.chunks.push_back(Arc::new(Chunk { number, closed: now.boot, packed, length }));
            }
            // its number is missing: a capture tells
            Err(error) => tracing::warn!(%error, "the recorder cannot keep some events"),
        }
        while ring.bytes > self.shared.options.bytes && !ring.chunks.is_empty() {
            ring.drop_oldest();
        }
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.bytes -= chunk.packed.len();
        }
    }
}

impl Plug {
    /// Wakes the hot half up, which may be busy with events without an end.
    pub fn nudge(&self) {
        self.0.asked.fetch_add(1, Ordering::AcqRel);
    }

    /// Begins to look.
    pub fn tap(&self) -> Tap {
        self.0.wanted.fetch_add(1, Ordering::AcqRel);
        Tap(self.0.clone())
    }
}

impl Tap {
    /// Whether events of before are there.
    pub fn always(&self) -> bool {
        self.0.options.always
    }

    /// Waits until what happened so far is in the ring, or for too long.
    pub fn flush(&self) {
        let asked = self.0.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let end = Instant::now() + PATIENCE;
        while self.0.done.load(Ordering::Acquire) < asked && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The number of the chunk that comes next.
    pub fn end(&self) -> u64 {
        self.0.ring().next
    }

    /// The oldest chunk from number `from` on.
    pub fn next(&self, from: u64) -> Option<Arc<Chunk>> {
        let ring = self.0.ring();
        let at = ring.chunks.partition_point(|chunk| chunk.number < from);
        ring.chunks.get(at).cloned()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, Ordering::AcqRel);
        // what nobody wants any more goes
        self.0.asked.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use common::{Event, Header, Kind};
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::record::{Context, sample};

    const SECOND: u64 = 1_000_000_000;

    fn fill(recorder: &mut Recorder, from: u64, seconds: u64) {
        let mut random = fastrand::Rng::with_seed(7);
        for at in from..from + seconds {
            let now = Now { boot: at * SECOND, wall: at * SECOND };
            for _ in 0..200 {
                // numbers that do not compress
                let header =
                    Header { pid: random.u32(..), ktime: random.u64(..), seq: random.u64(..), ..Header::default() };
                let body = vec![0; Kind::Unlink.size()];
                let words = sample::event(sample::prefix(Kind::Unlink), &header, &body, &[]);
                let record = Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() };
                recorder.record(&record, Judgement::default(), now);
            }
            recorder.tick(Now { boot: now.boot + SECOND, wall: now.wall + SECOND });
        }
    }

    /// The numbers of the chunks that are there, and the bytes of all.
    fn held(recorder: &Recorder) -> (Vec<u64>, usize) {
        let ring = recorder.shared.ring();
        (ring.chunks.iter().map(|it| it.number).collect(), ring.chunks.iter().map(|it| it.packed.len()).sum())
    }

    #[test]
    fn memory_is_bounded_by_bytes_and_by_age() {
        let options = Options { always: true, bytes: 64 << 10, age: Duration::from_secs(1000) };
        let (mut recorder, plug) = Recorder::new(options).unwrap();
        fill(&mut recorder, 1, 100);
        let (numbers, bytes) = held(&recorder);
        assert!(bytes <= 64 << 10 && bytes > 32 << 10 && numbers.len() < 100, "{bytes} in {}", numbers.len());
        assert_eq!(numbers.last(), Some(&99));
        assert_eq!(recorder.shared.ring().bytes, bytes);
        // the lines are those that were written
        let chunk = plug.tap().next(99).unwrap();
        assert_eq!(chunk.lines().unwrap().split_inclusive(|byte| *byte == b'\n').count(), 200);
        let (mut recorder, _) =
            Recorder::new(Options { bytes: 1 << 20, age: Duration::from_secs(5), ..options }).unwrap();
        fill(&mut recorder, 1, 50);
        assert!((4..=6).contains(&held(&recorder).0.len()), "{:?}", held(&recorder));
    }

    #[test]
    fn it_records_while_somebody_captures_and_forgets_then() {
        let (mut recorder, plug) =
            Recorder::new(Options { always: false, bytes: 1 << 20, age: Duration::from_mins(1) }).unwrap();
        fill(&mut recorder, 1, 2);
        assert!(held(&recorder).0.is_empty());
        let tap = plug.tap();
        fill(&mut recorder, 3, 2);
        assert_eq!(held(&recorder).0.len(), 2);
        drop(tap);
        recorder.tick(Now { boot: 9 * SECOND, wall: 9 * SECOND });
        assert_eq!((held(&recorder).0, recorder.open.len()), (Vec::new(), 0));
    }
}
