//! A receiver over HTTP: sealed NDJSON in the body, at least once, duplicates known by `Idempotency-Key`; or, with a
//! [`preset`], the events in the form of a product.
//!
//! What each answer means is one table: [`answer::meaning`]; a preset says what it means otherwise.

pub(super) mod answer;
mod body;
pub(super) mod client;
mod credential;
mod preset;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Url};
use sha2::{Digest as _, Sha256};

use super::{Limit, Outcome};
use crate::sealed::Batch;
use crate::view::View;
use answer::Meaning;
pub use body::Encoding;
pub(super) use client::{roots, tls};
pub use preset::Preset;
use preset::{Part, splunk};

/// Most batches in one request, whatever their size.
const BATCHES_MAX: usize = 1000;
/// How much of an answer is read: enough for its reason, never what a stranger likes to send.
const ANSWER_MAX: usize = 4096;

/// An HTTP sink as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to POST: `https://…`, or `http://…` (with a credential only to this host itself).
    pub url: String,
    /// What kind of receiver there is.
    pub preset: Preset,
    /// The words of the events for a preset that takes batches apart.
    pub view: View,
    /// The table of ClickHouse.
    pub table: String,
    /// Whether batches count when Splunk's indexer has them, or when its collector has.
    pub acks: bool,
    /// How long to wait for the indexer.
    pub ack_timeout: Duration,
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
            preset: Preset::Http,
            view: View::Sigtrail,
            table: "sigtrail".to_owned(),
            acks: true,
            ack_timeout: Duration::from_mins(5),
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
#[derive(Clone, PartialEq, Eq)]
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
    url: Url,
    headers: HeaderMap,
    origin: String,
    origin_hash: String,
    encoding: Encoding,
    /// Most bytes of a body that is made of events: halved by "too large", and kept.
    body_max: usize,
    /// Of a send that is not done: its batches, and what became of its bodies. Those are not sent again with it.
    settled: (String, BTreeMap<String, Outcome>),
    client: Option<client::Client>,
}

impl HttpSink {
    /// A sink that sends the log `origin`. Connects at the first send; only the configuration is checked here.
    pub fn new(name: String, config: HttpConfig, origin: &str) -> Result<Self, HttpError> {
        let preset = config.preset;
        let url = preset.address(client::check(&config)?);
        let mut headers = HeaderMap::new();
        for (key, value) in &config.headers {
            let wrong = || HttpError::Header(key.clone());
            let mut value = HeaderValue::from_str(&value.0).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong())?, value);
        }
        let shown = HeaderValue::from_str(origin).map_err(|_| HttpError::Header("X-Sigtrail-Origin".to_owned()))?;
        headers.insert("x-sigtrail-origin", shown);
        headers.insert("content-type", HeaderValue::from_static(preset.content_type()));
        if preset == Preset::SplunkHec
            && let Ok(channel) = HeaderValue::from_str(&splunk::channel(origin, &name))
        {
            headers.insert(splunk::CHANNEL, channel);
        }
        let (encoding, body_max) = (preset.encoding(config.encoding), config.max_body_bytes);
        let (origin_hash, origin) = (origin_hash(origin), origin.to_owned());
        let settled = Default::default();
        Ok(Self { name, config, url, headers, origin, origin_hash, encoding, body_max, settled, client: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much to give it at once.
    pub fn limit(&self) -> Limit {
        Limit { batches: self.config.preset.batches(), bytes: self.config.max_body_bytes }
    }

    /// Reads certificates anew at the next send.
    pub fn reopen(&mut self) {
        self.client = None;
    }

    /// POSTs the batches: as they were sealed in one body, or their events in as many as they need.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        let quiet = Outcome::Delivered { note: None, receipt: None };
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return quiet };
        let range = format!("{}-{}", first.number, last.number);
        let parts = match self.parts(batches, &range).await {
            Ok(parts) => parts,
            Err(outcome) => return outcome,
        };
        if self.settled.0 != range {
            self.settled = (range.clone(), BTreeMap::new());
        }
        let mut all = quiet.clone();
        for part in parts {
            let outcome = match self.settled.1.get(&part.key) {
                Some(outcome) => outcome.clone(),
                None => self.offer(&part, &range).await,
            };
            match &outcome {
                Outcome::TooLarge { why } if part.events.is_some_and(|events| events > 1) => {
                    self.body_max = part.len() / 2;
                    return Outcome::Retry { after: Some(Duration::ZERO), why: why.clone() };
                }
                Outcome::Retry { .. } | Outcome::Slow { .. } | Outcome::TooLarge { .. } => return outcome,
                // it is offered again, and what comes behind it may be taken all the same
                Outcome::Refused { .. } => {}
                Outcome::Delivered { .. } | Outcome::Rejected { .. } => {
                    self.settled.1.insert(part.key, outcome.clone());
                }
            }
            if all == quiet || !matches!(outcome, Outcome::Delivered { .. }) {
                all = outcome;
            }
        }
        if !matches!(all, Outcome::Refused { .. }) {
            self.settled.1.clear();
        }
        all
    }

    /// The bodies for these batches.
    async fn parts(&self, batches: &[Batch], range: &str) -> Result<Vec<Part>, Outcome> {
        let Some(shape) = self.config.preset.shape() else {
            return Ok(vec![Part::sealed(batches, format!("{}:{range}", self.origin_hash))]);
        };
        let (origin, log, view, most) =
            (self.origin.clone(), self.origin_hash.clone(), self.config.view, self.body_max);
        let batches = batches.to_vec();
        let made = move || preset::parts(shape, &origin, &log, &batches, view, most);
        match tokio::task::spawn_blocking(made).await {
            Ok(parts) => parts.map_err(|error| Outcome::Refused { status: 0, answer: format!("not sent: {error}") }),
            Err(error) => Err(Outcome::Slow { why: error.to_string() }),
        }
    }

    /// POSTs a body until the receiver knows its encoding and, if it says so, has it.
    async fn offer(&mut self, part: &Part, range: &str) -> Outcome {
        loop {
            match self.post(part, range).await {
                Ok(Meaning::Outcome(outcome)) => return outcome,
                Ok(Meaning::Accepted { ack }) => return self.acknowledged(ack).await,
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

    async fn post(&mut self, part: &Part, range: &str) -> Result<Meaning, HttpError> {
        let body = body::build(part.pieces.clone(), self.encoding).await?;
        let url = self.config.preset.address_of(&self.url, &self.config, part);
        let mut request = self.request(url).await?;
        if self.encoding != Encoding::Identity {
            request = request.header("content-encoding", self.encoding.token());
        }
        let request = request
            .header("idempotency-key", &part.key)
            .header("content-digest", body.digest)
            .header("x-sigtrail-batch", range)
            .body(body.bytes);
        let meaning = match (request.send().await, self.config.preset.shape()) {
            (Ok(response), None) => {
                let answer = answer::read(response, ANSWER_MAX, answer::BODY_WAIT).await;
                answer.of_sealed(&part.key, &self.origin)
            }
            (Ok(response), Some(shape)) => {
                let answer = answer::read(response, shape.answer_max, answer::WORDS_WAIT).await;
                (shape.meaning)(&answer, part)
            }
            (Err(error), _) => Meaning::Outcome(client::failure(error)),
        };
        // After trouble, certificates are read anew: they may be what was wrong.
        let fine = matches!(
            meaning,
            Meaning::Outcome(Outcome::Delivered { .. } | Outcome::TooLarge { .. }) | Meaning::Accepted { .. }
        );
        if !fine {
            self.client = None;
        }
        Ok(meaning)
    }

    /// A POST with what all have in common.
    async fn request(&mut self, url: Url) -> Result<RequestBuilder, HttpError> {
        let client = client::current(&mut self.client, &self.config).await?;
        let request = client.post(url).headers(self.headers.clone());
        Ok(match credential::authorization(&self.config).await? {
            Some(credential) => request.header("authorization", credential),
            None => request,
        })
    }

    /// Waits until the indexer has what the collector took.
    async fn acknowledged(&mut self, ack: Option<u64>) -> Outcome {
        let ack = match ack {
            _ if !self.config.acks => return Outcome::Delivered { note: None, receipt: None },
            Some(ack) => ack,
            None => {
                let why = "the receiver gave no ackId: switch on \"indexer acknowledgement\" of its token, or set `acks: false`";
                return Outcome::Slow { why: why.to_owned() };
            }
        };
        let url = splunk::ack_address(&self.url, &splunk::channel(&self.origin, &self.name));
        match self.request(url).await {
            Ok(request) => splunk::acknowledged(&request, ack, self.config.ack_timeout).await,
            Err(error) => Outcome::Slow { why: error.to_string() },
        }
    }
}
