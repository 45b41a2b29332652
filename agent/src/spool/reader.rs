//! Reads batches in order while the spool writes: what a sink's task holds.

use std::mem;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{SpoolError, frame, segment};
use crate::disk::{self, File};
use crate::sealed::Batch;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next batch.
    Batch(Batch),
    /// These batches (inclusive) are not there any more; the next call goes on after them.
    Gap {
        /// First batch.
        from: u64,
        /// Last batch.
        to: u64,
    },
    /// Nothing more yet.
    Nothing,
}

/// A place in the spool. Only files are shared with the writer: it never waits for a reader.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    /// The batch wanted next; `None`: the oldest there is.
    wanted: Option<u64>,
    at: Option<Place>,
    /// A batch found behind a gap, for the next call.
    held: Option<Batch>,
    /// The buffer for the next batch.
    room: Vec<u8>,
}

#[derive(Debug)]
struct Place {
    first: u64,
    path: PathBuf,
    file: File,
    offset: u64,
}

impl Reader {
    /// A reader of the spool at `dir` that begins after batch `after`, or with the oldest.
    pub fn open(dir: &Path, after: Option<u64>) -> Self {
        Self {
            dir: dir.to_owned(),
            wanted: after.map(|batch| batch.saturating_add(1)),
            at: None,
            held: None,
            room: Vec::new(),
        }
    }

    /// The next batch, a gap, or nothing yet. Damaged bytes are passed over: what they held is a gap.
    ///
    /// # Errors
    /// The disk cannot be read; the call can be repeated.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first `Nothing`")]
    pub fn next(&mut self) -> Result<Next, SpoolError> {
        if let Some(batch) = self.held.take() {
            return Ok(self.hand_out(batch));
        }
        loop {
            if self.at.is_none() && !self.find()? {
                return Ok(Next::Nothing);
            }
            let Some(batch) = self.step()? else {
                return Ok(Next::Nothing);
            };
            match self.wanted {
                Some(wanted) if batch.number < wanted => {}
                Some(wanted) if batch.number > wanted => {
                    let to = batch.number - 1;
                    self.held = Some(batch);
                    return Ok(Next::Gap { from: wanted, to });
                }
                _ => return Ok(self.hand_out(batch)),
            }
        }
    }

    /// Takes back a batch that is done with: the next one gets its memory, unless somebody still has it.
    pub fn reuse(&mut self, batch: Batch) {
        if let Ok(room) = batch.bytes.try_into_mut() {
            self.room = room.into();
        }
    }

    fn hand_out(&mut self, batch: Batch) -> Next {
        self.wanted = Some(batch.number.saturating_add(1));
        Next::Batch(batch)
    }

    /// The next good batch from here on, whatever its number.
    fn step(&mut self) -> Result<Option<Batch>, SpoolError> {
        while let Some(place) = &mut self.at {
            let found = segment::next(&place.file, place.offset);
            if let Ok(Some(record)) = found {
                place.offset = record.end;
                match frame::decode(record.batch, &record.payload, mem::take(&mut self.room)) {
                    Ok(bytes) => {
                        let (bytes, frame) = (Bytes::from(bytes), Bytes::from(record.payload));
                        return Ok(Some(Batch { number: record.batch, bytes, frame }));
                    }
                    Err(error) => {
                        tracing::warn!(batch = record.batch, %error, "passed over a batch in the spool");
                    }
                }
                continue;
            }
            // Removed, or (after a failed fsync) written anew under the same name: look where the wanted batch is now.
            if !place.is_current() {
                self.at = None;
                self.find()?;
                continue;
            }
            let Some(newer) = newer_than(&self.dir, place.first)? else {
                let doing = "read the segment";
                return found.map(|_| None).map_err(|source| SpoolError::Io {
                    doing,
                    path: place.path.clone(),
                    source,
                });
            };
            // The writer may have added records between the look and the list; now it writes to the newer file only.
            if let Ok(Some(_)) = segment::next(&place.file, place.offset) {
                continue;
            }
            self.enter(newer)?;
        }
        Ok(None)
    }

    /// Goes to the segment that holds the wanted batch, or the oldest one after it.
    fn find(&mut self) -> Result<bool, SpoolError> {
        let segments = list(&self.dir)?;
        let behind = segments.partition_point(|(first, _)| self.wanted.is_some_and(|wanted| *first <= wanted));
        let Some(chosen) = segments.into_iter().nth(behind.saturating_sub(1)) else {
            return Ok(false);
        };
        self.enter(chosen)?;
        Ok(self.at.is_some())
    }

    fn enter(&mut self, (first, path): (u64, PathBuf)) -> Result<(), SpoolError> {
        self.at = match disk::open_read(&path) {
            Ok(file) => Some(Place { first, path, file, offset: 0 }),
            // Evicted between the list and now: look again at the next call.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(SpoolError::Io { doing: "open the segment", path, source });
            }
        };
        Ok(())
    }
}

impl Place {
    fn is_current(&self) -> bool {
        let same = |there: disk::About| Ok(disk::about_open(&self.file)?.id == there.id);
        disk::about(&self.path).and_then(same).unwrap_or(false)
    }
}

fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    segment::list(dir).map_err(|source| SpoolError::Io { doing: "list the segments of", path: dir.to_owned(), source })
}

fn newer_than(dir: &Path, first: u64) -> Result<Option<(u64, PathBuf)>, SpoolError> {
    Ok(list(dir)?.into_iter().find(|(other, _)| *other > first))
}
