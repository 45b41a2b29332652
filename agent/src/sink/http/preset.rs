//! Presets: receivers that take batches apart. Each is a [`Shape`]: how a body is made of events, and what the answer
//! means. `http` has none: it gets batches as they were sealed.
//!
//! An event carries the place of its evidence (origin, batch, index) into every one of them.

mod clickhouse;
mod elasticsearch;
mod loki;
mod otlp;
pub(super) mod splunk;

use bytes::Bytes;
use reqwest::Url;

use super::answer::{Answer, Meaning};
use super::{BATCHES_MAX, Encoding, HttpConfig, Outcome};
use crate::document::words;
use crate::sealed::Batch;
use crate::view::{self, Event, NotARecord, View};

words! {
    /// What kind of receiver there is.
    #[derive(Default)]
    pub enum Preset {
        /// Takes sealed batches: sigtrail-receive, nginx, Vector, Fluent Bit.
        #[default]
        Http = "http",
        /// The bulk API of Elasticsearch and OpenSearch.
        Elasticsearch = "elasticsearch",
        /// The HTTP event collector of Splunk.
        SplunkHec = "splunk_hec",
        /// The push API of Grafana Loki.
        Loki = "loki",
        /// Logs of OpenTelemetry (OTLP/HTTP, JSON).
        Otlp = "otlp",
        /// The HTTP interface of ClickHouse.
        Clickhouse = "clickhouse",
    }
}

/// What a preset is made of.
pub(super) struct Shape {
    /// Where the receiver listens, for a URL without a path.
    path: &'static str,
    pub(super) content_type: &'static str,
    /// The word before the token in `Authorization`.
    scheme: &'static str,
    /// Whether it knows zstd.
    zstd: bool,
    /// Most batches in one send.
    batches: usize,
    /// Most bytes of an answer that are read.
    pub(super) answer_max: usize,
    /// What a body begins with.
    open: fn(origin: &str) -> String,
    /// What is between two events.
    between: &'static str,
    /// What a body ends with.
    close: &'static str,
    /// An event in a body.
    write: fn(Event<'_>, View) -> String,
    /// What the URL asks for.
    query: fn(&HttpConfig, &Part) -> Vec<(&'static str, String)>,
    /// What an answer means.
    pub(super) meaning: fn(&Answer, &Part) -> Meaning,
}

impl Preset {
    /// What it is made of; `None`: batches stay as they were sealed.
    pub(super) const fn shape(self) -> Option<&'static Shape> {
        match self {
            Self::Http => None,
            Self::Elasticsearch => Some(&elasticsearch::SHAPE),
            Self::SplunkHec => Some(&splunk::SHAPE),
            Self::Loki => Some(&loki::SHAPE),
            Self::Otlp => Some(&otlp::SHAPE),
            Self::Clickhouse => Some(&clickhouse::SHAPE),
        }
    }

    /// The word before the token in `Authorization`.
    pub(super) fn scheme(self) -> &'static str {
        self.shape().map_or("Bearer", |shape| shape.scheme)
    }

    pub(super) fn content_type(self) -> &'static str {
        self.shape().map_or("application/x-ndjson", |shape| shape.content_type)
    }

    /// Most batches in one send.
    pub(super) fn batches(self) -> usize {
        self.shape().map_or(BATCHES_MAX, |shape| shape.batches)
    }

    /// The compression that comes nearest to the one that is wanted. What does not know zstd may answer with anything.
    pub(super) fn encoding(self, wanted: Encoding) -> Encoding {
        let zstd = self.shape().is_none_or(|shape| shape.zstd);
        if wanted == Encoding::Zstd && !zstd { Encoding::Gzip } else { wanted }
    }

    /// The address of the receiver: a URL without a path gets the usual one.
    pub(super) fn address(self, mut url: Url) -> Url {
        if let Some(shape) = self.shape().filter(|_| url.path() == "/") {
            url.set_path(shape.path);
        }
        url
    }

    /// The address for one body.
    pub(super) fn address_of(self, url: &Url, config: &HttpConfig, part: &Part) -> Url {
        let mut url = url.clone();
        let query = self.shape().map_or_else(Vec::new, |shape| (shape.query)(config, part));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// A body before it is compressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) pieces: Vec<Bytes>,
    /// Names it the same each time it is sent.
    pub(super) key: String,
    /// How many events it holds; `None` for sealed batches, which cannot be taken apart.
    pub(super) events: Option<usize>,
}

impl Part {
    /// Whole batches in one body; `key` names the log and their range.
    pub(super) fn sealed(batches: &[Batch], key: String) -> Self {
        Self { pieces: batches.iter().map(|batch| batch.bytes.clone()).collect(), key, events: None }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// The bodies for some batches, each of at most `most` bytes or of one event; none for batches without events. `log`
/// names the log in their keys.
pub(super) fn parts(
    shape: &Shape,
    origin: &str,
    log: &str,
    batches: &[Batch],
    view: View,
    most: usize,
) -> Result<Vec<Part>, NotARecord> {
    let mut parts = Vec::new();
    let mut body = String::new();
    let (mut events, mut first, mut last) = (0, (0, 0), (0, 0));
    let mut finish = |body: &mut String, events: usize, (batch, index): (u64, u64), (to, end): (u64, u64)| {
        body.push_str(shape.close);
        let pieces = vec![Bytes::from(std::mem::take(body))];
        parts.push(Part { pieces, key: format!("{log}:{batch}.{index}-{to}.{end}"), events: Some(events) });
    };
    for event in batches.iter().flat_map(|batch| view::events(origin, batch)) {
        let event = event?;
        let place = (event.batch, event.index);
        let text = (shape.write)(event, view);
        if events > 0 && body.len() + shape.between.len() + text.len() + shape.close.len() > most {
            finish(&mut body, events, first, last);
            events = 0;
        }
        if events == 0 {
            body = (shape.open)(origin);
            first = place;
        } else {
            body.push_str(shape.between);
        }
        body.push_str(&text);
        events += 1;
        last = place;
    }
    if events > 0 {
        finish(&mut body, events, first, last);
    }
    Ok(parts)
}

/// What an answer means that is a yes by its status only.
fn delivered(note: Option<String>) -> Meaning {
    Meaning::Outcome(Outcome::Delivered { note, receipt: None })
}

/// A yes by its status, and not what this receiver would say: somebody else is at that address, or in between.
fn stranger(answer: &Answer, wanted: &str) -> Meaning {
    Meaning::Outcome(Outcome::Slow { why: format!("{}: this is not {wanted}; look at `url`", answer.why()) })
}

#[cfg(test)]
mod tests;
