//! The body of `add-checkpoint` (C2SP `tlog-witness.md`): a checkpoint for a witness, with the proof that it continues
//! the one that the witness knows.

use std::fmt;

use thiserror::Error;

use crate::note::{Note, NoteError, is_name};
use crate::proof::Checkpoint;
use crate::text::{base64, decimal, unbase64_hash};
use crate::tree::Hash;

/// The longest body in bytes: 63 hashes, 16 signatures, and room.
pub const MAX_BODY: usize = 65_535;
/// The longest proof in hashes.
const MAX_PROOF: usize = 63;

/// Why bytes are no such body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddCheckpointError {
    /// More than [`MAX_BODY`] bytes, or not UTF-8.
    #[error("not a text of at most {MAX_BODY} bytes")]
    Text,
    /// No `old <size>` line.
    #[error("no `old` line with a size")]
    Old,
    /// A line that should be a hash is none, or there are more than 63.
    #[error("a line of the proof is no hash, or there are too many")]
    Proof,
    /// The checkpoint is no signed note.
    #[error("the checkpoint is no signed note: {0}")]
    Note(#[from] NoteError),
    /// The text of the note is no checkpoint.
    #[error("the note is no checkpoint: origin, size and root are expected")]
    Checkpoint,
    /// The old size is more than that of the checkpoint.
    #[error("the old size is more than that of the checkpoint")]
    Order,
}

/// What a log asks a witness for. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness to know.
    pub old: u64,
    /// The consistency proof from there (RFC 6962 section 2.1.2).
    pub proof: Vec<Hash>,
    /// The checkpoint as it is signed.
    pub note: Note,
    /// Its first three lines.
    pub checkpoint: Checkpoint,
}

impl AddCheckpoint {
    /// Reads a body. What is read writes back to the same bytes.
    pub fn parse(body: &[u8]) -> Result<Self, AddCheckpointError> {
        use AddCheckpointError as Wrong;
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_BODY).ok_or(Wrong::Text)?;
        let (old, mut rest) = text.strip_prefix("old ").and_then(|rest| rest.split_once('\n')).ok_or(Wrong::Old)?;
        let old = decimal(old).ok_or(Wrong::Old)?;
        let mut proof = Vec::new();
        let note = loop {
            let (line, after) = rest.split_once('\n').ok_or(Wrong::Proof)?;
            if line.is_empty() {
                break Note::parse(after)?;
            }
            if proof.len() == MAX_PROOF {
                return Err(Wrong::Proof);
            }
            proof.push(unbase64_hash(line).ok_or(Wrong::Proof)?);
            rest = after;
        };
        let checkpoint = checkpoint(&note.text).ok_or(Wrong::Checkpoint)?;
        if old > checkpoint.size {
            return Err(Wrong::Order);
        }
        Ok(Self { old, proof, note, checkpoint })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

/// The first three lines of a checkpoint; other logs may have lines of their own behind them, none of them empty.
pub fn checkpoint(text: &str) -> Option<Checkpoint> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, decimal(lines.next()?)?, unbase64_hash(lines.next()?)?);
    if !is_name(origin) || lines.any(str::is_empty) {
        return None;
    }
    Some(Checkpoint { origin: origin.to_owned(), size, root })
}
