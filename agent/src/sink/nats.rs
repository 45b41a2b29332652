//! A stream of NATS JetStream: each batch is one message, a zstd frame with the sealed lines, and it is delivered when the
//! server has acknowledged that the stream has it.
//!
//! One message is under way at a time, so the stream has the order of the log. A message that is sent again has the same
//! `Nats-Msg-Id`, by which the server knows it within the duplicate window of the stream. The client's own reconnection
//! is not used: after trouble its connection is given up, and `deliver` says when there is another one.

mod client;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::{ErrorCode, publish::PublishAck, response::Response};
use async_nats::{HeaderMap, HeaderValue, Request};
use bytes::Bytes;

use super::http::{HttpError, origin_hash};
use super::{Limit, Outcome};
use crate::sealed::Batch;
use client::{Address, Client, Trouble};

/// zstd's own default, for a batch that has no frame yet.
const ZSTD_LEVEL: i32 = 3;

/// A NATS sink as it is written in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsConfig {
    /// The server: `tls://HOST[:PORT]` or `nats://HOST[:PORT]`.
    pub url: String,
    /// The name of the stream; it must be there.
    pub stream: String,
    /// Subject of the messages; `None`: `sigtrail.` and the hash of the origin.
    pub subject: Option<String>,
    /// File with a token; read for each connection.
    pub token_file: Option<PathBuf>,
    /// File with the credentials of a user (JWT and seed), as `nsc` writes it; read for each connection.
    pub creds_file: Option<PathBuf>,
    /// PEM file with the certificates to trust. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate and its chain.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate.
    pub client_key_file: Option<PathBuf>,
    /// Longest wait for a connection, and for an acknowledgement.
    pub timeout: Duration,
}

/// What is wrong with the configuration of a NATS sink, or with a file that it names.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Not a URL this sink can use.
    #[error("`url` must be tls:// or nats:// with a host, and without user, password and path")]
    Url,
    /// Not a subject to publish to.
    #[error("`{0}` cannot be a subject to publish to")]
    Subject(String),
    /// Not a name of a stream.
    #[error("`{0}` cannot be the name of a stream")]
    Stream(String),
    /// The origin cannot stand in a header.
    #[error("the origin of the log cannot stand in a header")]
    Origin,
    /// A file that the configuration names.
    #[error("cannot use {path}: {why}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] HttpError),
}

/// A stream of NATS JetStream.
#[derive(Debug)]
pub struct NatsSink {
    name: String,
    config: NatsConfig,
    address: Address,
    subject: String,
    origin: HeaderValue,
    origin_hash: String,
    client: Option<Client>,
}

impl NatsSink {
    /// A sink that sends the log `origin`. Connects at the first send; only the configuration is checked here.
    pub fn new(name: String, config: NatsConfig, origin: &str) -> Result<Self, NatsError> {
        let address = Address::parse(&config.url).ok_or(NatsError::Url)?;
        let origin_hash = origin_hash(origin);
        let subject = config.subject.clone().unwrap_or_else(|| format!("sigtrail.{origin_hash}"));
        if !is_subject(&subject) {
            return Err(NatsError::Subject(subject));
        }
        if !is_stream(&config.stream) {
            return Err(NatsError::Stream(config.stream));
        }
        let origin = origin.parse().map_err(|_| NatsError::Origin)?;
        Ok(Self { name, config, address, subject, origin, origin_hash, client: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much to give it at once: what is not acknowledged is one message, and the cursor knows each that is.
    pub fn limit(&self) -> Limit {
        Limit { batches: 1, bytes: usize::MAX }
    }

    /// Reads credentials and certificates anew at the next send.
    pub fn reopen(&mut self) {
        self.client = None;
    }

    /// Publishes the batches, each when the one before is stored.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        for batch in batches {
            if let Err(outcome) = self.publish(batch).await {
                // the connection may be what was wrong, or what is to blame is read anew with the next one
                if !matches!(outcome, Outcome::TooLarge { .. }) {
                    self.client = None;
                }
                return outcome;
            }
        }
        Outcome::Delivered { note: None, receipt: None }
    }

    async fn publish(&mut self, batch: &Batch) -> Result<(), Outcome> {
        let payload = frame(batch).await.map_err(|error| Outcome::Retry { after: None, why: error.to_string() })?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}:{}", self.origin_hash, batch.number));
        headers.insert("Nats-Expected-Stream", self.config.stream.as_str());
        headers.insert("Content-Encoding", "zstd");
        headers.insert("Sigtrail-Batch", batch.number.to_string());
        headers.insert("Sigtrail-Origin", self.origin.clone());
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(client::connect(&self.address, &self.config).await?),
        };
        let request = Request::new().payload(payload).headers(headers).timeout(Some(self.config.timeout));
        let nats = client.nats.clone();
        let answer = tokio::select! {
            answer = nats.send_request(self.subject.clone(), request) => answer,
            trouble = client.trouble() => return Err(match trouble {
                Trouble::Gone => retry("the server closed the connection"),
                Trouble::Refused(why) => Outcome::Slow { why: format!("the server says: {why}") },
            }),
        };
        let answer = answer.map_err(|error| self.unanswered(error.kind(), &error))?;
        let answer = serde_json::from_slice::<Response<PublishAck>>(&answer.payload);
        match answer.map_err(|error| retry(&format!("the answer is no acknowledgement: {error}")))? {
            Response::Ok(stored) if stored.stream == self.config.stream => {
                let (sink, number) = (&self.name, batch.number);
                tracing::debug!(sink, number, sequence = stored.sequence, again = stored.duplicate, "stored");
                Ok(())
            }
            Response::Ok(stored) => Err(Outcome::Slow {
                why: format!("stream {} took the batch, and not {}", stored.stream, self.config.stream),
            }),
            Response::Err { error } => Err(self.refused(error.error_code(), error.code(), &error.to_string())),
        }
    }

    /// Nobody answered.
    fn unanswered(&self, kind: RequestErrorKind, error: &dyn std::error::Error) -> Outcome {
        let (stream, subject) = (&self.config.stream, &self.subject);
        match kind {
            RequestErrorKind::NoResponders => Outcome::Slow {
                why: format!("no stream takes subject {subject}: make stream {stream} with this subject"),
            },
            RequestErrorKind::InvalidSubject => Outcome::Slow { why: format!("subject {subject}: {error}") },
            RequestErrorKind::MaxPayloadExceeded => Outcome::TooLarge { why: error.to_string() },
            RequestErrorKind::TimedOut => retry(&format!("no acknowledgement within {:?}", self.config.timeout)),
            RequestErrorKind::Other => retry(&error.to_string()),
        }
    }

    /// The server does not store it. What is not a matter of these very bytes is never a reason to drop them.
    fn refused(&self, code: ErrorCode, status: usize, why: &str) -> Outcome {
        match code {
            ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Outcome::TooLarge { why: why.to_owned() },
            ErrorCode::STREAM_NOT_MATCH | ErrorCode::STREAM_NOT_FOUND => Outcome::Slow {
                why: format!("subject {} does not belong to stream {}: {why}", self.subject, self.config.stream),
            },
            // full, or without resources
            ErrorCode::STREAM_STORE_FAILED => retry(why),
            _ if (500..600).contains(&status) => retry(why),
            _ => Outcome::Slow { why: why.to_owned() },
        }
    }
}

fn retry(why: &str) -> Outcome {
    Outcome::Retry { after: None, why: why.to_owned() }
}

/// The batch as a zstd frame: the one of the spool, if it came with it.
async fn frame(batch: &Batch) -> std::io::Result<Bytes> {
    if !batch.frame.is_empty() {
        return Ok(batch.frame.clone());
    }
    let bytes = batch.bytes.clone();
    let packed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&bytes, ZSTD_LEVEL)).await;
    packed.map_err(std::io::Error::other).flatten().map(Bytes::from)
}

/// Whether it is a subject without wildcards, and none of the server's own.
pub fn is_subject(subject: &str) -> bool {
    let token = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b"*>".contains(&b));
    subject.len() <= 255 && !subject.starts_with('$') && subject.split('.').all(token)
}

/// Whether it can name a stream.
pub fn is_stream(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && !br".*>/\".contains(&b))
}

/// Whether it is a URL of a server: `Some(true)` if the connection is always encrypted or stays on this host.
pub fn is_private(url: &str) -> Option<bool> {
    Address::parse(url).map(|address| address.is_private())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> NatsSink {
        let (url, stream) = ("nats://localhost".to_owned(), "AUDIT".to_owned());
        let config = NatsConfig { url, stream, ..NatsConfig::default() };
        NatsSink::new("nats".to_owned(), config, "audit.example.org/sigtrail").unwrap()
    }

    #[test]
    fn what_the_server_says_has_a_meaning() {
        let sink = sink();
        let check = |code, status, wanted: &str| {
            let outcome = format!("{:?}", sink.refused(ErrorCode(code), status, "so it is"));
            assert!(outcome.starts_with(wanted) && outcome.contains("so it is"), "{code}: {outcome}");
        };
        check(10077, 503, "Retry"); // maximum messages exceeded
        check(10023, 503, "Retry"); // insufficient resources
        check(10008, 503, "Retry"); // temporarily unavailable
        check(10060, 400, "Slow"); // expected stream does not match
        check(10039, 503, "Retry"); // JetStream not enabled for account
        check(10109, 400, "Slow"); // sealed
        check(10054, 400, "TooLarge");
        let silent = |kind| format!("{:?}", sink.unanswered(kind, &std::io::Error::other("why")));
        assert!(silent(RequestErrorKind::NoResponders).contains("Slow { why: \"no stream takes subject sigtrail."));
        assert!(silent(RequestErrorKind::TimedOut).starts_with("Retry"));
        assert!(silent(RequestErrorKind::MaxPayloadExceeded).starts_with("TooLarge"));
    }

    #[test]
    fn names_are_checked() {
        for (subject, good) in [("sigtrail.a", true), ("a", true), ("a.*", false), (">", false), ("a..b", false)] {
            assert_eq!(is_subject(subject), good, "{subject}");
        }
        for (subject, good) in [("", false), ("a b", false), ("$JS.API", false), (".a", false)] {
            assert_eq!(is_subject(subject), good, "{subject}");
        }
        for (stream, good) in [("AUDIT", true), ("a-b_c", true), ("", false), ("a.b", false), ("a b", false)] {
            assert_eq!(is_stream(stream), good, "{stream}");
        }
        for (url, private) in [
            ("tls://nats.example", Some(true)),
            ("tls://nats.example:4333/", Some(true)),
            ("nats://nats.example:4222", Some(false)),
            ("nats://127.0.0.1:4222", Some(true)),
            ("nats://[::1]:4222", Some(true)),
            ("nats://localhost", Some(true)),
            ("nats://user:pass@localhost", None),
            ("nats://localhost/path", None),
            ("http://localhost", None),
            ("nats://", None),
            ("localhost:4222", None),
        ] {
            assert_eq!(is_private(url), private, "{url}");
        }
    }
}
