//! The body of a request: batches as they were signed, one after the other, compressed.

use std::io::{self, Write as _};

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::HttpError;
use crate::document::words;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

words! {
    /// How a body is compressed.
    #[derive(Default)]
    pub enum Encoding {
        /// zstd (RFC 8878).
        #[default]
        Zstd = "zstd",
        /// gzip (RFC 1952).
        Gzip = "gzip",
        /// Not at all.
        Identity = "identity",
    }
}

impl Encoding {
    /// The word in `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    /// What to try when the receiver does not know this one.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Zstd => Some(Self::Gzip),
            Self::Gzip => Some(Self::Identity),
            Self::Identity => None,
        }
    }
}

/// A body as it is sent.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// `Content-Digest` of these bytes (RFC 9530).
    pub(super) digest: String,
}

/// Compresses on a blocking thread: other sinks do not wait for it.
pub(super) async fn build(parts: Vec<Bytes>, encoding: Encoding) -> Result<Body, HttpError> {
    let work = move || {
        let bytes = pack(&parts, encoding)?;
        let digest = format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(&bytes)));
        Ok(Body { bytes: Bytes::from(bytes), digest })
    };
    let built: Result<io::Result<Body>, _> = tokio::task::spawn_blocking(work).await;
    built.map_err(io::Error::other).flatten().map_err(|error| HttpError::Client(error.to_string()))
}

fn pack(parts: &[Bytes], encoding: Encoding) -> io::Result<Vec<u8>> {
    let write = |out: &mut dyn io::Write| parts.iter().try_for_each(|part| out.write_all(part));
    match encoding {
        Encoding::Zstd => {
            let mut out = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
            write(&mut out)?;
            out.finish()
        }
        Encoding::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            write(&mut out)?;
            out.flush()?;
            out.finish()
        }
        Encoding::Identity => Ok(parts.concat()),
    }
}
