//! The seal line: the JSON line that ends a batch and carries its header and its proof. And the redacted line, which
//! stands for an event line.

use thiserror::Error;

use crate::header::MAX_HEADER;
use crate::jcs;
use crate::proof::MAX_PROOF;
use crate::text::{base64, unbase64_hash};
use crate::tree::Hash;

/// How every seal line begins; no event line does.
pub const START: &[u8] = b"{\"sigtrail\":\"seal/v1\",\"header\":\"";
/// Up to and with the comma after the format.
const START_OF_HEADER: usize = b"{\"sigtrail\":\"seal/v1\",".len();
const MIDDLE: &str = "\",\"proof\":\"";
const END: &str = "\"}";

/// The longest seal line in bytes without its LF: each byte of a text takes at most two.
pub const MAX_SEAL_LINE: usize = START.len() + MIDDLE.len() + END.len() + 2 * (MAX_HEADER + MAX_PROOF);

/// Why a line that begins like a seal line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealLineError {
    /// More than [`MAX_SEAL_LINE`] bytes.
    #[error("the seal line has {0} bytes, {MAX_SEAL_LINE} are allowed")]
    TooLong(usize),
    /// A seal of a format that is not known here.
    #[error("the seal is not of the format `seal/v1`: a newer version of sigtrail can read what a newer one wrote")]
    Version,
    /// Not the three keys, not two strings, not UTF-8, or not spelled as it would be written.
    #[error("the seal line is not `sigtrail`, `header` and `proof` in the one allowed spelling")]
    Form,
}

/// The texts of a seal line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealLine {
    /// The header, as text.
    pub header: String,
    /// The proof, as text.
    pub proof: String,
}

impl SealLine {
    /// Whether the line means to be a seal line (and so can be no event line).
    pub fn is_one(line: &[u8]) -> bool {
        line.starts_with(b"{\"sigtrail\":\"seal/")
    }

    /// Reads a line without its LF. What is read writes back to the same bytes.
    pub fn parse(line: &[u8]) -> Result<Self, SealLineError> {
        if line.len() > MAX_SEAL_LINE {
            return Err(SealLineError::TooLong(line.len()));
        }
        if line.starts_with(b"{\"sigtrail\":\"seal/v") && !line.starts_with(&START[..START_OF_HEADER]) {
            return Err(SealLineError::Version);
        }
        let rest =
            line.strip_prefix(START).and_then(|rest| std::str::from_utf8(rest).ok()).ok_or(SealLineError::Form)?;
        // the first of these is the end of the header: a quote within a string has a backslash before it
        let (header, proof) = rest.split_once(MIDDLE).ok_or(SealLineError::Form)?;
        let proof = proof.strip_suffix(END).ok_or(SealLineError::Form)?;
        let text = |string| jcs::unescape(string).ok_or(SealLineError::Form);
        let read = Self { header: text(header)?, proof: text(proof)? };
        if read.write() != [line, b"\n"].concat() {
            return Err(SealLineError::Form);
        }
        Ok(read)
    }

    /// The line, with its LF.
    pub fn write(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(START.len() + self.header.len() + self.proof.len() + 128);
        line.extend_from_slice(START);
        jcs::escape(&self.header, &mut line);
        line.extend_from_slice(MIDDLE.as_bytes());
        jcs::escape(&self.proof, &mut line);
        line.extend_from_slice(END.as_bytes());
        line.push(b'\n');
        line
    }
}

const REDACTED: &str = "{\"sigtrail\":\"redacted/v1\",\"leaf\":\"";

/// The line that stands for an event line that was taken out: the hash of it as a leaf, without LF.
pub fn redacted(leaf: &Hash) -> String {
    format!("{REDACTED}{}{END}", base64(leaf))
}

/// The leaf in a line that [`redacted`] wrote, given without its LF.
pub fn unredacted(line: &[u8]) -> Option<Hash> {
    let leaf = line.strip_prefix(REDACTED.as_bytes())?.strip_suffix(END.as_bytes())?;
    unbase64_hash(std::str::from_utf8(leaf).ok()?)
}
