//! What was taken out of the rings and is not sealed yet, in files that outlive the agent (not the host: nor do the
//! programs). They are private, and lie in memory (`runtime_dir`).
//!
//! ```text
//! journal-<load>-<number>     | chunk | chunk | …
//! chunk                       | length u32 | crc32c u32 | kind u32 | file u32 | payload, a multiple of 8 bytes |
//! kinds                       1 head: the boot   2 base: what is accounted for   3, 4 events of a lane, as in the backlog
//! ```
//!
//! A chunk is written by one call. A new file is begun when one is long; an old one is removed once all its events are
//! sealed. So there is at most twice [`MOST`] and what waits in memory.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use common::{Header, Prefix};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::disk::{self, File};

/// What is accounted for up to a batch: the next run goes on from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The batch.
    pub batch: u64,
    /// The agent that wrote it.
    pub version: String,
    /// The next number of each CPU.
    pub cpus: Vec<(u32, u64)>,
    /// By hook: events filtered, events lost by the kernel's count, and of those, not yet seen as a gap.
    pub hooks: Vec<(u8, u64, u64, u64)>,
    /// Times that the kernel left out a program.
    pub skipped: u64,
}

/// A new file is begun when one has this many bytes.
const LONG: u64 = 256 << 10;

/// A batch is sealed when a file has this many bytes.
const MOST: u64 = 32 << 20;

const HEAD: u32 = 1;
const BASE: u32 = 2;
/// The first lane's; the others follow.
const EVENTS: u32 = 3;
/// How many lanes there are.
pub const LANES: usize = 2;

/// No chunk is longer: an event of 160 KiB and a part of the backlog.
const LONGEST: usize = 16 << 20;
/// Bytes before the payload.
const FRONT: usize = 16;
/// All of a file is read into memory.
const LARGEST: u64 = 1 << 30;

/// The journal of one load, open for writing.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    load: u32,
    head: Vec<u8>,
    file: File,
    number: u32,
    len: u64,
    base: Base,
    /// Older files, and how many events of each lane were taken when they ended.
    old: Vec<(PathBuf, [u64; LANES])>,
    /// Writing failed: nothing more is written to this file.
    broken: bool,
}

/// What a journal says about the end of the last run.
#[derive(Debug, Default)]
pub struct Found {
    /// What was accounted for.
    pub base: Base,
    /// Events that are not, of each lane in their order: each its length and its bytes, as in the backlog.
    pub events: [Vec<u64>; LANES],
    /// How many.
    pub count: u64,
    /// CPU and number of the last event of each lane, accounted for or not: it may be in the ring still.
    pub last: [Option<(u32, u64)>; LANES],
    /// When it was last written to.
    pub written: Option<SystemTime>,
}

/// Why there is nothing to go on from.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The files cannot be used.
    #[error("the journal in {0}: {1}")]
    Io(PathBuf, io::Error),
    /// None says what was accounted for.
    #[error("there is no journal of these programs that fits the log's last batch")]
    None,
}

impl Journal {
    /// Begins the journal of a load that has told nothing yet.
    pub fn begin(dir: &Path, boot: &str, load: u32, base: Base) -> Result<Self, JournalError> {
        Self::after(dir, boot, load, base, Vec::new(), 0).map_err(|error| JournalError::Io(dir.into(), error))
    }

    /// Reads the journal of a load, and goes on with it in a new file.
    pub fn resume(dir: &Path, boot: &str, load: u32, last_batch: u64) -> Result<(Self, Found), JournalError> {
        let failed = |error| JournalError::Io(dir.to_owned(), error);
        let files = files(dir, load).map_err(failed)?;
        let mut contents = Vec::new();
        let mut written = None;
        for (number, path) in &files {
            written = fs::metadata(path).and_then(|about| about.modified()).ok().max(written);
            let bytes = read(path).map_err(failed)?;
            contents.push((*number, bytes));
        }
        let mut found = understand(&contents, boot, load, last_batch).ok_or(JournalError::None)?;
        found.written = written;
        let counts = found.events.each_ref().map(|events| Events(events).count() as u64);
        found.count = counts.iter().sum();
        let number = files.last().map_or(0, |(number, _)| number.wrapping_add(1));
        let old = files.into_iter().map(|(_, path)| (path, counts)).collect();
        let journal = Self::after(dir, boot, load, found.base.clone(), old, number).map_err(failed)?;
        Ok((journal, found))
    }

    fn after(
        dir: &Path,
        boot: &str,
        load: u32,
        base: Base,
        old: Vec<(PathBuf, [u64; LANES])>,
        number: u32,
    ) -> io::Result<Self> {
        disk::make_dir(dir, 0o755)?;
        let head = head(boot, load);
        let file = create(dir, load, number)?;
        let mut journal = Self { dir: dir.into(), load, head, file, number, len: 0, base, old, broken: false };
        journal.open()?;
        Ok(journal)
    }

    /// The first chunks of a file.
    fn open(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        chunk(HEAD, self.number, &self.head, &mut bytes);
        chunk(BASE, self.number, &base(&self.base), &mut bytes);
        self.len = bytes.len() as u64;
        self.file.write_all(&bytes)
    }

    /// Writes events that were taken. That they cannot be written is said, and costs them only if we are killed.
    pub fn events(&mut self, lane: usize, events: &[u64]) {
        if !events.is_empty() {
            self.write(EVENTS + lane as u32, events.as_bytes());
        }
    }

    /// Writes what will be accounted for once the batch is durable.
    pub fn closing(&mut self, next: Base) {
        self.write(BASE, &base(&next));
        self.base = next;
    }

    /// Whether so much was written that what it covers should be sealed, though nothing else asks for that.
    pub fn is_long(&self) -> bool {
        self.len > MOST
    }

    /// The batch is durable. `taken`, `handed`: events of each lane that were taken out of the ring since the start,
    /// and that were handed over, and so are sealed.
    pub fn sealed(&mut self, taken: [u64; LANES], handed: [u64; LANES]) {
        let is_free = |until: &[u64; LANES]| handed.iter().zip(until).all(|(handed, until)| handed >= until);
        if (self.len > LONG || self.broken)
            && let Err(error) = self.turn(taken)
        {
            tracing::warn!(%error, "the journal cannot go on: what waits is lost if the agent is killed now");
            self.broken = true;
            // what it says is not true any more
            forget(&self.dir, Some(self.load));
        }
        self.old.retain(|(path, until)| !is_free(until) || disk::remove_if_there(path).is_err());
    }

    /// Begins a new file.
    fn turn(&mut self, taken: [u64; LANES]) -> io::Result<()> {
        let number = self.number.wrapping_add(1);
        let file = create(&self.dir, self.load, number)?;
        self.old.push((path(&self.dir, self.load, self.number), taken));
        (self.file, self.number, self.broken) = (file, number, false);
        self.open()
    }

    fn write(&mut self, kind: u32, payload: &[u8]) {
        if self.broken {
            return;
        }
        let front = front(kind, self.number, payload);
        let len = FRONT + payload.len();
        let parts = [io::IoSlice::new(&front), io::IoSlice::new(payload)];
        let written = match self.file.write_vectored(&parts) {
            Ok(written) if written == len => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "the journal cannot be written: what waits is lost if the agent is killed now");
            self.broken = true;
        }
        self.len += len as u64;
    }

    /// Removes all files: nothing is left to go on from.
    pub fn remove(self) {
        forget(&self.dir, Some(self.load));
    }
}

/// Removes the journals of a load, or of all.
pub fn forget(dir: &Path, load: Option<u32>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_ours = number_of(&path).is_some_and(|(of, _)| load.is_none_or(|load| load == of));
        if is_ours && let Err(error) = disk::remove_if_there(&path) {
            tracing::warn!(path = %path.display(), %error, "a journal cannot be removed");
        }
    }
}

/// The loads that have a journal.
pub fn loads(dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut loads: Vec<_> = entries.filter_map(|entry| Some(number_of(&entry.ok()?.path())?.0)).collect();
    loads.sort_unstable();
    loads.dedup();
    loads
}

fn path(dir: &Path, load: u32, number: u32) -> PathBuf {
    dir.join(format!("journal-{load}-{number}"))
}

/// Load and number of a file.
fn number_of(path: &Path) -> Option<(u32, u32)> {
    let (load, number) = path.file_name()?.to_str()?.strip_prefix("journal-")?.split_once('-')?;
    Some((load.parse().ok()?, number.parse().ok()?))
}

fn files(dir: &Path, load: u32) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if let Some((_, number)) = number_of(&path).filter(|(of, _)| *of == load) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn create(dir: &Path, load: u32, number: u32) -> io::Result<File> {
    let path = path(dir, load, number);
    // of an older boot
    disk::remove_if_there(&path)?;
    disk::create_new(&path, 0o600)
}

fn read(path: &Path) -> io::Result<Vec<u64>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    disk::open_read(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    let mut words = vec![0; bytes.len() / 8];
    let whole = words.len() * 8;
    words.as_mut_bytes().copy_from_slice(&bytes[..whole]);
    Ok(words)
}

fn head(boot: &str, load: u32) -> Vec<u8> {
    padded(format!("sigtrail/journal/v1 {boot} {load}").into_bytes())
}

fn base(base: &Base) -> Vec<u8> {
    padded(serde_json::to_vec(base).unwrap_or_default())
}

/// Blanks up to a whole word.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    bytes
}

fn front(kind: u32, number: u32, payload: &[u8]) -> [u8; FRONT] {
    let tag = [kind, number];
    let crc = crc32c::crc32c_append(crc32c::crc32c(tag.as_bytes()), payload);
    let mut front = [0; FRONT];
    front.copy_from_slice([payload.len() as u32, crc, kind, number].as_bytes());
    front
}

fn chunk(kind: u32, number: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&front(kind, number, payload));
    out.extend_from_slice(payload);
}

/// The chunks of a file, up to the first that is not whole.
struct Chunks<'a> {
    words: &'a [u64],
    number: u32,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, &'a [u64]);

    fn next(&mut self) -> Option<Self::Item> {
        let (front, rest) = self.words.split_at_checked(FRONT / 8)?;
        let [len, _, kind, number] = <[u32; 4]>::read_from_bytes(front.as_bytes()).ok()?;
        let len = Some(len as usize).filter(|len| len.is_multiple_of(8) && *len <= LONGEST)?;
        let (payload, rest) = rest.split_at_checked(len / 8)?;
        if number != self.number || front.as_bytes() != self::front(kind, number, payload.as_bytes()) {
            return None;
        }
        self.words = rest;
        Some((kind, payload))
    }
}

/// Events one after the other: each its length and its bytes, filled up to whole words. Ends at one that is cut.
#[derive(Clone, Debug)]
pub struct Events<'a>(pub &'a [u64]);

impl<'a> Iterator for Events<'a> {
    type Item = &'a [u64];

    /// The event with its length.
    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::try_from(*self.0.first()?).ok()?;
        let (event, rest) = self.0.split_at_checked(len.div_ceil(8).checked_add(1)?)?;
        self.0 = rest;
        Some(event)
    }
}

/// CPU and number of an event.
pub fn numbers(event: &[u8]) -> Option<(u32, u64)> {
    let (header, _) = Header::ref_from_prefix(event.get(size_of::<Prefix>()..)?).ok()?;
    Some((header.cpu, header.seq))
}

/// What files of a load say, in their order. `None`: not what was accounted for up to a batch of the log.
fn understand(files: &[(u32, Vec<u64>)], boot: &str, load: u32, last_batch: u64) -> Option<Found> {
    let head = head(boot, load);
    let mut base = None;
    let mut events: [Vec<u64>; LANES] = Default::default();
    for (number, words) in files {
        let mut chunks = Chunks { words, number: *number };
        if chunks.next().is_none_or(|(kind, payload)| kind != HEAD || payload.as_bytes() != head) {
            continue;
        }
        for (kind, payload) in chunks {
            match kind {
                BASE => {
                    let told = serde_json::from_slice::<Base>(payload.as_bytes()).ok()?;
                    // the last one may be of a batch that did not get to the disk
                    if told.batch <= last_batch {
                        base = Some(told);
                    }
                }
                _ => match kind.checked_sub(EVENTS).and_then(|lane| events.get_mut(lane as usize)) {
                    Some(events) => events.extend_from_slice(payload),
                    None => break,
                },
            }
        }
    }
    let base = base?;
    let mut found = Found { base, ..Found::default() };
    let next = |cpu| found.base.cpus.iter().find(|(id, _)| *id == cpu).map_or(0, |(_, next)| *next);
    for (lane, events) in events.iter().enumerate() {
        for event in Events(events) {
            let Some(numbers) = numbers(event[1..].as_bytes()) else { continue };
            found.last[lane] = Some(numbers);
            if numbers.1 >= next(numbers.0) {
                found.events[lane].extend_from_slice(event);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
