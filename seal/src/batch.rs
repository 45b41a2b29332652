//! A batch: event lines and the seal over them.

use thiserror::Error;

use crate::MAX_LINE;
use crate::header::{Header, HeaderError};
use crate::line::{SealLine, SealLineError};
use crate::proof::{Proof, ProofError};
use crate::tree::{self, Hash, Range};

/// Why a line can be no event line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineError {
    /// More than [`MAX_LINE`] bytes.
    #[error("the event line has {0} bytes, {MAX_LINE} are allowed")]
    TooLong(usize),
    /// A LF would make two lines of it.
    #[error("the event line has a LF in it")]
    Break,
    /// It begins like a seal line.
    #[error("the event line begins with the key `sigtrail`, which is kept for the seal")]
    Reserved,
}

/// The event lines of a batch, as far as the seal has to know them: count, length and root. Constant memory.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    tree: Range,
    bytes: u64,
}

impl Lines {
    /// No lines yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, without its LF. A line that cannot stand in the log is refused and changes nothing.
    ///
    /// Whether the line is canonical JSON is not looked at here, in the hot way: see [`crate::jcs::check`].
    pub fn push(&mut self, line: &[u8]) -> Result<(), LineError> {
        if line.len() > MAX_LINE {
            return Err(LineError::TooLong(line.len()));
        }
        // without an early end, so that many bytes are looked at at once
        if line.iter().fold(0, |found, byte| found | u8::from(*byte == b'\n')) > 0 {
            return Err(LineError::Break);
        }
        if line.starts_with(b"{\"sigtrail\":") {
            return Err(LineError::Reserved);
        }
        self.add(line);
        Ok(())
    }

    /// Adds a line of which the caller knows that it has no LF.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.add_leaf(tree::leaf(line));
        self.bytes += line.len() as u64 + 1;
    }

    /// Adds the leaf of a line that is not there any more.
    pub(crate) fn add_leaf(&mut self, leaf: Hash) {
        self.tree.push(leaf);
    }

    /// The number of lines.
    pub fn len(&self) -> u64 {
        self.tree.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length in bytes, each line with its LF.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The RFC 6962 root over the lines.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }
}

/// Why a seal line is no seal, or does not agree with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The line is not of the right form.
    #[error(transparent)]
    Line(#[from] SealLineError),
    /// The header is not of the right form.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The proof is not of the right form.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Two parts of the seal say different things about the same thing.
    #[error("header and proof disagree on `{0}`")]
    Disagree(&'static str),
}

/// A seal that agrees with itself. Its signatures are checked by who knows the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What is sealed.
    pub header: Header,
    /// That it is the last leaf of the log.
    pub proof: Proof,
    /// The leaf: the hash of the header text.
    pub leaf: Hash,
    /// The log before this batch.
    pub before: Range,
}

impl Batch {
    /// Reads a seal line without its LF: strict in form; index, number, size, origin, `prev` and root agree.
    pub fn parse(line: &[u8]) -> Result<Self, BatchError> {
        let SealLine { header: text, proof } = SealLine::parse(line)?;
        let (header, proof) = (Header::parse(&text)?, Proof::parse(&proof)?);
        let disagree = |what| Err(BatchError::Disagree(what));
        if header.origin != proof.checkpoint.origin {
            return disagree("origin");
        }
        if header.batch != proof.index || Some(proof.checkpoint.size) != header.batch.checked_add(1) {
            return disagree("batch");
        }
        let Some(before) = Range::from_path(proof.index, &proof.path) else { return disagree("path") };
        if before.root() != header.prev {
            return disagree("prev");
        }
        let leaf = tree::leaf(text.as_bytes());
        let mut after = before.clone();
        after.push(leaf);
        if after.root() != proof.checkpoint.root {
            return disagree("root");
        }
        Ok(Self { header, proof, leaf, before })
    }

    /// Whether the header is about these lines; otherwise which line of the header is not.
    pub fn is_over(&self, lines: &Lines) -> Result<(), &'static str> {
        if lines.len() != self.header.events {
            return Err("events");
        }
        if lines.root() != self.header.root {
            return Err("root");
        }
        if lines.bytes() != self.header.bytes {
            return Err("bytes");
        }
        Ok(())
    }
}
