//! What a spool holds, for a person: only looked at, also beside a running agent.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use super::{Cursor, Position, SpoolError, is_sink_name, segment};
use crate::disk;

/// The files of a spool.
#[derive(Debug, Default, Serialize)]
pub struct Contents {
    /// Sealed batches, oldest first.
    pub segments: Vec<Segment>,
    /// What evicted segments left: their seal lines.
    pub seals: Vec<File>,
    /// How far each sink is, by name.
    pub sinks: Vec<Place>,
    /// What could not be used: torn tails, damaged segments.
    pub quarantine: Vec<File>,
}

/// A segment.
#[derive(Debug, Serialize)]
pub struct Segment {
    /// The file.
    pub file: File,
    /// Number of its first batch, by its name.
    pub first: u64,
    /// Number of its last batch: the one before the next segment, or in the newest the last whole record.
    pub last: Option<u64>,
}

/// A file.
#[derive(Debug, Serialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Where a sink stands.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Name of the sink.
    pub name: String,
    /// The last batch that it has; `null` when it has none, or when the cursor is damaged: it begins with the oldest.
    pub delivered: Option<u64>,
    /// Batches in the spool that it does not have yet.
    pub behind: u64,
}

impl Contents {
    /// Looks at the spool at `dir`. `sinks`: those that are known, also when they have no cursor yet.
    pub fn of<'a>(dir: &Path, sinks: impl Iterator<Item = &'a str>) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Io { doing: "look at the spool", path: dir.to_owned(), source };
        Self::look(dir, sinks.map(str::to_owned).collect()).map_err(failed)
    }

    fn look(dir: &Path, mut known: BTreeSet<String>) -> io::Result<Self> {
        let found = segment::list(dir)?;
        let mut segments = Vec::with_capacity(found.len());
        for (at, (first, path)) in found.iter().enumerate() {
            let last = match found.get(at + 1) {
                Some((next, _)) => next.checked_sub(1),
                None => last_in(path)?,
            };
            segments.push(Segment { file: file(path)?, first: *first, last });
        }
        let (first, last) = (segments.first().map(|one| one.first), segments.last().and_then(|one| one.last));
        known.extend(names(&dir.join("cursors"), is_sink_name)?);
        let mut sinks = Vec::with_capacity(known.len());
        for name in known {
            let delivered = Cursor::new(dir, &name).map(|cursor| cursor.load()).ok().and_then(Position::after);
            let next = delivered.map_or(first, |batch| batch.checked_add(1));
            let behind = next.zip(last).map_or(0, |(next, last)| (last + 1).saturating_sub(next));
            sinks.push(Place { name, delivered, behind });
        }
        let files = |dir: &Path, wanted: fn(&str) -> bool| -> io::Result<Vec<File>> {
            let mut all = Vec::new();
            for name in names(dir, wanted)? {
                let path = dir.join(name);
                if disk::about(&path)?.is_file {
                    all.push(file(&path)?);
                }
            }
            Ok(all)
        };
        let seals = files(dir, |name| name.starts_with("seg-") && name.ends_with(".seals.zst"))?;
        Ok(Self { segments, seals, sinks, quarantine: files(&dir.join("quarantine"), |_| true)? })
    }
}

/// The names in a directory that are wanted, in order; a directory that is not there has none.
fn names(dir: &Path, wanted: fn(&str) -> bool) -> io::Result<Vec<String>> {
    let found = match disk::names(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for name in found {
        let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
        if wanted(&name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn file(path: &Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(File { name, bytes: disk::about(path)?.bytes })
}

/// The number of the last whole record.
fn last_in(path: &Path) -> io::Result<Option<u64>> {
    let file = disk::open_read(path)?;
    let (mut last, mut offset) = (None, 0);
    while let Some(record) = segment::next(&file, offset)? {
        (last, offset) = (Some(record.batch), record.end);
    }
    Ok(last)
}
