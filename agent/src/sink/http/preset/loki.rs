//! The push API of Grafana Loki, in JSON.
//!
//! One stream for a log: more labels would make more streams than Loki likes. What is sent twice has the same time and
//! text in the same stream, and Loki keeps it once.

use serde_json::json;

use super::{Answer, BATCHES_MAX, Meaning, Part, Shape, delivered, stranger};
use crate::view::{Event, View};

pub(super) const SHAPE: Shape = Shape {
    path: "/loki/api/v1/push",
    content_type: "application/json",
    scheme: "Bearer",
    zstd: false,
    batches: BATCHES_MAX,
    answer_max: 4096,
    open: |origin| {
        let labels = json!({"job": "sigtrail", "origin": origin});
        format!(r#"{{"streams":[{{"stream":{labels},"values":["#)
    },
    between: ",",
    close: "]}]}",
    write,
    query: |_, _| Vec::new(),
    meaning,
};

fn write(event: Event<'_>, view: View) -> String {
    json!([event.time_ns().to_string(), event.render(view).to_string()]).to_string()
}

fn meaning(answer: &Answer, part: &Part) -> Meaning {
    match answer.status {
        204 => delivered(None),
        200..=299 => stranger(answer, "Loki, which answers 204"),
        _ => answer.meaning(&part.key),
    }
}
