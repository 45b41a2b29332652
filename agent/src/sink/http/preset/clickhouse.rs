//! The HTTP interface of ClickHouse: `INSERT … FORMAT JSONEachRow` into the table of docs/sinks.md.
//!
//! A body is inserted once however often it is sent: its key is the `insert_deduplication_token`. So that bodies are the
//! same after every start, a send is one batch.

use serde_json::json;

use super::{Answer, HttpConfig, Meaning, Outcome, Part, Shape, delivered, stranger};
use crate::view::{Event, View};

pub(super) const SHAPE: Shape = Shape {
    path: "/",
    content_type: "application/x-ndjson",
    scheme: "Bearer",
    zstd: true,
    batches: 1,
    answer_max: 4096,
    open: |_| String::new(),
    between: "",
    close: "",
    write,
    query,
    meaning,
};

/// The number of the error, 0 or absent without one; also of an error that came after the status.
const CODE: &str = "x-clickhouse-exception-code";

fn write(event: Event<'_>, view: View) -> String {
    let (origin, batch, index) = (event.origin, event.batch, event.index);
    // DateTime64 takes no Z
    let time = event.time().trim_end_matches('Z').replacen('T', " ", 1);
    let kind = event.fields.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
    // in our own words it is the line as it was signed
    let record = if view == View::Sigtrail { event.line.to_owned() } else { event.render(view).to_string() };
    let row = json!({"time": time, "origin": origin, "batch": batch, "index": index, "kind": kind, "record": record});
    format!("{row}\n")
}

fn query(config: &HttpConfig, part: &Part) -> Vec<(&'static str, String)> {
    vec![
        ("query", format!("INSERT INTO {} FORMAT JSONEachRow", config.table)),
        ("insert_deduplication_token", part.key.clone()),
        ("async_insert", "0".to_owned()),
        // a column that the table lacks is an error, not a loss
        ("input_format_skip_unknown_fields", "0".to_owned()),
        // the status comes when the rows are there
        ("wait_end_of_query", "1".to_owned()),
    ]
}

fn meaning(answer: &Answer, part: &Part) -> Meaning {
    let code = answer.headers.get(CODE).and_then(|code| code.to_str().ok()?.parse::<u32>().ok()).unwrap_or(0);
    match (answer.status, code) {
        // no such column, unknown table or database, unknown field, access denied: the table, not the rows
        (_, 16 | 60 | 81 | 117 | 497) => Meaning::Outcome(Outcome::Slow { why: answer.why() }),
        (200, 0) if answer.body.trim_ascii().is_empty() => delivered(None),
        (200, 0) => stranger(answer, "ClickHouse, which says nothing to an INSERT"),
        (200..=299, _) => Meaning::Outcome(Outcome::Retry { after: None, why: answer.why() }),
        _ => answer.meaning(&part.key),
    }
}
