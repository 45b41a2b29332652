//! Damage in the segments: found by reading every record, and moved into quarantine while no agent uses the spool.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Options, Spool, SpoolError, frame, segment};
use crate::disk::{self, File};

/// Bytes of a segment that are no whole record of a batch. What an agent is just writing looks like it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub bytes: Range<u64>,
}

/// Reads all segments of the spool at `dir`.
pub fn damage(dir: &Path) -> Result<Vec<Damage>, SpoolError> {
    let mut all = Vec::new();
    for (_, path) in segment::list(dir).map_err(failed("list the segments of", dir))? {
        let bad = disk::open_read(&path).and_then(|file| bad(&file)).map_err(failed("read the segment", &path))?;
        all.extend(bad.into_iter().map(|bytes| Damage { path: path.clone(), bytes }));
    }
    Ok(all)
}

/// Moves the damage into quarantine, and closes the holes that it leaves. The caller sees to it that nobody else uses the
/// spool. Returns the files that hold it now; what has room for it no more is gone, oldest first.
pub fn repair(options: &Options, damage: &[Damage]) -> Result<Vec<PathBuf>, SpoolError> {
    let quarantine = Spool::quarantine(options);
    let mut kept = Vec::new();
    for of_segment in damage.chunk_by(|one, next| one.path == next.path) {
        let path = &of_segment[0].path;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = disk::open_read(path).map_err(failed("read the segment", path))?;
        let len = disk::about_open(&file).map_err(failed("read the segment", path))?.bytes;
        if of_segment.iter().map(|one| one.bytes.end - one.bytes.start).sum::<u64>() == len {
            kept.push(quarantine.take(path).map_err(failed("put aside", path))?);
            continue;
        }
        for Damage { bytes, .. } in of_segment {
            let name = format!("{name}.{}.damaged", bytes.start);
            let held = part(&file, bytes.clone()).and_then(|bytes| quarantine.keep(&name, &bytes));
            kept.push(held.map_err(failed("put aside a part of", path))?);
        }
        replace(path, &file, of_segment, len, &options.dir)?;
    }
    Ok(kept)
}

/// Writes a segment anew: durable when it returns Ok.
pub(super) fn renew(path: &Path, dir: &Path) -> Result<(), SpoolError> {
    let file = disk::open_read(path).map_err(failed("read the segment", path))?;
    let len = disk::about_open(&file).map_err(failed("read the segment", path))?.bytes;
    replace(path, &file, &[], len, dir)
}

/// Puts what is not damaged in the place of a segment.
fn replace(path: &Path, file: &File, damage: &[Damage], len: u64, dir: &Path) -> Result<(), SpoolError> {
    let draft = path.with_extension("tmp");
    write_rest(file, damage, len, &draft).map_err(failed("write", &draft))?;
    disk::rename(&draft, path).and_then(|()| disk::sync_dir(dir)).map_err(failed("replace", path))
}

/// What is no whole record.
fn bad(file: &File) -> io::Result<Vec<Range<u64>>> {
    let (mut bad, mut offset) = (Vec::<Range<u64>>::new(), 0);
    let mut add = |range: Range<u64>| match bad.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => bad.push(range),
    };
    while let Some(record) = segment::next(file, offset)? {
        add(offset..record.at);
        if frame::decode(record.batch, &record.payload, Vec::new()).is_err() {
            add(record.at..record.end);
        }
        offset = record.end;
    }
    add(offset..disk::about_open(file)?.bytes);
    Ok(bad)
}

fn part(mut file: &File, bytes: Range<u64>) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(bytes.start))?;
    let mut part = Vec::new();
    file.take(bytes.end - bytes.start).read_to_end(&mut part)?;
    Ok(part)
}

/// Writes what is not damaged to a new file, durable when it returns Ok.
fn write_rest(mut file: &File, damage: &[Damage], len: u64, draft: &Path) -> io::Result<()> {
    disk::remove_if_there(draft)?;
    let mut rest = disk::create_new(draft, 0o600)?;
    let ends = damage.iter().map(|one| one.bytes.start).chain([len]);
    let starts = [0].into_iter().chain(damage.iter().map(|one| one.bytes.end));
    for (start, end) in starts.zip(ends) {
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut file.take(end - start), &mut rest)?;
    }
    rest.sync_all()
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { doing, path, source }
}
