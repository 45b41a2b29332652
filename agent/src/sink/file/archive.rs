//! Rotated files: their names, compression, encryption, and how many are kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FileConfig, FileError, keep, writer};
use crate::disk;

/// zstd's own default: about a tenth of the size at more than 100 MB/s.
pub(super) const LEVEL: i32 = 3;
/// Compared at a time.
const PART: usize = 64 << 10;

/// The ends of the names of rotated files with events, as they come one after the other.
const EVENTS: [&str; 4] = [".ndjson", ".ndjson.zst", ".ndjson.age", ".ndjson.zst.age"];

/// `audit-<first>-<last>.ndjson`, with a counter behind it when there is such a file already, or its seals.
pub(super) fn free_name(dir: &Path, first: u64, last: u64) -> PathBuf {
    let name = |n: u32| match n {
        0 => format!("audit-{first:020}-{last:020}"),
        n => format!("audit-{first:020}-{last:020}.{n}"),
    };
    let ends = || EVENTS.iter().chain(&[".seals", ".seals.zst"]);
    let taken = |name: &str| ends().any(|end| fs::symlink_metadata(dir.join(format!("{name}{end}"))).is_ok());
    let free = (0..u32::MAX).map(name).find(|name| !taken(name));
    dir.join(format!("{}.ndjson", free.unwrap_or_else(|| name(u32::MAX))))
}

/// The name of a rotated file without its end: what its seals are named after.
pub(super) fn base(path: &Path) -> PathBuf {
    let name = path.display().to_string();
    let end = EVENTS.iter().rev().find_map(|end| name.strip_suffix(end));
    PathBuf::from(end.unwrap_or(&name))
}

/// Compresses and encrypts what is not yet, then removes what is more than wanted.
pub(super) fn tidy(config: &FileConfig) -> Result<(), FileError> {
    // drafts of an earlier life; that of `sigtrail redact` is not ours
    let drafts = list(&config.dir, ".tmp")?.into_iter();
    for path in drafts.filter(|path| !path.display().to_string().ends_with(".redact.tmp")) {
        disk::remove_if_there(&path).map_err(FileError::io("remove", &path))?;
    }
    // what is too much goes also when there is no room for a copy
    let packed = pack(config);
    retain(config)?;
    packed
}

fn pack(config: &FileConfig) -> Result<(), FileError> {
    if config.compress {
        for path in list(&config.dir, ".ndjson")? {
            compress(&path, config)?;
        }
    }
    if !config.recipients.is_empty() {
        for path in [list(&config.dir, ".ndjson")?, list(&config.dir, ".ndjson.zst")?].concat() {
            keep::encrypt(&path, config)?;
        }
    }
    Ok(())
}

/// Whether less is free than is wanted.
pub(super) fn is_short(config: &FileConfig) -> Result<bool, FileError> {
    let space = || disk::space(&config.dir).map_err(FileError::io("ask for the space of", &config.dir));
    Ok(config.min_free > 0 && space()?.free < config.min_free)
}

/// Rotated files whose name ends so, oldest first.
fn list(dir: &Path, end: &str) -> Result<Vec<PathBuf>, FileError> {
    let failed = || FileError::io("list", dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with("audit-") && name.ends_with(end));
        if ours && entry.file_type().map_err(failed())?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes `<path>.zst`, reads it back, and only then removes `path`.
fn compress(path: &Path, config: &FileConfig) -> Result<(), FileError> {
    let with = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let (draft, done) = (with(".zst.tmp"), with(".zst"));
    let mut plain = disk::open_read(path).map_err(FileError::io("open", path))?;
    let packed = disk::create_new(&draft, 0o600).map_err(FileError::io("create", &draft))?;
    writer::own(&packed, config)?;
    zstd::stream::copy_encode(&mut plain, &packed, LEVEL).map_err(FileError::io("compress", path))?;
    keep_time(path, &packed).map_err(FileError::io("set the time of", &draft))?;
    packed.sync_all().map_err(FileError::io("make durable", &draft))?;
    let plain = disk::open_read(path).map_err(FileError::io("read", path))?;
    let unpacked = disk::open_read(&draft).and_then(zstd::stream::read::Decoder::new);
    let unpacked = unpacked.map_err(FileError::io("read back", &draft))?;
    if !are_equal(plain, unpacked).map_err(FileError::io("read back", &draft))? {
        disk::remove_if_there(&draft).map_err(FileError::io("remove", &draft))?;
        let source = io::Error::other("the compressed copy differs: kept the original");
        return Err(FileError::Io { doing: "compress", path: path.to_owned(), source });
    }
    fs::rename(&draft, &done).map_err(FileError::io("rename", &draft))?;
    disk::sync_dir(&config.dir).map_err(FileError::io("make durable the names in", &config.dir))?;
    disk::remove_if_there(path).map_err(FileError::io("remove", path))
}

/// A copy is as old as what it is of.
pub(super) fn keep_time(of: &Path, copy: &File) -> io::Result<()> {
    copy.set_modified(fs::symlink_metadata(of)?.modified()?)
}

/// Whether both give the same bytes.
fn are_equal(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::with_capacity(PART), Vec::with_capacity(PART));
    loop {
        left.clear();
        right.clear();
        one.by_ref().take(PART as u64).read_to_end(&mut left)?;
        other.by_ref().take(PART as u64).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

/// Removes the oldest files that are more than wanted. Their seals stay: the chain stays whole, and a copy of the events
/// that is elsewhere still verifies.
fn retain(config: &FileConfig) -> Result<(), FileError> {
    let mut files = EVENTS.map(|end| list(&config.dir, end)).into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    files.sort_unstable();
    let about = files.iter().filter_map(|path| Some((path, fs::symlink_metadata(path).ok()?))).collect::<Vec<_>>();
    let (mut count, mut bytes) = (about.len(), about.iter().map(|(_, about)| about.len()).sum::<u64>());
    let now = SystemTime::now();
    for (path, about) in about {
        let age = about.modified().ok().and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
        let many = config.keep_files.is_some_and(|most| count > most);
        let large = config.keep_bytes.is_some_and(|most| bytes > most);
        let old = config.keep_age.is_some_and(|most| age > most);
        if !many && !large && !old && !is_short(config)? {
            break;
        }
        // an encrypted one had its seals written before it was encrypted
        if path.extension().is_none_or(|end| end != "age") {
            keep::seals(path, config)?;
        }
        tracing::info!(path = %path.display(), "removed a rotated file but for its seals: more are not to be kept");
        disk::remove_if_there(path).map_err(FileError::io("remove", path))?;
        count -= 1;
        bytes -= about.len();
    }
    Ok(())
}
