//! What a record of a segment holds: one zstd frame of one batch. The record itself is [`seal::frame`], so that the
//! verifier reads segments too.
//!
//! The checksum of a record covers its payload; the number in its head is checked against the seal line inside.

use std::fmt;
use std::io;

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::{compress_bound, find_frame_compressed_size, get_frame_content_size},
};

use crate::sealed;

/// Largest batch: sealing stops at 1 MiB of events, a single event has at most 256 KiB.
pub const BATCH_MAX: usize = 16 << 20;
/// The cheap level: the spool is on the hot thread.
const LEVEL: i32 = 1;

/// Why bytes are no batch.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The record around it.
    #[error(transparent)]
    Record(#[from] seal::frame::FrameError),
    /// The payload is not one zstd frame.
    #[error("the payload is not one zstd frame: {0}")]
    Payload(#[from] io::Error),
    /// The batch is larger than [`BATCH_MAX`].
    #[error("a batch has at most {BATCH_MAX} bytes")]
    TooLarge,
    /// The last line is no seal line, or it seals another batch.
    #[error("the last line seals batch {0:?}")]
    Seal(Option<u64>),
}

/// Makes records. What compression needs in memory is kept from one to the next.
pub struct Encoder {
    compressor: Compressor<'static>,
    payload: Vec<u8>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    /// One encoder is enough for all batches.
    pub fn new() -> io::Result<Self> {
        Ok(Self { compressor: Compressor::new(LEVEL)?, payload: Vec::new() })
    }

    /// Appends the record of a batch to `out`.
    pub fn encode(&mut self, batch: u64, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        check(batch, bytes)?;
        self.payload.clear();
        self.payload.reserve(compress_bound(bytes.len()));
        self.compressor.compress_to_buffer(bytes, &mut self.payload)?;
        Ok(seal::frame::write(batch, &self.payload, out)?)
    }
}

/// The batch in the payload of a record that says it is batch `batch`. `room`: a buffer of an earlier batch, to be used
/// again; the page faults of fresh memory cost more than the decompression.
pub fn decode(batch: u64, payload: &[u8], mut room: Vec<u8>) -> Result<Vec<u8>, FrameError> {
    if find_frame_compressed_size(payload) != Ok(payload.len()) {
        return Err(io::Error::other("it is not whole, or has bytes after its end").into());
    }
    let Ok(Some(said)) = get_frame_content_size(payload) else {
        return Err(io::Error::other("it does not say how long its batch is").into());
    };
    // what it says is believed up to the longest batch, and is the room that it gets
    let said = usize::try_from(said).ok().filter(|said| *said <= BATCH_MAX).ok_or(FrameError::TooLarge)?;
    room.clear();
    room.reserve_exact(said);
    Decompressor::new()?.decompress_to_buffer(payload, &mut room)?;
    check(batch, &room)?;
    Ok(room)
}

fn check(batch: u64, bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > BATCH_MAX {
        return Err(FrameError::TooLarge);
    }
    let sealed = sealed::number_in(sealed::seal_line(bytes));
    if sealed == Some(batch) && bytes.ends_with(b"\n") { Ok(()) } else { Err(FrameError::Seal(sealed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &[u8] = b"{}\n{\"sigtrail\":\"seal/v1\",\"header\":\"v\\nbatch 7\\n\",\"proof\":\"\"}\n";

    fn read(bytes: &[u8]) -> Result<(u64, Vec<u8>), FrameError> {
        let (head, payload, _) = seal::frame::read(bytes)?;
        Ok((head.batch, decode(head.batch, payload, Vec::new())?))
    }

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let mut record = Vec::new();
        Encoder::new().unwrap().encode(7, BATCH, &mut record).unwrap();
        assert_eq!(read(&record).unwrap(), (7, BATCH.to_vec()));
        for at in 0..record.len() {
            assert!(read(&record[..at]).is_err(), "a prefix of {at} bytes passed");
            for bit in 0..8 {
                let mut bad = record.clone();
                bad[at] ^= 1 << bit;
                assert!(read(&bad).is_err(), "bit {bit} of byte {at} passed");
            }
        }
    }

    #[test]
    fn what_is_no_batch_is_not_stored() {
        let (mut encoder, mut out) = (Encoder::new().unwrap(), Vec::new());
        assert!(matches!(encoder.encode(8, BATCH, &mut out), Err(FrameError::Seal(Some(7)))));
        assert!(matches!(encoder.encode(7, b"{}\n", &mut out), Err(FrameError::Seal(None))));
        assert!(matches!(encoder.encode(7, &BATCH[..BATCH.len() - 1], &mut out), Err(FrameError::Seal(_))));
        assert!(matches!(encoder.encode(7, &vec![b'x'; BATCH_MAX + 1], &mut out), Err(FrameError::TooLarge)));
        assert!(out.is_empty());
    }

    #[test]
    fn a_payload_that_grows_too_large_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; BATCH_MAX + 1], 1).unwrap();
        assert!(matches!(decode(7, &bomb, Vec::new()), Err(FrameError::TooLarge)));
        let frame = zstd::bulk::compress(BATCH, 1).unwrap();
        assert!(decode(7, &frame, Vec::new()).is_ok());
        assert!(matches!(decode(7, &frame.repeat(2), Vec::new()), Err(FrameError::Payload(_))));
    }
}
