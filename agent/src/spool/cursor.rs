//! How far a sink has come: `cursors/<sink>`, the number of the last batch it has, as text.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::SpoolError;
use crate::disk;

/// The cursor of one sink.
#[derive(Clone, Debug)]
pub struct Cursor {
    dir: PathBuf,
    sink: String,
}

/// What a cursor file said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The sink has everything up to this batch.
    After(u64),
    /// Nothing was acknowledged yet: begin with the oldest batch.
    Start,
    /// The file was damaged: begin with the oldest batch; receivers know what they have.
    Damaged,
}

impl Position {
    /// The batch to read after, if any.
    pub fn after(self) -> Option<u64> {
        match self {
            Self::After(batch) => Some(batch),
            Self::Start | Self::Damaged => None,
        }
    }
}

/// Whether `name` may name a sink: it becomes a file name, a metric label and a word of the header.
pub fn is_sink_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

impl Cursor {
    /// The cursor of `sink` in the spool at `spool`. The name must satisfy [`is_sink_name`].
    pub fn new(spool: &Path, sink: &str) -> Result<Self, SpoolError> {
        if !is_sink_name(sink) {
            return Err(SpoolError::SinkName(sink.to_owned()));
        }
        Ok(Self { dir: spool.join("cursors"), sink: sink.to_owned() })
    }

    /// Where the sink stands. Whatever is in the place of the file, this is an answer.
    pub fn load(&self) -> Position {
        let mut bytes = Vec::new();
        // One byte more than the longest number and its LF: a longer file is no cursor.
        let read = disk::open_read(&self.dir.join(&self.sink)).and_then(|file| file.take(22).read_to_end(&mut bytes));
        match read {
            Ok(_) => parse(&bytes).map_or(Position::Damaged, Position::After),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::Start,
            Err(_) => Position::Damaged,
        }
    }

    /// Moves the cursor. Durable when it returns Ok.
    pub fn store(&self, batch: u64) -> Result<(), SpoolError> {
        let failed = |source| SpoolError::Io { doing: "move the cursor", path: self.dir.join(&self.sink), source };
        disk::make_dir(&self.dir, 0o700).map_err(failed)?;
        disk::replace(&self.dir, &self.sink, format!("{batch}\n").as_bytes()).map_err(failed)
    }
}

/// Exactly what [`Cursor::store`] writes.
fn parse(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let batch: u64 = text.parse().ok()?;
    (batch.to_string() == text).then_some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_cursor_means_start_again() {
        let dir = tempfile::tempdir().unwrap();
        let cursor = Cursor::new(dir.path(), "http-1").unwrap();
        assert_eq!(cursor.load(), Position::Start);
        cursor.store(u64::MAX).unwrap();
        assert_eq!(cursor.load(), Position::After(u64::MAX));
        for bad in ["", "\n", "12", "+12\n", "012\n", "12\n\n", "18446744073709551616\n", "\0\0\0\n"] {
            std::fs::write(dir.path().join("cursors/http-1"), bad).unwrap();
            assert_eq!(cursor.load(), Position::Damaged, "{bad:?}");
        }
        std::fs::remove_file(dir.path().join("cursors/http-1")).unwrap();
        std::fs::create_dir(dir.path().join("cursors/http-1")).unwrap();
        assert_eq!(cursor.load(), Position::Damaged);
        std::fs::remove_dir(dir.path().join("cursors/http-1")).unwrap();
        cursor.store(3).unwrap();
        assert_eq!(cursor.load().after(), Some(3));
    }

    #[test]
    fn a_sink_name_is_no_path() {
        for bad in ["", "..", "a/b", "Ä", "A", &"x".repeat(65)] {
            assert!(Cursor::new(Path::new("/nonexistent"), bad).is_err(), "{bad}");
        }
    }
}
