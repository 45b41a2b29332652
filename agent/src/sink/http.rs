//! A receiver over HTTP: sealed NDJSON in the body, at least once, duplicates known by `Idempotency-Key`.
//!
//! What each answer means is one table: [`answer::meaning`].

pub(super) mod answer;
mod body;
pub(super) mod client;
mod credential;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Limit, Outcome};
use crate::sealed::Batch;
use answer::Meaning;
pub use body::Encoding;
pub(super) use client::{roots, tls};

/// Most batches in one request, whatever their size.
const BATCHES_MAX: usize = 1000;
/// How much of an answer is read: enough for its reason, never what a stranger likes to send.
const ANSWER_MAX: usize = 4096;

/// An HTTP sink as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to POST: `https://…`, or `http://…` (with a credential only to this host itself).
    pub url: String,
    /// More headers for every request. Their values are treated as secrets.
    pub headers: BTreeMap<String, Secret>,
    /// File with a bearer token; read for every request, so it can be replaced at any time.
    pub token_file: Option<PathBuf>,
    /// File with `name:password` for basic authentication; read for every request, too.
    pub basic_file: Option<PathBuf>,
    /// PEM file with the certificates to trust. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate and its chain; read anew when it changes.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate.
    pub client_key_file: Option<PathBuf>,
    /// Proxy to use. Default: the one in `HTTPS_PROXY` or `HTTP_PROXY`, less what `NO_PROXY` names.
    pub proxy: Option<String>,
    /// File with `name:password` for `proxy`; read anew when it changes.
    pub proxy_basic_file: Option<PathBuf>,
    /// Compression of the body: `zstd`, `gzip` or `identity`. A receiver that answers 415 gets the next one.
    pub encoding: Encoding,
    /// Most bytes in one body before compression; a single batch may have more.
    pub max_body_bytes: usize,
    /// Longest time for a connection with its TLS handshake.
    pub connect_timeout: Duration,
    /// Longest time for a whole request.
    pub timeout: Duration,
    /// Longest time that a connection is kept without a request.
    pub idle_timeout: Duration,
    /// Longest time that the other end may leave bytes unacknowledged (TCP_USER_TIMEOUT); a connection that is silent
    /// for half of it is asked whether it is alive (keepalive).
    pub peer_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            headers: BTreeMap::new(),
            token_file: None,
            basic_file: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            proxy: None,
            proxy_basic_file: None,
            encoding: Encoding::Zstd,
            max_body_bytes: 1 << 20,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
            peer_timeout: Duration::from_secs(30),
        }
    }
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"…\"")
    }
}

/// What is wrong with the configuration of an HTTP sink, or with a file that it names.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a URL this sink can use.
    #[error("`url` must be https:// or http:// with a host and without user and password")]
    Url,
    /// A credential would travel in the clear.
    #[error("a token or a password goes to https:// or to this host only")]
    PlainCredential,
    /// Not a proxy this sink can use.
    #[error("`proxy` must be http:// or https:// with a host and without user and password")]
    Proxy,
    /// Two ways to say who we are.
    #[error("`token_file` and `basic_file` exclude each other")]
    TwoCredentials,
    /// Not a header.
    #[error("`{0}` cannot be a header, or its value cannot")]
    Header(String),
    /// One of certificate and key is missing.
    #[error("`client_cert_file` and `client_key_file` go together")]
    HalfIdentity,
    /// A file that the configuration names.
    #[error("cannot use {path}: {why}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system has no certificates to trust.
    #[error("no certificates to trust on this system: install ca-certificates or set `ca_file`")]
    NoRoots,
    /// The client could not be made of it.
    #[error("cannot prepare the connection: {0}")]
    Client(String),
}

/// What stands for the origin of a log where it may not stand itself: the first half of its SHA-256, in hex.
pub(super) fn origin_hash(origin: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(origin.as_bytes()).into();
    format!("{:032x}", hash.first_chunk().map_or(0, |half| u128::from_be_bytes(*half)))
}

/// A receiver over HTTP.
#[derive(Debug)]
pub struct HttpSink {
    name: String,
    config: HttpConfig,
    url: reqwest::Url,
    headers: HeaderMap,
    origin: String,
    origin_hash: String,
    encoding: Encoding,
    client: Option<client::Client>,
}

impl HttpSink {
    /// A sink that sends the log `origin`. Connects at the first send; only the configuration is checked here.
    pub fn new(name: String, config: HttpConfig, origin: &str) -> Result<Self, HttpError> {
        let url = client::check(&config)?;
        let mut headers = HeaderMap::new();
        for (key, value) in &config.headers {
            let wrong = || HttpError::Header(key.clone());
            let mut value = HeaderValue::from_str(&value.0).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong())?, value);
        }
        let shown = HeaderValue::from_str(origin).map_err(|_| HttpError::Header("X-Sigtrail-Origin".to_owned()))?;
        headers.insert("x-sigtrail-origin", shown);
        headers.insert("content-type", HeaderValue::from_static("application/x-ndjson"));
        let (origin_hash, origin) = (origin_hash(origin), origin.to_owned());
        Ok(Self { name, encoding: config.encoding, config, url, headers, origin, origin_hash, client: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much to give it at once.
    pub fn limit(&self) -> Limit {
        Limit { batches: BATCHES_MAX, bytes: self.config.max_body_bytes }
    }

    /// Reads certificates anew at the next send.
    pub fn reopen(&mut self) {
        self.client = None;
    }

    /// POSTs the batches in one body.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        loop {
            match self.post(batches).await {
                Ok(Meaning::Outcome(outcome)) => return outcome,
                Ok(Meaning::OtherEncoding { answer }) => {
                    let Some(next) = self.encoding.next() else {
                        return Outcome::Refused { status: 415, answer };
                    };
                    tracing::info!(sink = self.name, encoding = next.token(), "the receiver wants another encoding");
                    self.encoding = next;
                }
                // A file or the configuration: it may be right in a minute.
                Err(error) => {
                    return Outcome::Slow { why: error.to_string() };
                }
            }
        }
    }

    async fn post(&mut self, batches: &[Batch]) -> Result<Meaning, HttpError> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Ok(Meaning::Outcome(Outcome::Delivered { note: None, receipt: None }));
        };
        let range = format!("{}-{}", first.number, last.number);
        let key = format!("{}:{range}", self.origin_hash);
        let parts: Vec<Bytes> = batches.iter().map(|batch| batch.bytes.clone()).collect();
        let body = body::build(parts, self.encoding).await?;
        let client = client::current(&mut self.client, &self.config).await?;
        let mut request = client.post(self.url.clone()).headers(self.headers.clone());
        if let Some(credential) = credential::authorization(&self.config).await? {
            request = request.header("authorization", credential);
        }
        if self.encoding != Encoding::Identity {
            request = request.header("content-encoding", self.encoding.token());
        }
        let request = request
            .header("idempotency-key", &key)
            .header("content-digest", body.digest)
            .header("x-sigtrail-batch", range)
            .body(body.bytes);
        let meaning = match request.send().await {
            Ok(response) => answer::read(response, &key, &self.origin).await,
            Err(error) => Meaning::Outcome(client::failure(error)),
        };
        // After trouble, certificates are read anew: they may be what was wrong.
        if !matches!(meaning, Meaning::Outcome(Outcome::Delivered { .. } | Outcome::TooLarge { .. })) {
            self.client = None;
        }
        Ok(meaning)
    }
}
