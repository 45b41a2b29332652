//! Objects of a bucket that nobody can delete from (S3, Object Lock): one or more sealed batches each, as zstd.
//!
//! An object is made only if there is none of its name (`If-None-Match: *`), and its name has a hash of its batches
//! ([`name`]): what is there under it are these batches. So a batch that is sent again is no second object, and an
//! identity that may do nothing but write is enough. How long nothing can be deleted is the bucket's to say (its default
//! retention): an agent that could set it could set it short.

mod answer;
pub mod archive;
mod connection;
mod credentials;
mod name;
mod versions;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use object_store::{PutPayload, path::Path};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use sha2::{Digest as _, Sha256};

use super::{Limit, Outcome, http::HttpError};
use crate::sealed::Batch;
use answer::Said;
use connection::{Connection, Failure};
use credentials::Credentials;

/// Most batches in one object, whatever their size.
const BATCHES_MAX: usize = 1000;
/// Longest name of an object (S3).
const NAME_MAX: usize = 1024;
/// Compression of a batch that does not come from the spool: the spool's own level, so that the bytes are the same.
const ZSTD_LEVEL: i32 = 1;

/// A bucket and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// The server: `https://…`, or `http://…` to this host itself. Default: that of AWS in the region.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The bucket is in the path of the url and not in its host.
    pub path_style: bool,
    /// File with the credentials, as AWS tools have it; read for every request. Default: what the environment says.
    pub credentials_file: Option<PathBuf>,
    /// The section of the file.
    pub profile: String,
    /// PEM file with the certificates to trust. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Longest time for a whole request.
    pub timeout: Duration,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            path_style: false,
            credentials_file: None,
            profile: "default".to_owned(),
            ca_file: None,
            timeout: Duration::from_mins(1),
        }
    }
}

impl BucketConfig {
    /// Checks what can be checked without files and network.
    pub fn check(&self) -> Result<(), S3Error> {
        connection::bucket_url(self).map(drop)
    }
}

/// An S3 sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: BucketConfig,
    /// The names of its objects begin with this.
    pub prefix: String,
    /// Most bytes in one object before compression; a single batch may have more.
    pub max_object_bytes: usize,
}

/// What is wrong with the configuration of a bucket, or with a file that it names.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// Not the name of a bucket.
    #[error("`{0}` cannot name a bucket: 3 to 63 of a-z, 0-9, - and .")]
    Bucket(String),
    /// Not a region.
    #[error("`{0}` cannot name a region; servers other than AWS mostly want us-east-1")]
    Region(String),
    /// Not a server this sink can use.
    #[error("`endpoint` must be https://host, or http:// to this host, without path, user and password")]
    Endpoint,
    /// Too long together.
    #[error("`prefix` and the origin are too long: the name of an object has at most {NAME_MAX} bytes")]
    Name,
    /// A file that the configuration names.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The way there.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The client could not be made of it.
    #[error("cannot prepare the bucket: {0}")]
    Store(String),
    /// A task ended before its work did.
    #[error("packing was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
    /// A batch could not be packed.
    #[error("cannot pack a batch: {0}")]
    Pack(#[from] std::io::Error),
}

/// Objects of a bucket.
#[derive(Debug)]
pub struct S3Sink {
    name: String,
    config: S3Config,
    origin: String,
    connection: Option<Connection>,
}

/// An object as it is sent.
struct Object {
    name: Path,
    parts: Vec<Bytes>,
    length: u64,
    /// SHA-256 of all its bytes, in base64.
    checksum: String,
}

impl S3Sink {
    /// A sink that sends the log `origin`. Connects at the first send; only the configuration is checked here.
    pub fn new(name: String, config: S3Config, origin: &str) -> Result<Self, S3Error> {
        config.bucket.check()?;
        if name::of(&config.prefix, origin, &[]).as_ref().len() > NAME_MAX {
            return Err(S3Error::Name);
        }
        Ok(Self { name, config, origin: origin.to_owned(), connection: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much to give it at once.
    pub fn limit(&self) -> Limit {
        Limit { batches: BATCHES_MAX, bytes: self.config.max_object_bytes }
    }

    /// Reads certificates anew at the next send.
    pub fn reopen(&mut self) {
        self.connection = None;
    }

    /// Makes one object of the batches.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        if batches.is_empty() {
            return Outcome::Delivered { note: None, receipt: None };
        }
        // A file or the configuration: it may be right in a minute.
        let outcome = self.put(batches).await.unwrap_or_else(|error| Outcome::Slow { why: error.to_string() });
        // After trouble, certificates and the environment are read anew: they may be what was wrong.
        if !matches!(outcome, Outcome::Delivered { .. } | Outcome::TooLarge { .. }) {
            self.connection = None;
        }
        outcome
    }

    async fn put(&mut self, batches: &[Batch]) -> Result<Outcome, S3Error> {
        let bucket = &self.config.bucket;
        let credentials = Credentials::read(bucket.credentials_file.as_ref(), &bucket.profile).await?;
        let (batches, prefix, origin) = (batches.to_vec(), self.config.prefix.clone(), self.origin.clone());
        // on a blocking thread: other sinks do not wait for it
        let object = tokio::task::spawn_blocking(move || pack(&prefix, &origin, &batches)).await??;
        let kept = self.connection.take().filter(|kept| kept.credentials == credentials);
        let connection = match kept {
            Some(kept) => kept,
            None => Connection::open(bucket, credentials).await?,
        };
        let connection = self.connection.insert(connection);
        let payload = object.parts.iter().cloned().collect::<PutPayload>();
        Ok(match connection.put(&object.name, payload).await {
            Ok(made) => {
                let open = "the bucket keeps no versions: whoever may write can replace what is there";
                let note = made.version.is_none().then(|| open.to_owned());
                Outcome::Delivered { note, receipt: None }
            }
            Err(failure) => match answer::meaning(failure, SystemTime::now()) {
                Said::Outcome(outcome) => outcome,
                Said::Exists => compare(connection, &object).await,
            },
        })
    }
}

/// The bytes of an object: the frames of the spool as they are.
fn pack(prefix: &str, origin: &str, batches: &[Batch]) -> std::io::Result<Object> {
    let frame = |batch: &Batch| {
        if batch.frame.is_empty() {
            return zstd::bulk::compress(&batch.bytes, ZSTD_LEVEL).map(Bytes::from);
        }
        Ok(batch.frame.clone())
    };
    let parts = batches.iter().map(frame).collect::<std::io::Result<Vec<_>>>()?;
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update(part);
    }
    let length = parts.iter().map(|part| part.len() as u64).sum();
    Ok(Object {
        name: name::of(prefix, origin, batches),
        checksum: Base64::encode_string(&hash.finalize()),
        length,
        parts,
    })
}

/// There is an object of this name. It has the hash of our batches in it, so nobody else made it before they were
/// sealed; where we may look at it, it is compared.
async fn compare(connection: &Connection, object: &Object) -> Outcome {
    let mode = (HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static("ENABLED"));
    let delivered = |note: &str| Outcome::Delivered { note: Some(note.to_owned()), receipt: None };
    let head = match connection.ask(Method::HEAD, &object.name, &[], Some(mode)).await {
        Ok(head) => head,
        Err(Failure::Answer(answer)) if matches!(answer.status, 401 | 403 | 405) => {
            return delivered(
                "the bucket had these batches already, by the name of the object: reading it is not allowed",
            );
        }
        Err(Failure::Answer(answer)) => {
            return Outcome::Retry { after: None, why: format!("HTTP {} to HEAD", answer.status) };
        }
        Err(Failure::Way(why)) => return Outcome::Retry { after: None, why },
    };
    let field = |name: &str| head.headers().get(name).and_then(|value| value.to_str().ok());
    let same = match field("x-amz-checksum-sha256") {
        Some(checksum) => checksum == object.checksum,
        None => field("content-length").and_then(|length| length.parse().ok()) == Some(object.length),
    };
    if same {
        return delivered("the bucket had these batches already");
    }
    let answer = format!("{} is in the bucket, and it is not this: somebody made it before us", object.name);
    Outcome::Refused { status: 412, answer }
}
