//! One sealed batch on its way from the spool to a sink.

use bytes::Bytes;

/// A batch as it was signed. The cold half carries its bytes and never looks into an event.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number in the log of this host, from 0.
    pub number: u64,
    /// The event lines and the seal line, each with its LF.
    pub bytes: Bytes,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch {} of {} bytes", self.number, self.bytes.len())
    }
}

/// How a seal line starts: the last line of every batch, and of no other place (no event has the key `sigtrail`).
pub const SEAL_LINE: &[u8] = br#"{"sigtrail":"seal/v1""#;

/// Batches `from..=to` that a reader wanted and cannot have: what the next header must say as `gap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The sink that does not get them; `spool` when no sink can.
    pub sink: String,
    /// First batch.
    pub from: u64,
    /// Last batch.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why batches are missing; the word is the one of the header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The spool was full and dropped the oldest.
    Evict,
    /// The receiver refused them for good; they are kept in `quarantine/<sink>/`.
    Quarantine,
    /// The spool does not have them any more: evicted before, or their bytes are damaged.
    Lag,
}

impl GapReason {
    /// The word in the header line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Quarantine => "quarantine",
            Self::Lag => "lag",
        }
    }
}

/// The batch number in a seal line: its header's `batch` line.
pub fn number_in(seal_line: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br"\nbatch ";
    let header = seal_line.strip_prefix(SEAL_LINE)?;
    let digits = &header[memchr::memmem::find(header, KEY)? + KEY.len()..];
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_a_seal_line_only() {
        let line = br#"{"sigtrail":"seal/v1","header":"sigtrail/batch/v1\norigin a.example/x\nbatch 18230\nprev AA==\n","proof":""}"#;
        assert_eq!(number_in(line), Some(18_230));
        assert_eq!(
            number_in(br#"{"type":"exec","args":["\nbatch 3\n"]}"#),
            None
        );
        assert_eq!(
            number_in(br#"{"sigtrail":"seal/v1","header":"\nbatch 99999999999999999999\n"}"#),
            None
        );
    }
}
