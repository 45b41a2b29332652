//! Logs of OpenTelemetry over HTTP, in JSON (OTLP 1, docs/specification.md of opentelemetry-proto).
//!
//! The protocol forbids to send again what was refused, and what was taken in part. So a send is one batch, and one that
//! is not taken whole goes into quarantine at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Meaning, Outcome, Part, Shape, delivered, stranger};
use crate::view::otlp;

pub(super) const SHAPE: Shape = Shape {
    path: "/v1/logs",
    content_type: "application/json",
    scheme: "Bearer",
    zstd: false,
    batches: 1,
    answer_max: 64 << 10,
    open: |origin| {
        let (resource, scope) = (otlp::resource(origin), json!({"name": "sigtrail"}));
        format!(r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"scope":{scope},"logRecords":["#)
    },
    between: ",",
    close: "]}]}]}",
    write: |event, _| otlp::record(&event).to_string(),
    query: |_, _| Vec::new(),
    meaning,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    #[serde(default)]
    partial_success: Option<Partial>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Partial {
    /// An int64: a number or a text.
    rejected_log_records: Value,
    error_message: String,
}

impl Default for Partial {
    fn default() -> Self {
        Self { rejected_log_records: json!(0), error_message: String::new() }
    }
}

fn meaning(answer: &Answer, part: &Part) -> Meaning {
    let status = answer.status;
    match status {
        200 => taken(answer),
        201..=299 => stranger(answer, "OTLP, which answers 200"),
        // too much at the moment; and a credential, an address, a size or an encoding: another request will be right
        429 | 502..=504 | 300..=399 | 401 | 403 | 404 | 405 | 407 | 413 | 415 | 421 => answer.meaning(&part.key),
        _ => Meaning::Outcome(Outcome::Rejected { status, answer: answer.head() }),
    }
}

fn taken(answer: &Answer) -> Meaning {
    if answer.whole && answer.body.trim_ascii().is_empty() {
        return delivered(None);
    }
    let Some(export) = serde_json::from_slice::<Export>(&answer.body).ok().filter(|_| answer.whole) else {
        return stranger(answer, "an answer of OTLP in JSON");
    };
    let partial = export.partial_success.unwrap_or_default();
    let rejected = match &partial.rejected_log_records {
        Value::Number(number) => number.as_i64().unwrap_or(i64::MAX),
        Value::String(text) => text.parse().unwrap_or(i64::MAX),
        Value::Null => 0,
        _ => i64::MAX,
    };
    if rejected != 0 {
        return Meaning::Outcome(Outcome::Rejected { status: answer.status, answer: answer.head() });
    }
    let note = partial.error_message;
    delivered((!note.is_empty()).then(|| note.chars().take(200).filter(|c| !c.is_control()).collect()))
}
