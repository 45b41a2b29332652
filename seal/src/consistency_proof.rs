//! The proof that one head of a log is the beginning of a later one: nothing before the first was rewritten, nothing was
//! taken out. It stands without the log.
//!
//! ```text
//! sigtrail/consistency-proof/v1
//! <base64 of the hashes of RFC 6962 section 2.1.2, one a line>
//! <empty line>
//! <the old checkpoint: a signed note>
//! <empty line>
//! <the new checkpoint: a signed note>
//! ```

use std::fmt;

use thiserror::Error;

use crate::batch::Batch;
use crate::note::{Note, NoteError, Signature, Vkey};
use crate::proof::Checkpoint;
use crate::revocation::Revocation;
use crate::text::{base64, unbase64_hash};
use crate::tree::{self, Hash};

/// The first line of the text.
pub const VERSION: &str = "sigtrail/consistency-proof/v1";

/// Why a text is no proof, or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConsistencyError {
    /// A part is missing, or has another form.
    #[error("the consistency proof has no valid `{0}` where it belongs")]
    Form(&'static str),
    /// A checkpoint is no signed note.
    #[error("a checkpoint is no signed note: {0}")]
    Note(#[from] NoteError),
    /// The checkpoints are of two logs.
    #[error("the two checkpoints have different origins")]
    Origin,
    /// The hashes do not lead from one root to the other.
    #[error("the new head is not a continuation of the old one")]
    Path,
    /// The host key did not sign one of the checkpoints.
    #[error("the {0} checkpoint is not signed by the host key")]
    Signature(&'static str),
}

/// A checkpoint with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// By whom: the host key, the chain key, then whoever else.
    pub signatures: Vec<Signature>,
}

impl Head {
    fn parse(text: &str, signatures: &str) -> Result<Self, ConsistencyError> {
        let note = Note::parse(&format!("{text}\n\n{signatures}\n"))?;
        let checkpoint = Checkpoint::parse(&note.text).ok_or(ConsistencyError::Form("checkpoint"))?;
        Ok(Self { checkpoint, signatures: note.signatures })
    }

    fn is_signed(&self, hosts: &[Vkey], revoked: &[Revocation]) -> bool {
        let (text, last) = (self.checkpoint.text(), self.checkpoint.size.saturating_sub(1));
        let counts = |host: &&Vkey| !revoked.iter().any(|revoked| revoked.revokes(host, last));
        let mut hosts = hosts.iter().filter(counts);
        self.signatures.first().is_some_and(|by_host| hosts.any(|host| host.verifies(&text, by_host)))
    }
}

impl From<&Batch> for Head {
    /// The head of the log that ends with the batch.
    fn from(batch: &Batch) -> Self {
        let proof = &batch.proof;
        Self { checkpoint: proof.checkpoint.clone(), signatures: proof.signatures.clone() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.text())?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Two heads of which the second continues the first. Who signed is the question of [`ConsistencyProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    path: Vec<Hash>,
    old: Head,
    new: Head,
}

impl ConsistencyProof {
    /// Puts a proof together; refuses one that proves nothing.
    pub fn new(path: Vec<Hash>, old: Head, new: Head) -> Result<Self, ConsistencyError> {
        let (from, to) = (&old.checkpoint, &new.checkpoint);
        if from.origin != to.origin {
            return Err(ConsistencyError::Origin);
        }
        if !tree::is_consistent(from.size, from.root, to.size, to.root, &path) {
            return Err(ConsistencyError::Path);
        }
        Ok(Self { path, old, new })
    }

    /// Reads a proof: strict in form, and the new head continues the old one. What is read writes back to the same bytes.
    pub fn parse(text: &str) -> Result<Self, ConsistencyError> {
        use ConsistencyError::Form;
        let body = text.strip_suffix('\n').ok_or(Form("new checkpoint"))?;
        let mut parts = body.split("\n\n");
        let mut part = |name| parts.next().ok_or(Form(name));
        let mut path = part("version")?.split('\n');
        if path.next() != Some(VERSION) {
            return Err(Form("version"));
        }
        // at most two hashes for each level of the tree
        let path = path.take(129).map(unbase64_hash).collect::<Option<Vec<_>>>().ok_or(Form("path"))?;
        let old = Head::parse(part("old checkpoint")?, part("old checkpoint")?)?;
        let new = Head::parse(part("new checkpoint")?, part("new checkpoint")?)?;
        let read = Self::new(path, old, new)?;
        if read.to_string() == text { Ok(read) } else { Err(Form("new checkpoint")) }
    }

    /// The old and the new head, once each is signed by one of the host keys (two, if the key was changed in between) that
    /// is not revoked for it.
    pub fn verify(
        &self,
        hosts: &[Vkey],
        revoked: &[Revocation],
    ) -> Result<(&Checkpoint, &Checkpoint), ConsistencyError> {
        for (name, head) in [("old", &self.old), ("new", &self.new)] {
            if !head.is_signed(hosts, revoked) {
                return Err(ConsistencyError::Signature(name));
            }
        }
        Ok(self.heads())
    }

    /// The old and the new head. Nothing says who signed them.
    pub fn heads(&self) -> (&Checkpoint, &Checkpoint) {
        (&self.old.checkpoint, &self.new.checkpoint)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}")?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}\n{}", self.old, self.new)
    }
}
