//! What stays of a segment that had to go before every required sink had it: its seal lines. With them the chain
//! verifies, and the verifier says which payloads are gone.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::{frame, segment};
use crate::{disk, sealed};

/// zstd's own default: there is little to compress, and it is kept for long.
const LEVEL: i32 = 3;
/// How their names end.
const END: &str = ".seals.zst";

/// The files `seg-<first batch>.seals.zst`, with a bound: what is oldest goes when a newer one needs the place.
#[derive(Debug)]
pub(super) struct Seals {
    dir: PathBuf,
    max_bytes: u64,
    kept: VecDeque<(PathBuf, u64)>,
}

/// The seal lines of one segment as a zstd frame.
#[derive(Debug)]
pub(super) struct Of {
    name: String,
    frame: Vec<u8>,
}

impl Seals {
    /// Those of the spool at `dir`, at most `max_bytes` in all.
    pub(super) fn open(dir: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut kept = Vec::new();
        for name in disk::names(dir)? {
            if name.to_str().is_some_and(|name| name.starts_with("seg-") && name.ends_with(END)) {
                let path = dir.join(name);
                let bytes = disk::about(&path)?.bytes;
                kept.push((path, bytes));
            }
        }
        kept.sort_unstable();
        Ok(Self { dir: dir.to_owned(), max_bytes, kept: kept.into() })
    }

    /// How much they take.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The seal lines of the segment that begins with this batch. Damaged records have none.
    pub(super) fn of(first: u64, path: &Path) -> io::Result<Of> {
        let file = disk::open_read(path)?;
        let (mut lines, mut offset) = (Vec::new(), 0);
        while let Some(record) = segment::next(&file, offset)? {
            offset = record.end;
            if let Ok(batch) = frame::decode(record.batch, &record.payload, Vec::new()) {
                lines.extend_from_slice(sealed::seal_line(&batch));
            }
        }
        let name = segment::name(first);
        let stem = name.strip_suffix(".stl").unwrap_or(&name);
        Ok(Of { name: format!("{stem}{END}"), frame: zstd::bulk::compress(&lines, LEVEL)? })
    }

    /// Keeps them; durable when it returns Ok.
    pub(super) fn keep(&mut self, seals: &Of) -> io::Result<()> {
        let bytes = seals.frame.len() as u64;
        if bytes > self.max_bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "more than all kept seals may take"));
        }
        while let Some((path, oldest)) = self.kept.front()
            && self.bytes() + bytes > self.max_bytes
        {
            tracing::warn!(path = %path.display(), bytes = oldest, "the kept seals take too much: removed the oldest");
            disk::remove_if_there(path)?;
            self.kept.pop_front();
        }
        disk::replace(&self.dir, &seals.name, &seals.frame)?;
        let path = self.dir.join(&seals.name);
        // kept before, for a segment that could then not be removed
        self.kept.retain(|(kept, _)| *kept != path);
        self.kept.push_back((path, bytes));
        Ok(())
    }
}
