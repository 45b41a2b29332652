//! The bulk API of Elasticsearch and OpenSearch.
//!
//! Each event is a `create` with its own `_id`, so a document that is there already answers 409, which is a yes. When an
//! item wants to be sent again, the whole body is: that needs no memory of items, and what was taken answers 409.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer;
use super::{Answer, BATCHES_MAX, HttpConfig, Meaning, Outcome, Part, Shape, delivered};
use crate::view::{Event, View};

pub(super) const SHAPE: Shape = Shape {
    path: "/sigtrail/_bulk",
    content_type: "application/x-ndjson",
    scheme: "ApiKey",
    zstd: false,
    batches: BATCHES_MAX,
    // some hundred bytes for each item that failed
    answer_max: 16 << 20,
    open: |_| String::new(),
    between: "",
    close: "",
    write,
    query,
    meaning,
};

/// What the answer is reduced to: one status for each item, and the reason where there is one.
const FILTER: &str = "errors,items.*.status,items.*.error.type,items.*.error.reason";

fn write(event: Event<'_>, view: View) -> String {
    let action = json!({"create": {"_id": event.id()}});
    let time = event.time();
    let mut document = event.render(view);
    // a data stream takes no document without it
    if let Some(fields) = document.as_object_mut() {
        fields.entry("@timestamp").or_insert(Value::String(time));
    }
    format!("{action}\n{document}\n")
}

fn query(_: &HttpConfig, _: &Part) -> Vec<(&'static str, String)> {
    vec![("filter_path", FILTER.to_owned())]
}

#[derive(Deserialize)]
struct Bulk {
    errors: bool,
    #[serde(default)]
    items: Vec<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Value,
}

fn meaning(answer: &Answer, part: &Part) -> Meaning {
    if answer.status != 200 {
        return answer.meaning(&part.key);
    }
    let Some(bulk) = serde_json::from_slice::<Bulk>(&answer.body).ok().filter(|_| answer.whole) else {
        let why = format!("{}: no answer of the bulk API", answer.why());
        return Meaning::Outcome(Outcome::Retry { after: None, why });
    };
    if !bulk.errors {
        return delivered(None);
    }
    let items: Vec<&Item> = bulk.items.iter().flat_map(BTreeMap::values).collect();
    let first = |wanted: fn(u16) -> bool| items.iter().find(|item| wanted(item.status));
    let why = |item: &Item| answer::why(item.status, &item.error.to_string());
    Meaning::Outcome(if let Some(item) = first(|status| matches!(status, 408 | 429 | 500..)) {
        Outcome::Retry { after: answer.retry_after(), why: why(item) }
    } else if let Some(item) = first(|status| matches!(status, 401 | 403 | 404)) {
        Outcome::Slow { why: why(item) }
    } else if let Some(item) = first(|status| !matches!(status, 200..=299 | 409)) {
        Outcome::Refused { status: item.status, answer: item.error.to_string().chars().take(answer::KEPT).collect() }
    } else if Some(items.len()) == part.events {
        let there = items.iter().filter(|item| item.status == 409).count();
        return delivered(Some(format!("the receiver had {there} events already")));
    } else {
        let why = format!("the answer has {} items of {}", items.len(), part.events.unwrap_or(0));
        Outcome::Retry { after: None, why }
    })
}
