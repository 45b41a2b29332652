//! One sealed batch on its way from the spool to a sink.

use bytes::Bytes;
use seal::line::START;

/// A batch as it was signed. The cold half carries its bytes and never looks into an event.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number in the log of this host, from 0.
    pub number: u64,
    /// The event lines and the seal line, each with its LF.
    pub bytes: Bytes,
    /// The same as one zstd frame, as the spool has it; empty where there is none.
    pub frame: Bytes,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch {} of {} bytes", self.number, self.bytes.len())
    }
}

/// Whether a line, with its LF, ends a batch.
pub fn is_seal(line: &[u8]) -> bool {
    line.starts_with(START) && line.ends_with(b"\n")
}

/// The last line of a batch, with its LF: the seal line of every batch that was sealed.
pub fn seal_line(batch: &[u8]) -> &[u8] {
    let lines = batch.strip_suffix(b"\n").unwrap_or(batch);
    let start = memchr::memrchr(b'\n', lines).map_or(0, |before| before + 1);
    &batch[start..]
}

/// The batch number in a seal line: its header's `batch` line. Not the whole line is checked: that is the verifier's.
pub fn number_in(seal_line: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br"\nbatch ";
    let header = seal_line.strip_prefix(START)?;
    let digits = &header[memchr::memmem::find(header, KEY)? + KEY.len()..];
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// When a batch was sealed, in seconds since 1970: the second time in the `wall` line of its header.
pub fn sealed_at(batch: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br"\nwall ";
    let header = seal_line(batch).strip_prefix(START)?;
    let line = &header[memchr::memmem::find(header, KEY)? + KEY.len()..];
    let line = std::str::from_utf8(&line[..memchr::memchr(b'\\', line)?]).ok()?;
    let (_, sealed) = line.split_once(' ')?;
    Some(seal::text::untime(sealed)? / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_from_the_seal_line() {
        let wall = "2026-05-28T20:26:40.000000000Z 2026-05-28T20:26:45.000000042Z";
        let batch = format!("{{}}\n{{\"sigtrail\":\"seal/v1\",\"header\":\"v\\nwall {wall}\\nclock x\\n\"}}\n");
        assert_eq!(sealed_at(batch.as_bytes()), Some(1_780_000_005));
        assert_eq!(sealed_at(batch.replace(" 2026", "").as_bytes()), None);
        assert_eq!(sealed_at(b"{}\n"), None);
    }

    #[test]
    fn the_number_is_read_from_a_seal_line_only() {
        let line = br#"{"sigtrail":"seal/v1","header":"sigtrail/batch/v1\norigin a.example/x\nbatch 18230\nprev AA==\n","proof":""}"#;
        assert_eq!(number_in(line), Some(18_230));
        assert_eq!(number_in(br#"{"type":"exec","args":["\nbatch 3\n"]}"#), None);
        assert_eq!(number_in(br#"{"sigtrail":"seal/v1","header":"\nbatch 99999999999999999999\n"}"#), None);
    }
}
