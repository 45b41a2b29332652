//! The log on a simulated disk that loses power and fails: what was promised holds whatever becomes of what was not
//! durable. The log, the spool, the cursors and the keys are those that run; what a sink does is here in short (read after
//! the cursor, receive, move the cursor), and in long in `deliver`.

mod found;
mod points;
mod random;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::LazyLock;

use common::{Event, Header, Kind};
use seal::{Trust, Verdict, Verifier};
use zerocopy::IntoBytes as _;

use super::*;
use crate::disk::simulated::{Disk, Fate, PowerCut, ROOT};
use crate::pipeline::tally::{Marks, Tally};
use crate::record::{Context, sample};
use crate::spool::{Cursor, Next, Position, Reader, Room, WhenFull, frame};

const ORIGIN: &str = "test.example.org/crash";
/// How often something is tried on a disk that fails, before it is healed.
const TRIES: usize = 4;

/// What was promised so far, and the disk that has to keep it.
struct World {
    disk: Disk,
    log: Option<Log>,
    options: LogOptions,
    model: Model,
}

/// What was promised so far.
#[derive(Clone, Debug, Default)]
struct Model {
    clock: u64,
    /// The batches that were announced as durable.
    announced: BTreeMap<u64, Vec<u8>>,
    /// Sealed, and perhaps on the disk.
    tried: Option<(u64, Vec<u8>)>,
    /// How many events were not taken into the batch of this number, because the spool was nearly full.
    refused: BTreeMap<u64, u64>,
    /// All host keys.
    keys: Vec<Vkey>,
    /// Both sinks have these, and the spool was told.
    released: Option<u64>,
    /// Batches that are gone by the word of a durable header.
    told: Vec<(u64, u64)>,
    sinks: [Receiver; 2],
    counts: Counts,
}

/// A receiver, and what is known of its cursor.
#[derive(Clone, Debug, Default)]
struct Receiver {
    got: BTreeMap<u64, Vec<u8>>,
    /// Where the delivery stands.
    position: Option<u64>,
    /// The cursor is here at least, and at most where it was last asked to be.
    stored: Option<u64>,
    asked: Option<u64>,
}

/// What happened, so that a test can see that something did.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    batches: u64,
    starts: u64,
    cuts: u64,
    adopted: u64,
    errors: u64,
    evicted: u64,
    refused: u64,
    gaps: u64,
}

/// An enrolled log, of which everything that is not durable was lost.
static ENROLLED: LazyLock<(Disk, Model)> = LazyLock::new(|| {
    let mut world = World::new(Disk::empty(), Model::default(), options(1 << 20, 1 << 20));
    world.enrol();
    world.log = None;
    world.disk.power_cut(|_, _| Fate::Lost);
    (world.disk, world.model)
});

/// What a spool that is nearly full may take in these tests.
const NEARLY_FULL: u64 = 40_000;
/// One whose spool is nearly full, and which drops what is new.
static SAVING: LazyLock<(Disk, Model)> = LazyLock::new(|| {
    let mut world = World::enrolled(saving(options(3000, NEARLY_FULL)));
    world.start();
    while world.log.as_ref().unwrap().room() == Room::All {
        world.batch(3000, &mut fastrand::Rng::with_seed(1));
    }
    world.log = None;
    world.disk.power_cut(|_, _| Fate::Lost);
    (world.disk, world.model)
});
/// The account of a batch in which there was no room for an event.
static REFUSED: LazyLock<Closed> = LazyLock::new(|| {
    let words = sample::event(sample::prefix(Kind::Unlink), &Header::default(), &vec![0; Kind::Unlink.size()], b"");
    let mut tally = Tally::default();
    tally.refused(&Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() });
    tally.close(Marks::default(), true)
});

/// The same, but what is new is dropped when the spool is full.
fn saving(mut options: LogOptions) -> LogOptions {
    options.spool.when_full = WhenFull::DropNewest;
    options
}

fn options(segment_bytes: u64, max_bytes: u64) -> LogOptions {
    let hour = Duration::from_hours(1);
    let limits = Limits { age: hour, alert_age: hour, lines: 100, bytes: 1 << 20, heartbeat: hour };
    let state_dir = Path::new(ROOT).join("state");
    let spool = spool::Options::new(state_dir.join("spool"));
    let spool = spool::Options { segment_bytes, max_bytes, min_free: 0, when_full: WhenFull::DropOldest, ..spool };
    LogOptions { state_dir, spool, limits }
}

/// Runs `work` until it ends or the power is cut; whether it was.
fn survive<T>(work: impl FnOnce() -> T) -> Option<T> {
    let not_cut = |panic: Box<dyn Any + Send>| if panic.is::<PowerCut>() { None } else { resume_unwind(panic) };
    catch_unwind(AssertUnwindSafe(work)).map_or_else(not_cut, Some)
}

impl World {
    fn new(disk: Disk, model: Model, options: LogOptions) -> Self {
        disk.mount();
        Self { disk, log: None, options, model }
    }

    /// One that has an enrolled log, not open.
    fn enrolled(options: LogOptions) -> Self {
        Self::copied(&ENROLLED, options)
    }

    /// A copy of one that is not open.
    fn copied((disk, model): &(Disk, Model), options: LogOptions) -> Self {
        Self::new(disk.copy(), model.clone(), options)
    }

    fn now(&mut self) -> Now {
        self.model.clock += 1_000_000;
        Now { boot: self.model.clock, wall: 1_780_000_000_000_000_000 + self.model.clock }
    }

    /// Enrols, unless a try before the power was cut did.
    fn enrol(&mut self) {
        let now = self.now();
        let options = self.options.clone();
        self.persist(|_| match Log::enrol(options.clone(), ORIGIN, false, now) {
            Ok(_) | Err(LogError::Keys(KeysError::Enrolled(_))) => Ok(()),
            Err(error) => Err(error),
        });
        self.start();
    }

    /// Tries `work` until it is done; a disk that fails is healed after some tries.
    fn persist<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T, LogError>) -> T {
        for number in 0.. {
            if number == TRIES {
                self.disk.heal();
            }
            match work(self) {
                Ok(done) => return done,
                Err(error) => assert!(number < TRIES + 1, "on a disk that does not fail: {error}"),
            }
            self.model.counts.errors += 1;
        }
        unreachable!()
    }

    /// Opens the log. What was promised must be there.
    fn start(&mut self) {
        self.log = None;
        let now = self.now();
        let mut log = self.persist(|world| Log::open(world.options.clone(), now));
        self.model.counts.starts += 1;
        if let Some(recovered) = log.take_recovered() {
            log.own(&recovered, now).unwrap();
        }
        let last = self.model.announced.last_key_value().map(|(last, _)| *last);
        if log.next() != last.map_or(0, |last| last + 1) {
            // the batch that was not announced is on the disk; batch 0 is sealed by the start itself
            let (number, bytes) =
                self.model.tried.take().filter(|(number, _)| log.next() == number + 1).unwrap_or_else(|| {
                    assert_eq!((last, log.next()), (None, 1), "the log does not go on where it ended");
                    let Next::Batch(genesis) = Reader::open(&self.options.spool.dir, None).next().unwrap() else {
                        panic!("no batch 0");
                    };
                    (0, genesis.bytes.to_vec())
                });
            self.model.counts.adopted += 1;
            self.model.announce(number, bytes);
        }
        self.model.tried = None;
        self.model.keys.extend((!self.model.keys.contains(log.vkey())).then(|| log.vkey().clone()));
        self.log = Some(log);
        self.check_spool();
        for at in 0..self.model.sinks.len() {
            let (cursor, sink) = (self.cursor(at), &mut self.model.sinks[at]);
            let found = cursor.load();
            assert_ne!(found, Position::Damaged);
            sink.position = found.after();
            assert!(
                sink.stored <= sink.position && sink.position <= sink.asked.max(sink.stored),
                "the cursor is at {found:?}: {:?} to {:?}",
                sink.stored,
                sink.asked
            );
            sink.stored = sink.position;
            assert!(
                sink.position <= sink.got.last_key_value().map(|(last, _)| *last),
                "the cursor is ahead of the sink"
            );
        }
    }

    /// Seals a batch with so much text and makes it durable.
    fn batch(&mut self, text: usize, random: &mut fastrand::Rng) {
        let now = self.now();
        let log = self.log.as_mut().unwrap();
        let text = (0..text).map(|_| random.alphanumeric()).collect();
        let has_room = match log.room() {
            Room::All => true,
            Room::Critical => random.bool(),
            Room::Own => false,
        };
        let account = if has_room {
            log.own(&Own::Policy { text }, now).unwrap();
            &Closed::default()
        } else {
            &*REFUSED
        };
        self.model.refused.insert(log.next(), account.lost);
        account.lost_records().for_each(|lost| log.own(&lost, now).unwrap());
        let kind = std::mem::replace(&mut log.first, BatchKind::Events);
        log.seal(kind, account, [7; 32], Vec::new(), &[], now).unwrap();
        self.model.tried = Some((log.next(), log.sealed.clone().unwrap()));
        self.persist(|world| {
            let stored = world.log.as_mut().unwrap().store();
            if matches!(stored, Err(LogError::Spool(SpoolError::Full { .. }))) && world.is_saving() {
                // even the reserve is used up: nothing goes on until the sinks have something
                (0..2).for_each(|at| world.deliver(at, usize::MAX));
                world.release();
            }
            stored
        });
        let (number, bytes) = self.model.tried.take().unwrap();
        self.model.announce(number, bytes);
        let key = self.log.as_ref().unwrap().vkey();
        self.model.keys.extend((!self.model.keys.contains(key)).then(|| key.clone()));
    }

    fn is_saving(&self) -> bool {
        self.options.spool.when_full == WhenFull::DropNewest
    }

    /// Asks for another host key.
    fn turn(&mut self) {
        let dir = self.options.state_dir.clone();
        self.persist(|_| match Keys::make_next(&dir) {
            Ok(_) | Err(KeysError::Waiting(_)) => Ok(()),
            Err(error) => Err(error.into()),
        });
    }

    fn cursor(&self, at: usize) -> Cursor {
        Cursor::new(&self.options.spool.dir, ["first", "second"][at]).unwrap()
    }

    /// Delivers up to `most` batches to a sink and moves its cursor.
    fn deliver(&mut self, at: usize, most: usize) {
        let cursor = self.cursor(at);
        let (model, head) = (&mut self.model, self.log.as_ref().unwrap().last());
        let mut reader = Reader::open(&self.options.spool.dir, model.sinks[at].position);
        for _ in 0..most {
            match reader.next().unwrap() {
                Next::Batch(batch) if batch.number > head => break,
                Next::Batch(batch) => {
                    let sink = &mut model.sinks[at];
                    assert_eq!(Some(&*batch.bytes), model.announced.get(&batch.number).map(|it| &**it), "{batch:?}");
                    let due = sink.position.map_or(batch.number, |position| position + 1);
                    assert_eq!(batch.number, due, "out of order");
                    let before = sink.got.insert(batch.number, batch.bytes.to_vec());
                    assert!(before.is_none_or(|before| before == *batch.bytes), "the sink had another batch {due}");
                    sink.position = Some(batch.number);
                }
                Next::Gap { from, to } => {
                    assert!(
                        (from..=to).all(|number| model.may_miss(self.log.as_ref().unwrap(), number)),
                        "{from}-{to}"
                    );
                    model.counts.gaps += 1;
                    model.sinks[at].position = Some(to);
                }
                Next::Nothing => break,
            }
        }
        let sink = &mut self.model.sinks[at];
        if let Some(position) = sink.position.filter(|position| sink.stored != Some(*position)) {
            // the last of a gap was not received: the cursor does not move before something was
            if sink.got.contains_key(&position) {
                sink.asked = sink.asked.max(Some(position));
                match cursor.store(position) {
                    Ok(()) => sink.stored = Some(position),
                    Err(_) => self.model.counts.errors += 1,
                }
            }
        }
    }

    /// Tells the spool what both sinks have.
    fn release(&mut self) {
        let past = self.model.sinks.iter().map(|sink| sink.stored).min().flatten();
        if let Some(past) = past {
            self.model.released = self.model.released.max(Some(past));
            // done again with the next batch
            self.model.counts.errors += u64::from(self.log.as_mut().unwrap().release(past).is_err());
        }
    }

    /// Everything that is in the spool was announced, is whole, and goes on without a hole; what is not in it may miss.
    fn check_spool(&self) {
        let (model, log) = (&self.model, self.log.as_ref().unwrap());
        let mut reader = Reader::open(&self.options.spool.dir, None);
        let mut found: Vec<u64> = Vec::new();
        loop {
            match reader.next().unwrap() {
                Next::Batch(batch) => {
                    assert_eq!(Some(&*batch.bytes), model.announced.get(&batch.number).map(|it| &**it), "{batch:?}");
                    found.push(batch.number);
                }
                Next::Gap { from, to } => panic!("batches {from} to {to} are not between {found:?} and the next"),
                Next::Nothing => break,
            }
        }
        assert_eq!(found.last(), model.announced.keys().next_back(), "the last batch is not there");
        for number in model.announced.keys().filter(|number| !found.contains(number)) {
            assert!(
                model.may_miss(log, *number) || log.first != BatchKind::Events,
                "batch {number} is gone: {model:?}"
            );
        }
    }

    /// After a batch that told all there was to tell: nothing is missing in silence, of each number there is one batch on
    /// the disk, and the log verifies from the first batch that is there to the last.
    fn check_whole(&self) {
        let (model, log) = (&self.model, self.log.as_ref().unwrap());
        assert_eq!(log.first, BatchKind::Events);
        self.check_spool();
        for (name, bytes) in self.disk.files(&format!("{ROOT}/state/spool")) {
            if !name.contains(".stl") {
                continue;
            }
            for at in memchr::memmem::find_iter(&bytes, b"STB1") {
                let Ok((head, payload, _)) = seal::frame::read(&bytes[at..]) else { continue };
                let batch = frame::decode(head.batch, payload, Vec::new()).unwrap();
                assert!(Some(&batch) == model.announced.get(&head.batch), "two of batch {} in {name}", head.batch);
            }
        }
        let first = {
            let mut reader = Reader::open(&self.options.spool.dir, None);
            let Next::Batch(first) = reader.next().unwrap() else { panic!("an empty spool") };
            first.number
        };
        self.verify(Some(first).filter(|first| *first > 0), model.announced.range(first..).map(|(_, bytes)| bytes));
        for sink in &model.sinks {
            if sink.got.keys().enumerate().all(|(at, number)| at as u64 == *number) && !sink.got.is_empty() {
                self.verify(None, sink.got.values());
            }
        }
    }

    fn verify<'b>(&self, from: Option<u64>, batches: impl Iterator<Item = &'b Vec<u8>>) {
        let mut verifier = Verifier::new(Trust { pins: self.model.keys.clone(), from, ..Trust::default() });
        for batch in batches {
            verifier.read(&**batch).unwrap();
        }
        let report = verifier.finish();
        assert_eq!(report.verdict(), Verdict::Verified, "{report:#?}");
    }

    /// Goes on after whatever happened, to the end: all that was promised is there, and reaches both sinks.
    fn finish(&mut self, random: &mut fastrand::Rng) {
        self.disk.heal();
        self.start();
        self.batch(10, random);
        for at in 0..self.model.sinks.len() {
            self.deliver(at, usize::MAX);
            let sink = &self.model.sinks[at];
            assert_eq!(sink.stored, self.model.announced.keys().next_back().copied(), "not all was delivered");
        }
        self.release();
        self.check_whole();
        assert!(!self.is_saving() || self.model.told.is_empty(), "what was kept went: {:?}", self.model.told);
        assert!(!self.disk.was_synced_again(), "fsync again on a file where it had failed");
    }
}

impl Model {
    fn announce(&mut self, number: u64, bytes: Vec<u8>) {
        let (_, seal_line, parsed) = parse(&bytes).unwrap();
        assert!(!seal_line.is_empty());
        let lost = parsed.header.facts.lost;
        assert_eq!(lost, self.refused.get(&number).copied().unwrap_or(0), "batch {number} does not tell what it lacks");
        let told = memchr::memmem::find_iter(&bytes, br#""cause":"spool_full","count":"1""#).count();
        assert_eq!(told as u64, lost);
        self.counts.refused += lost;
        for gap in parsed.header.facts.gaps {
            self.counts.evicted += gap.to - gap.from + 1;
            self.told.push((gap.from, gap.to));
        }
        assert!(self.announced.insert(number, bytes).is_none(), "batch {number} was announced before");
        self.counts.batches += 1;
    }

    /// Whether a batch may be gone: all sinks have it, or the log says so, or is about to.
    fn may_miss(&self, log: &Log, number: u64) -> bool {
        let waits = log.gaps.iter().map(|gap| (gap.from, gap.to));
        let is_told = self.told.iter().copied().chain(waits).any(|(from, to)| (from..=to).contains(&number));
        is_told || self.released.is_some_and(|past| number <= past)
    }
}
