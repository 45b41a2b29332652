//! The body of a delivery: unpacked, never longer than allowed, and the one that its digest names.

use std::io::{self, Read};

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// 415: packed in a way that is not known.
    Encoding,
    /// 400: its digest is another one, or it cannot be unpacked.
    Broken(&'static str),
    /// 413: longer than allowed.
    TooLong,
}

/// Unpacks a body by its `Content-Encoding`.
pub fn unpack(body: &[u8], encoding: Option<&str>, limit: usize) -> Result<Vec<u8>, Unreadable> {
    let read = |from: &mut dyn Read| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let unpacked = match encoding.unwrap_or("identity") {
        "identity" => Ok(body.to_vec()),
        "gzip" => read(&mut flate2::read::MultiGzDecoder::new(body)),
        "zstd" => zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
            // a frame may ask for a window of gigabytes: 8 MiB is what RFC 8878 wants to be supported
            decoder.window_log_max(23)?;
            read(&mut decoder)
        }),
        _ => return Err(Unreadable::Encoding),
    };
    let bytes = unpacked.map_err(|_| Unreadable::Broken("the body cannot be unpacked"))?;
    if bytes.len() > limit { Err(Unreadable::TooLong) } else { Ok(bytes) }
}

/// Whether `Content-Digest` (RFC 9530) is that of the body as it was sent. Other algorithms than sha-256 are left aside.
pub fn is_digest_of(header: &str, body: &[u8]) -> bool {
    let told = header.split(',').find_map(|item| item.trim().strip_prefix("sha-256=:")?.strip_suffix(':'));
    told.is_none_or(|told| told == Base64::encode_string(&Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_within_the_limit() {
        let plain = vec![b'a'; 10_000];
        let zstd = zstd::bulk::compress(&plain, 3).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        for (body, encoding) in
            [(&plain, None), (&plain, Some("identity")), (&zstd, Some("zstd")), (&gzip, Some("gzip"))]
        {
            assert_eq!(unpack(body, encoding, 10_000), Ok(plain.clone()), "{encoding:?}");
            assert_eq!(unpack(body, encoding, 9_999), Err(Unreadable::TooLong), "{encoding:?}");
        }
        assert_eq!(unpack(&plain, Some("br"), 10_000), Err(Unreadable::Encoding));
        for encoding in ["zstd", "gzip"] {
            assert!(matches!(unpack(&plain, Some(encoding), 10_000), Err(Unreadable::Broken(_))));
        }
        let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(&plain).unwrap();
        let wide = wide.finish().unwrap();
        assert!(matches!(unpack(&wide, Some("zstd"), 10_000), Err(Unreadable::Broken(_))));
    }

    #[test]
    fn a_digest_is_compared() {
        // printf abc | openssl dgst -sha256 -binary | base64
        let digest = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
        assert!(is_digest_of(digest, b"abc") && is_digest_of(&format!("sha-512=:AA==:, {digest}"), b"abc"));
        assert!(!is_digest_of(digest, b"abd"));
    }
}
