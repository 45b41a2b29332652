//! A recorded stream of events, in place of the kernel: tests and `tail --replay` need no rights.
//!
//! ```text
//! | length of the event, u64 little-endian | the event, filled up with zeros to a multiple of 8 | …
//! ```

use std::{
    fs::File,
    io::{self, Read as _, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zerocopy::IntoBytes as _;

/// A stream is at most this long: it is read as a whole.
const LIMIT: u64 = 1 << 30;

/// Why a stream could not be read.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no stream, or cut short.
    #[error("{path} is no recorded stream: the event at byte {at} goes beyond the end")]
    Cut {
        /// The file.
        path: PathBuf,
        /// Where the event starts.
        at: usize,
    },
}

/// A recorded stream.
#[derive(Debug)]
pub struct Replay {
    words: Vec<u64>,
    at: usize,
}

impl Replay {
    /// Reads a whole stream and checks its form.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let failed = |source| ReplayError::Io { path: path.into(), source };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes)).map_err(failed)?;
        let mut words = vec![0; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(&bytes);
        let mut replay = Self { words, at: 0 };
        while let Some(at) = replay.rest() {
            if replay.event().is_none() {
                return Err(ReplayError::Cut { path: path.into(), at: at * 8 });
            }
        }
        replay.at = 0;
        Ok(replay)
    }

    /// Hands over the events, as [`super::Kernel::drain`] does.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        while let Some(event) = self.event() {
            if each(event).is_break() {
                return false;
            }
        }
        true
    }

    fn rest(&self) -> Option<usize> {
        (self.at < self.words.len()).then_some(self.at)
    }

    fn event(&mut self) -> Option<&[u8]> {
        let start = self.rest()? + 1;
        let len = usize::try_from(u64::from_le(self.words[start - 1])).ok()?;
        let words = self.words.get(start..)?.get(..len.div_ceil(8))?;
        self.at = start + words.len();
        words.as_bytes().get(..len)
    }
}

/// Appends an event to a stream.
pub fn record(event: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&(event.len() as u64).to_le_bytes())?;
    out.write_all(event)?;
    out.write_all(&[0; 8][..event.len().next_multiple_of(8) - event.len()])
}
