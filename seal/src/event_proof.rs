//! The proof of a single event: a text that stands without the log it comes from.
//!
//! ```text
//! sigtrail/event-proof/v1
//! event <the event line>
//! index <its place in the batch, from 0>
//! <base64 of the sibling hashes to `root`, bottom up>
//! <empty line>
//! <the header of the batch>
//! <empty line>
//! <the proof of the batch: C2SP tlog-proof>
//! ```

use std::fmt;

use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::jcs::{self, JcsError};
use crate::line::SealLine;
use crate::note::Vkey;
use crate::proof;
use crate::text::{base64, decimal, unbase64_hash};
use crate::tree::{self, Hash};

/// The first line of the text.
pub const VERSION: &str = "sigtrail/event-proof/v1";

/// Why a text is no proof of an event, or none can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventProofError {
    /// A part is missing, or has another form.
    #[error("the event proof has no valid `{0}` where it belongs")]
    Form(&'static str),
    /// The event is not canonical.
    #[error("the event is not in canonical form: {0}")]
    Event(#[from] JcsError),
    /// The seal is broken.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The event is not in the batch at this place.
    #[error("the event is not the one that was sealed at this place")]
    Path,
    /// The host key did not sign.
    #[error("the checkpoint is not signed by the host key")]
    Signature,
}

/// An event that agrees with the seal of its batch. Who signed is the question of [`EventProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventProof {
    event: String,
    index: u64,
    path: Vec<Hash>,
    seal: SealLine,
    batch: Batch,
}

impl EventProof {
    /// Makes the proof of one line of a batch from all of its lines and its seal line, each without its LF.
    pub fn make(lines: &[&[u8]], index: usize, seal_line: &[u8]) -> Result<Self, EventProofError> {
        let leaves: Vec<_> = lines.iter().map(|line| tree::leaf(line)).collect();
        let event = lines.get(index).ok_or(EventProofError::Form("index"))?;
        Self::from_leaves(event, &leaves, index, seal_line)
    }

    /// The same from the hashes of the lines, of which others may be redacted.
    pub fn from_leaves(event: &[u8], leaves: &[Hash], index: usize, seal_line: &[u8]) -> Result<Self, EventProofError> {
        let path = tree::path(leaves, index).ok_or(EventProofError::Form("index"))?;
        let event = std::str::from_utf8(event).map_err(|error| JcsError::Utf8(error.valid_up_to()))?;
        let seal = SealLine::parse(seal_line).map_err(BatchError::Line)?;
        Self::check(event.to_owned(), index as u64, path, seal)
    }

    /// Reads a proof: strict in form, and the event is in the batch. What is read writes back to the same bytes.
    pub fn parse(text: &str) -> Result<Self, EventProofError> {
        use EventProofError::Form;
        let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix("\nevent ")).ok_or(Form("event"))?;
        let (event, rest) = rest.split_once("\nindex ").ok_or(Form("index"))?;
        let (place, rest) = rest.split_once("\n\n").ok_or(Form("index"))?;
        let mut place = place.split('\n');
        let index = place.next().and_then(decimal).ok_or(Form("index"))?;
        let path = place.take(65).map(unbase64_hash).collect::<Option<Vec<_>>>().ok_or(Form("path"))?;
        let (header, proof) = rest.split_once("\n\n").ok_or(Form("proof"))?;
        let seal = SealLine { header: format!("{header}\n"), proof: proof.to_owned() };
        let read = Self::check(event.to_owned(), index, path, seal)?;
        if read.to_string() == text { Ok(read) } else { Err(Form(proof::VERSION)) }
    }

    fn check(event: String, index: u64, path: Vec<Hash>, seal: SealLine) -> Result<Self, EventProofError> {
        jcs::check(event.as_bytes())?;
        let batch = Batch::parse(seal.write().trim_ascii_end())?;
        let root = tree::root_by(&path, tree::leaf(event.as_bytes()), index, batch.header.events);
        if root != Some(batch.header.root) {
            return Err(EventProofError::Path);
        }
        Ok(Self { event, index, path, seal, batch })
    }

    /// The event line, once the host key signed the log it stands in.
    ///
    /// The chain signature needs the header before, so a stolen host key can forge such a proof; the log cannot be
    /// forged with it. Who has the log should verify the log.
    pub fn verify(&self, host: &Vkey) -> Result<&str, EventProofError> {
        let proof = &self.batch.proof;
        let text = proof.checkpoint.text();
        let signed = proof.signatures.first().is_some_and(|signature| host.verifies(&text, signature));
        if signed { Ok(&self.event) } else { Err(EventProofError::Signature) }
    }

    /// The event line. Nothing says who signed it.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The place of the event in its batch, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The batch of the event.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
}

impl fmt::Display for EventProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}\nevent {}\nindex {}", self.event, self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}\n{}", self.seal.header, self.seal.proof)
    }
}
