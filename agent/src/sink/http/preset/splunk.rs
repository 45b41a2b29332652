//! The HTTP event collector of Splunk.
//!
//! Its 200 says that the events are valid, not that they are indexed. With acknowledgements it gives a number, and a
//! batch is delivered when the indexer says `true` to that number (`/services/collector/ack`).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::super::answer;
use super::super::client;
use super::{Answer, BATCHES_MAX, Meaning, Outcome, Part, Shape, stranger};
use crate::view::{Event, View};

/// The header that names the channel.
pub(in super::super) const CHANNEL: &str = "x-splunk-request-channel";
/// The path of the collector; what may follow is the kind of body.
const COLLECTOR: &str = "/services/collector";
/// First and longest wait between two questions.
const ASK_FIRST: Duration = Duration::from_millis(100);
const ASK_LAST: Duration = Duration::from_secs(10);
/// Answers of the collector are a line.
const ANSWER_MAX: usize = 4096;

pub(super) const SHAPE: Shape = Shape {
    path: "/services/collector/event",
    content_type: "application/json",
    scheme: "Splunk",
    zstd: false,
    batches: BATCHES_MAX,
    answer_max: ANSWER_MAX,
    open: |_| String::new(),
    between: "\n",
    close: "",
    write,
    query: |_, _| Vec::new(),
    meaning,
};

fn write(event: Event<'_>, view: View) -> String {
    let (origin, batch, index) = (event.origin, event.batch.to_string(), event.index.to_string());
    let host = origin.split('/').next().unwrap_or_default();
    // its own form: seconds with milliseconds; the event has the nanoseconds
    let time = event.time_ns() / 1_000_000;
    let time = format!("{}.{:03}", time / 1000, time % 1000);
    json!({
        "time": time,
        "host": host,
        "source": origin,
        "sourcetype": "sigtrail",
        "fields": {"origin": origin, "batch": batch, "index": index},
        "event": event.render(view),
    })
    .to_string()
}

/// The channel of a sink: a UUID (RFC 9562, version 8) made of log and name, the same after every start.
pub(in super::super) fn channel(origin: &str, sink: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(format!("{origin}\n{sink}")).into();
    let mut half = hash.first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
    half = half & !(0xf << 76) | 0x8 << 76;
    half = half & !(0x3 << 62) | 0x2 << 62;
    let text = format!("{half:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Where to ask, with the channel also in the query, as Splunk's documents have it.
pub(in super::super) fn ack_address(url: &Url, channel: &str) -> Url {
    let mut url = url.clone();
    let path = url.path();
    let before = path.find(COLLECTOR).map_or(path.trim_end_matches('/'), |at| &path[..at + COLLECTOR.len()]);
    let path = format!("{before}/ack");
    url.set_path(&path);
    url.set_query(Some(&format!("channel={channel}")));
    url
}

#[derive(Deserialize)]
struct Said {
    code: u32,
    #[serde(rename = "ackId")]
    ack: Option<u64>,
}

#[derive(Deserialize)]
struct Acks {
    acks: BTreeMap<u64, bool>,
}

fn meaning(answer: &Answer, part: &Part) -> Meaning {
    let said = serde_json::from_slice::<Said>(&answer.body).ok();
    match (answer.status, said) {
        (200, Some(Said { code: 0, ack })) => Meaning::Accepted { ack },
        (200..=299, _) => stranger(answer, "the HTTP event collector"),
        // wrong index, channel missing or invalid, acknowledgement disabled: not a matter of these events
        (400, Some(Said { code: 7 | 10 | 11 | 14, .. })) => Meaning::Outcome(Outcome::Slow { why: answer.why() }),
        _ => answer.meaning(&part.key),
    }
}

/// Whether `ack` is true by this answer; the outcome when asking on has no sense.
pub(super) fn indexed(answer: &Answer, ack: u64) -> Result<bool, Outcome> {
    if answer.status == 200
        && let Ok(said) = serde_json::from_slice::<Acks>(&answer.body)
    {
        return Ok(said.acks.get(&ack) == Some(&true));
    }
    match answer.meaning("") {
        Meaning::Outcome(Outcome::Retry { .. }) => Ok(false),
        Meaning::Outcome(slow @ Outcome::Slow { .. }) => Err(slow),
        _ => Err(Outcome::Slow { why: format!("{}: no answer about acknowledgements", answer.why()) }),
    }
}

/// Asks until the indexer has the events. After `patience` they are sent again: then they may be there twice.
pub(in super::super) async fn acknowledged(request: &RequestBuilder, ack: u64, patience: Duration) -> Outcome {
    let body = json!({"acks": [ack]}).to_string();
    let deadline = Instant::now() + patience;
    let mut wait = ASK_FIRST;
    loop {
        sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
        let Some(request) = request.try_clone() else {
            return Outcome::Slow { why: "the question for an acknowledgement cannot be repeated".to_owned() };
        };
        let why = match request.body(body.clone()).send().await {
            Ok(response) => match indexed(&answer::read(response, ANSWER_MAX, answer::WORDS_WAIT).await, ack) {
                Ok(true) => return Outcome::Delivered { note: None, receipt: None },
                Ok(false) => format!("no acknowledgement {ack} after {} s", patience.as_secs()),
                Err(outcome) => return outcome,
            },
            Err(error) => client::explain(error),
        };
        if Instant::now() >= deadline {
            return Outcome::Retry { after: None, why };
        }
        wait = (wait * 2).min(ASK_LAST);
    }
}
