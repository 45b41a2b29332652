//! What an earlier life left: the start never fails for it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use seal::frame::{HEAD, MAX_PAYLOAD};

use super::{Batch, Closed, Evicted, Options, Quarantine, Spool, SpoolError, frame, segment};
use crate::disk::{self, File};

/// What was found when the spool was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The last whole batch, to be compared with the state of the sealer.
    pub last: Option<Batch>,
    /// Bytes of a torn tail that were cut off and put into quarantine.
    pub cut: u64,
    /// Dropped because the spool was full, and perhaps not told yet. The next append counts as having told them.
    pub evicted: Vec<Evicted>,
    /// Files put into quarantine.
    pub quarantined: Vec<PathBuf>,
    /// Files with damage between good records, or that could not be treated as they should.
    pub damaged: Vec<PathBuf>,
}

/// What one segment holds.
struct Scan {
    last: Option<(u64, Vec<u8>)>,
    /// End of the last good record.
    end: u64,
    len: u64,
    holes: bool,
}

/// Makes the directories, looks at the end of the log, and cuts a torn tail. Only the last segment with a good record
/// is read: the time does not grow with the spool. Damage in older ones is met, passed over and reported by readers.
pub(super) fn recover(options: &Options) -> Result<(VecDeque<Closed>, Recovery), SpoolError> {
    let dir = &options.dir;
    for made in [dir.clone(), dir.join("cursors"), dir.join("quarantine")] {
        disk::make_dir(&made, 0o700).map_err(|source| SpoolError::Io { doing: "make", path: made, source })?;
    }
    // An earlier life may have been killed before it did. By a cursor that is there segments are removed.
    let synced = [dir, &dir.join("cursors")].into_iter().try_for_each(|dir| disk::sync_dir(dir));
    let synced = synced.and_then(|()| disk::sync_name(dir));
    synced.map_err(|source| SpoolError::Io { doing: "make durable the names in", path: dir.clone(), source })?;
    let failed = |source| SpoolError::Io { doing: "list the segments of", path: dir.clone(), source };
    let mut segments = segment::list(dir).map_err(failed)?;
    let mut recovery = Recovery::default();
    // what was being written to take the place of a segment, or to keep its seals
    for draft in disk::names(dir).map_err(failed)? {
        let path = dir.join(&draft);
        if path.extension().is_some_and(|end| end == "tmp") && draft.to_str().is_some_and(|it| it.starts_with("seg-")) {
            note(disk::remove_if_there(&path), &path, &mut recovery);
        }
    }
    let quarantine = Spool::quarantine(options);
    let mut newest = None;
    while let Some((first, path)) = segments.pop() {
        newest = inspect(&quarantine, &path, &mut recovery).map(|(last, bytes)| Closed { first, last, bytes, path });
        if newest.is_some() {
            break;
        }
    }
    let mut closed: VecDeque<Closed> = VecDeque::new();
    let mut next = newest.as_ref().map_or(0, |newest| newest.first);
    for (first, path) in segments.into_iter().rev() {
        let bytes = disk::about(&path).map_or(0, |about| about.bytes);
        closed.push_front(Closed { first, last: next.saturating_sub(1), bytes, path });
        next = first;
    }
    closed.extend(newest);
    Ok((closed, recovery))
}

/// The last batch and the length of a segment that may have been written when the agent ended.
fn inspect(quarantine: &Quarantine, path: &Path, recovery: &mut Recovery) -> Option<(u64, u64)> {
    let scan = match scan(path) {
        Ok(scan) => scan,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read a segment of the spool");
            set_aside(quarantine, path, recovery);
            return None;
        }
    };
    let Some((batch, bytes)) = scan.last else {
        if scan.len == 0 {
            note(disk::remove_if_there(path), path, recovery);
        } else {
            recovery.cut += scan.len;
            set_aside(quarantine, path, recovery);
        }
        return None;
    };
    if scan.holes {
        recovery.damaged.push(path.to_owned());
    }
    if scan.end < scan.len {
        recovery.cut += scan.len - scan.end;
        note(cut_tail(quarantine, path, scan.end, recovery), path, recovery);
    }
    recovery.last = Some(Batch { number: batch, bytes: Bytes::from(bytes), frame: Bytes::new() });
    Some((batch, scan.end))
}

fn scan(path: &Path) -> io::Result<Scan> {
    let file = disk::open_read(path)?;
    let mut scan = Scan { last: None, end: 0, len: disk::about_open(&file)?.bytes, holes: false };
    let mut offset = 0;
    while let Some(record) = segment::next(&file, offset)? {
        offset = record.end;
        let Ok(bytes) = frame::decode(record.batch, &record.payload, Vec::new()) else {
            scan.holes = true;
            continue;
        };
        scan.holes |= record.at != scan.end;
        scan.end = record.end;
        scan.last = Some((record.batch, bytes));
    }
    Ok(scan)
}

/// Moves what follows the last good record into quarantine.
fn cut_tail(quarantine: &Quarantine, path: &Path, end: u64, recovery: &mut Recovery) -> io::Result<()> {
    let file = disk::open_write(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match read_tail(&file, end).and_then(|tail| quarantine.keep(&format!("{name}.{end}.tail"), &tail)) {
        Ok(kept) => recovery.quarantined.push(kept),
        // A full disk is no reason to keep half a record, which was never promised to anyone, in the way.
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot keep the torn tail of a segment");
            recovery.damaged.push(path.to_owned());
        }
    }
    file.set_len(end)?;
    file.sync_all()
}

/// The tail, at most as much as a record may have.
fn read_tail(file: &File, end: u64) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _};
    let mut file = file;
    file.seek(io::SeekFrom::Start(end))?;
    let mut tail = Vec::new();
    file.take((HEAD + MAX_PAYLOAD) as u64).read_to_end(&mut tail)?;
    Ok(tail)
}

fn set_aside(quarantine: &Quarantine, path: &Path, recovery: &mut Recovery) {
    match quarantine.take(path) {
        Ok(kept) => recovery.quarantined.push(kept),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot put a segment into quarantine");
            recovery.damaged.push(path.to_owned());
        }
    }
}

fn note(done: io::Result<()>, path: &Path, recovery: &mut Recovery) {
    if let Err(error) = done {
        tracing::warn!(path = %path.display(), %error, "cannot repair a segment of the spool");
        recovery.damaged.push(path.to_owned());
    }
}
