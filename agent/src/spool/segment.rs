//! A segment file: its name, and the way through its records that damage cannot stop.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem;
use seal::frame::{HEAD, Head, MAGIC};

use crate::disk::{self, File};

/// Bytes looked through at a time when a search for the next record is needed.
const WINDOW: usize = 256 << 10;

/// `seg-<first batch, 20 digits>.stl`: names in order are batches in order.
pub fn name(first: u64) -> String {
    format!("seg-{first:020}.stl")
}

/// The first batch in a name made by [`name`].
pub fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".stl")?;
    let right = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    right.then(|| digits.parse().ok()).flatten()
}

/// The segments of a spool, oldest first.
pub fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for name in disk::names(dir)? {
        if let Some(first) = name.to_str().and_then(first_of) {
            found.push((first, dir.join(name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A whole record, its checksum right.
#[derive(Debug)]
pub struct Record {
    /// Batch number.
    pub batch: u64,
    /// Where it starts; more than what was asked for when damage was passed over.
    pub at: u64,
    /// Where the next one starts.
    pub end: u64,
    /// The zstd frame.
    pub payload: Vec<u8>,
}

/// The first whole record at or after `offset`, or nothing when there is none up to the end of the file as it is now.
pub fn next(file: &File, offset: u64) -> io::Result<Option<Record>> {
    if let Some(record) = record_at(file, offset)? {
        return Ok(Some(record));
    }
    if offset >= disk::about_open(file)?.bytes {
        return Ok(None);
    }
    let mut window = vec![0; WINDOW];
    let mut base = offset.saturating_add(1);
    loop {
        let have = read_up_to(file, &mut window, base)?;
        for found in memmem::find_iter(&window[..have], &MAGIC) {
            if let Some(record) = record_at(file, base + found as u64)? {
                return Ok(Some(record));
            }
        }
        if have < WINDOW {
            return Ok(None);
        }
        base += (WINDOW - (MAGIC.len() - 1)) as u64;
    }
}

/// The record that starts exactly here, if it is whole.
fn record_at(file: &File, at: u64) -> io::Result<Option<Record>> {
    let mut bytes = [0; HEAD];
    if read_up_to(file, &mut bytes, at)? < HEAD {
        return Ok(None);
    }
    let Ok(head) = Head::parse(&bytes) else { return Ok(None) };
    let start = at + HEAD as u64;
    // The length is not checked yet: memory is taken only for bytes that are there.
    if disk::about_open(file)?.bytes.saturating_sub(start) < head.length as u64 {
        return Ok(None);
    }
    let mut payload = vec![0; head.length];
    let have = read_up_to(file, &mut payload, start)?;
    if head.check(&payload[..have]).is_err() {
        return Ok(None);
    }
    Ok(Some(Record { batch: head.batch, at, end: start + head.length as u64, payload }))
}

/// Fills `bytes` from `offset` on, less only at the end of the file.
fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strict_and_in_order() {
        assert_eq!(first_of(&name(18_230)), Some(18_230));
        assert_eq!(first_of(&name(u64::MAX)), Some(u64::MAX));
        for bad in ["seg-1.stl", "seg-00000000000000000001.stl.tmp", "seg-+0000000000000000001.stl", "ballast"] {
            assert_eq!(first_of(bad), None, "{bad}");
        }
        assert!(name(9) < name(10));
    }
}
