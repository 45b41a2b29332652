//! The proof that a header is the last leaf of a signed log: C2SP `tlog-proof.md` around a `tlog-checkpoint.md`.

use std::fmt;

use thiserror::Error;

use crate::key::chain_name;
use crate::note::{Note, NoteError, Signature, is_name};
use crate::text::{base64, decimal, unbase64_hash};
use crate::tree::Hash;

/// The first line of a proof.
pub const VERSION: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof in bytes: 63 hashes, 16 signatures (an ML-DSA-44 one has 3.3 kB in base64), and room.
pub const MAX_PROOF: usize = 65_535;

/// Why a text is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// More than [`MAX_PROOF`] bytes.
    #[error("the proof has {0} bytes, {MAX_PROOF} are allowed")]
    TooLong(usize),
    /// The first line is another one.
    #[error("the proof does not begin with `{VERSION}`")]
    Version,
    /// No `index` line.
    #[error("the proof has no valid `index` line")]
    Index,
    /// A line that should be the hash of a sibling is none, or there are more than 64.
    #[error("the proof has a line that is no hash of a sibling")]
    Path,
    /// The checkpoint is not origin, size and root.
    #[error("the checkpoint is not an origin, a size and a root")]
    Checkpoint,
    /// The checkpoint is no signed note.
    #[error("the checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The first two signatures are not under the names of the host key and of the chain key.
    #[error("the checkpoint does not begin its signatures with those of the host key and of the chain key")]
    Signers,
}

/// The head of a log: its identity, its size in batches, its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The identity of the log.
    pub origin: String,
    /// The number of batches.
    pub size: u64,
    /// The root over the headers.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }

    /// Reads the text that is signed, with its last LF.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        Self::from_parts(&mut lines)
    }

    /// Reads the same on one line, with spaces: what [`fmt::Display`] writes, for syslog, a ticket, paper.
    pub fn from_line(line: &str) -> Option<Self> {
        Self::from_parts(&mut line.split(' '))
    }

    fn from_parts<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let (origin, size, root) = (parts.next()?, decimal(parts.next()?)?, unbase64_hash(parts.next()?)?);
        (is_name(origin) && parts.next().is_none()).then(|| Self { origin: origin.to_owned(), size, root })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.origin, self.size, base64(&self.root))
    }
}

/// A proof, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The number of the leaf.
    pub index: u64,
    /// The hashes of its siblings, bottom up.
    pub path: Vec<Hash>,
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// By whom: the host key, the chain key, then whoever else.
    pub signatures: Vec<Signature>,
}

impl Proof {
    /// Reads a proof. What is read writes back to the same bytes.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_PROOF {
            return Err(ProofError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('\n')).ok_or(ProofError::Version)?;
        let rest = rest.strip_prefix("index ").ok_or(ProofError::Index)?;
        let (index, mut rest) = rest.split_once('\n').ok_or(ProofError::Index)?;
        let index = decimal(index).ok_or(ProofError::Index)?;
        let mut path = Vec::new();
        let note = loop {
            let (line, after) = rest.split_once('\n').ok_or(ProofError::Path)?;
            if line.is_empty() {
                break after;
            }
            if path.len() == 64 {
                return Err(ProofError::Path);
            }
            path.push(unbase64_hash(line).ok_or(ProofError::Path)?);
            rest = after;
        };
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(&note.text).ok_or(ProofError::Checkpoint)?;
        let chain = chain_name(&checkpoint.origin);
        match note.signatures.as_slice() {
            [host, by_chain, ..] if host.name == checkpoint.origin && by_chain.name == chain => {}
            _ => return Err(ProofError::Signers),
        }
        Ok(Self { index, path, checkpoint, signatures: note.signatures })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}\nindex {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        writeln!(f, "\n{}", self.checkpoint.text())?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}
