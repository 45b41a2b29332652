//! One record of a segment: `STB1`, u32 LE payload length, u64 LE batch number, u32 LE crc32c, payload.
//!
//! The payload is one zstd frame of the batch. The checksum covers length, number and payload: a flipped bit in the
//! number would otherwise look like a gap. Slices in, slices out; no I/O.

use std::io::Read as _;

/// First bytes of a record, and where a search for the next one after damage stops.
pub const MAGIC: [u8; 4] = *b"STB1";
/// Bytes before the payload.
pub const HEAD: usize = 20;
/// Largest batch: sealing stops at 1 MiB of events, a single event has at most 256 KiB.
pub const BATCH_MAX: usize = 16 << 20;
/// Largest payload: zstd adds less than 1% to what it cannot compress.
pub const PAYLOAD_MAX: usize = BATCH_MAX + (BATCH_MAX >> 6);
/// log2 of the largest window the decoder allocates.
const WINDOW_LOG_MAX: u32 = 24;
/// The cheap level: the spool is on the hot thread.
const LEVEL: i32 = 1;

/// What is wrong with bytes that should be a record.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More bytes are needed: a torn tail, or a record that is being written.
    #[error("record ends early: {have} of {need} bytes")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes it takes.
        need: usize,
    },
    /// No record starts here.
    #[error("no record starts here")]
    Magic,
    /// The length cannot be true.
    #[error("record says {0} bytes, more than a batch may have")]
    Length(usize),
    /// Length, number or payload changed.
    #[error("checksum of the record does not match")]
    Checksum,
    /// The payload is not one zstd frame of a batch.
    #[error("payload does not decompress")]
    Payload(#[source] std::io::Error),
    /// The batch is larger than [`BATCH_MAX`].
    #[error("batch of {0} bytes is larger than a record may hold")]
    TooLarge(usize),
}

/// The first [`HEAD`] bytes, not yet checked against the payload.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Batch number.
    pub batch: u64,
    /// Bytes of the payload.
    pub length: usize,
    crc: u32,
}

/// Appends the record of a batch to `out`.
pub fn encode(batch: u64, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if bytes.len() > BATCH_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    let payload = zstd::bulk::compress(bytes, LEVEL).map_err(FrameError::Payload)?;
    let length = u32::try_from(payload.len()).map_err(|_| FrameError::TooLarge(bytes.len()))?;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&checksum(length, batch, &payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}

/// Reads the head of a record.
pub fn head(bytes: &[u8]) -> Result<Head, FrameError> {
    let short = FrameError::Short {
        have: bytes.len(),
        need: HEAD,
    };
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(short);
    };
    if *magic != MAGIC {
        return Err(FrameError::Magic);
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else {
        return Err(short);
    };
    let Some((batch, rest)) = rest.split_first_chunk::<8>() else {
        return Err(short);
    };
    let Some((crc, _)) = rest.split_first_chunk::<4>() else {
        return Err(short);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > PAYLOAD_MAX {
        return Err(FrameError::Length(length));
    }
    Ok(Head {
        batch: u64::from_le_bytes(*batch),
        length,
        crc: u32::from_le_bytes(*crc),
    })
}

impl Head {
    /// Checks the payload against the head.
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.len() != self.length {
            return Err(FrameError::Short {
                have: payload.len(),
                need: self.length,
            });
        }
        if checksum(self.length as u32, self.batch, payload) != self.crc {
            return Err(FrameError::Checksum);
        }
        Ok(())
    }
}

/// The batch of a checked payload: exactly one frame, at most [`BATCH_MAX`] bytes.
pub fn decode(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)
        .map_err(FrameError::Payload)?
        .single_frame();
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(FrameError::Payload)?;
    let mut bytes = Vec::new();
    decoder
        .by_ref()
        .take(BATCH_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(FrameError::Payload)?;
    if bytes.len() > BATCH_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    if !decoder.finish().is_empty() {
        return Err(FrameError::Payload(std::io::Error::other(
            "bytes after the frame",
        )));
    }
    Ok(bytes)
}

fn checksum(length: u32, batch: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &batch.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(u64, Vec<u8>), FrameError> {
        let head = head(bytes)?;
        let payload = &bytes[HEAD..(HEAD + head.length).min(bytes.len())];
        head.check(payload)?;
        Ok((head.batch, decode(payload)?))
    }

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let batch = b"{\"type\":\"exec\"}\n{\"sigtrail\":\"seal/v1\"}\n";
        let mut record = Vec::new();
        encode(7, batch, &mut record).unwrap();
        assert_eq!(read(&record).unwrap(), (7, batch.to_vec()));
        for at in 0..record.len() {
            assert!(
                read(&record[..at]).is_err(),
                "a prefix of {at} bytes passed"
            );
            for bit in 0..8 {
                let mut bad = record.clone();
                bad[at] ^= 1 << bit;
                assert!(read(&bad).is_err(), "bit {bit} of byte {at} passed");
            }
        }
    }

    #[test]
    fn a_payload_that_grows_too_large_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; BATCH_MAX + 1], 1).unwrap();
        assert!(matches!(decode(&bomb), Err(FrameError::TooLarge(_))));
        let mut two = zstd::bulk::compress(b"one", 1).unwrap();
        two.extend(zstd::bulk::compress(b"two", 1).unwrap());
        assert!(decode(&two).is_err());
    }
}
