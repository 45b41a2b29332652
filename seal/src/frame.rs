//! The records of a spool segment: a head that says what follows, then one compressed batch.
//!
//! ```text
//! "STB1" | length: u32 LE | batch: u64 LE | crc32c of the payload: u32 LE | payload: one zstd frame of sealed NDJSON
//! ```
//! The checksum finds torn writes; only the seal inside finds a hand.

use thiserror::Error;

/// The first four bytes of a record.
pub const MAGIC: [u8; 4] = *b"STB1";
/// The length of the head in bytes.
pub const HEAD: usize = 20;
/// The longest payload in bytes: far more than a batch of the longest age and size has.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The bytes end within the record: a torn tail. The number is how many bytes it needs.
    #[error("the record is cut off: it needs {0} bytes")]
    Short(usize),
    /// No record begins here.
    #[error("no record begins here")]
    Magic,
    /// The payload is longer than [`MAX_PAYLOAD`].
    #[error("the record claims {0} bytes, {MAX_PAYLOAD} are allowed")]
    TooLong(usize),
    /// The payload is not what was written.
    #[error("the checksum of the record is wrong")]
    Checksum,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The length of the payload in bytes.
    pub length: usize,
    /// The number of the batch, to find it without reading the payload.
    pub batch: u64,
    checksum: u32,
}

impl Head {
    /// Reads a head.
    pub fn parse(bytes: &[u8; HEAD]) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, l0, l1, l2, l3, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Magic);
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let batch = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        Ok(Self { length, batch, checksum: u32::from_le_bytes([c0, c1, c2, c3]) })
    }

    /// Checks the payload that follows the head.
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.len() < self.length {
            return Err(FrameError::Short(HEAD + self.length));
        }
        if payload.len() > self.length || crc32c::crc32c(payload) != self.checksum {
            return Err(FrameError::Checksum);
        }
        Ok(())
    }
}

/// Appends a record to `out`; one that is too long is refused and appends nothing.
pub fn write(batch: u64, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong(payload.len()));
    }
    out.reserve(HEAD + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// The first record of the bytes: its head, its payload, and what follows it.
pub fn read(bytes: &[u8]) -> Result<(Head, &[u8], &[u8]), FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        let begun = bytes.len().min(MAGIC.len());
        return Err(if bytes[..begun] == MAGIC[..begun] { FrameError::Short(HEAD) } else { FrameError::Magic });
    };
    let head = Head::parse(head)?;
    let (payload, rest) = rest.split_at_checked(head.length).ok_or(FrameError::Short(HEAD + head.length))?;
    head.check(payload)?;
    Ok((head, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_changed_is_refused() {
        let mut bytes = Vec::new();
        write(7, b"payload", &mut bytes).unwrap();
        write(8, b"", &mut bytes).unwrap();
        let (head, payload, rest) = read(&bytes).unwrap();
        assert_eq!((head.batch, payload), (7, b"payload".as_slice()));
        let (head, payload, rest) = read(rest).unwrap();
        assert_eq!((head.batch, payload, rest), (8, b"".as_slice(), b"".as_slice()));

        let one = &bytes[..HEAD + 7];
        for cut in 0..one.len() {
            let need = if cut < HEAD { HEAD } else { one.len() };
            assert_eq!(read(&one[..cut]), Err(FrameError::Short(need)), "{cut} bytes");
        }
        for at in (0..one.len()).filter(|at| !(8..16).contains(at)) {
            let mut changed = one.to_vec();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
        }
        let claim = [&MAGIC, u32::MAX.to_le_bytes().as_slice(), &[0; 12]].concat();
        assert_eq!(read(&claim), Err(FrameError::TooLong(u32::MAX as usize)));
    }
}
