//! Where batches go: an enum of sinks, and the words in which each tells how a send went.
//!
//! A sink sends what it is given and says what happened. When to send again, and what to do with a batch that nobody
//! takes, is decided in one place for all of them: `deliver`.

pub mod file;
pub mod http;
pub mod nats;
pub mod s3;

use std::time::Duration;

use seal::Receipt;

use crate::sealed::Batch;
pub use file::{FileConfig, FileSink, recipient};
pub use http::{HttpConfig, HttpSink};
pub use nats::{NatsConfig, NatsSink};
pub use s3::{S3Config, S3Sink};

/// A sink, ready to send.
#[derive(Debug)]
pub enum Sink {
    /// Files on this host.
    File(Box<FileSink>),
    /// A receiver over HTTP.
    Http(Box<HttpSink>),
    /// A stream of NATS JetStream.
    Nats(Box<NatsSink>),
    /// Objects of a bucket.
    S3(Box<S3Sink>),
}

/// What is wrong with the settings of a sink.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// `type: http`
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// `type: nats`
    #[error(transparent)]
    Nats(#[from] nats::NatsError),
    /// `type: s3`
    #[error(transparent)]
    S3(#[from] s3::S3Error),
}

/// How a send went; always for all batches of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has them, durably as far as it says so.
    Delivered {
        /// Something the operator should know all the same.
        note: Option<String>,
        /// The receiver's signed word for it.
        receipt: Option<Receipt>,
    },
    /// The receiver or the way there has trouble that passes: send again.
    Retry {
        /// The receiver asked to wait this long.
        after: Option<Duration>,
        /// What happened.
        why: String,
    },
    /// Wrong configuration or credential: send again, but seldom; nothing is dropped for it.
    Slow {
        /// What happened.
        why: String,
    },
    /// More than the receiver takes at once: send fewer.
    TooLarge {
        /// What happened.
        why: String,
    },
    /// The receiver does not want these bytes.
    Refused {
        /// HTTP status.
        status: u16,
        /// The first KiB of the answer.
        answer: String,
    },
    /// As [`Refused`](Self::Refused), but it took a part of them: another offer would only double that.
    Rejected {
        /// HTTP status.
        status: u16,
        /// The first KiB of the answer.
        answer: String,
    },
}

#[cfg(test)]
impl Outcome {
    /// What it is called in the tables of tests.
    fn word(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retry",
            Self::Slow { .. } => "slow",
            Self::TooLarge { .. } => "too large",
            Self::Refused { .. } => "refused",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// How much a sink takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Batches.
    pub batches: usize,
    /// Bytes before compression; a single batch may have more.
    pub bytes: usize,
}

impl Sink {
    /// Its name: cursor, metrics and headers know it by this.
    pub fn name(&self) -> &str {
        match self {
            Self::File(sink) => sink.name(),
            Self::Http(sink) => sink.name(),
            Self::Nats(sink) => sink.name(),
            Self::S3(sink) => sink.name(),
        }
    }

    /// How much to give it at once.
    pub fn limit(&self) -> Limit {
        match self {
            Self::File(sink) => sink.limit(),
            Self::Http(sink) => sink.limit(),
            Self::Nats(sink) => sink.limit(),
            Self::S3(sink) => sink.limit(),
        }
    }

    /// Sends the batches, in order and all or none as far as the sink can.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        match self {
            Self::File(sink) => sink.send(batches).await,
            Self::Http(sink) => sink.send(batches).await,
            Self::Nats(sink) => sink.send(batches).await,
            Self::S3(sink) => sink.send(batches).await,
        }
    }

    /// Opens files, credentials and certificates anew (SIGHUP).
    pub fn reopen(&mut self) {
        match self {
            Self::File(sink) => sink.reopen(),
            Self::Http(sink) => sink.reopen(),
            Self::Nats(sink) => sink.reopen(),
            Self::S3(sink) => sink.reopen(),
        }
    }
}
