//! Views: what a record looks like to a system that takes events apart, as a search index does.
//!
//! A view is made of the line of the sealed batch and of nothing else, so that a search hit and the evidence say the
//! same. Each carries `origin`, `batch` and `index`, below `sigtrail` or (OCSF) `unmapped`: with these `sigtrail prove`
//! finds the line in the archive. docs/mapping.md says which kind becomes what.

mod ecs;
mod fields;
mod ocsf;
mod parts;
pub mod table;

pub mod otlp;

use serde_json::{Map, Value, json};

use crate::document::words;
use crate::sealed::{self, Batch};
pub use ecs::VERSION as ECS;
use fields::Fields;
pub use ocsf::VERSION as OCSF;
use parts::{Record, Times};

/// The kind of records that stand for many.
const SUMMARY: &str = "summary";

words! {
    /// The words that a record is put into.
    #[derive(Default)]
    pub enum View {
        /// Ours, as in docs/events.md.
        #[default]
        Sigtrail = "sigtrail",
        /// The Elastic Common Schema.
        Ecs = "ecs",
        /// The Open Cybersecurity Schema Framework.
        Ocsf = "ocsf",
    }
}

/// A line of a sealed batch.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The name of the log.
    pub origin: &'a str,
    /// The number of its batch.
    pub batch: u64,
    /// Its place in the batch, from 0.
    pub index: u64,
    /// When its batch was sealed, in seconds since 1970; 0 where the seal does not say so.
    pub sealed: u64,
    /// The line as it was signed, without its LF.
    pub line: &'a str,
    /// The same, parsed.
    pub fields: Map<String, Value>,
}

/// A batch that holds something else than lines of JSON objects and a seal. The agent never makes one.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of batch {batch} is not a record")]
pub struct NotARecord {
    batch: u64,
    line: u64,
}

/// The events of a batch, in order; the seal line is none of them.
pub fn events<'a>(origin: &'a str, batch: &'a Batch) -> impl Iterator<Item = Result<Event<'a>, NotARecord>> + use<'a> {
    let (number, sealed) = (batch.number, sealed::sealed_at(&batch.bytes).unwrap_or(0));
    let lines = batch.bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !sealed::is_seal(line));
    lines.zip(0..).map(move |(line, index)| {
        let wrong = NotARecord { batch: number, line: index + 1 };
        let Ok(line) = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)) else { return Err(wrong) };
        let Ok(fields) = serde_json::from_str(line) else { return Err(wrong) };
        Ok(Event { origin, batch: number, index, sealed, line, fields })
    })
}

/// Where the evidence is.
pub fn place(origin: &str, batch: u64, index: u64) -> Value {
    json!({"origin": origin, "batch": batch, "index": index})
}

impl Event<'_> {
    /// Its name in every index: stays the same however often it is sent.
    pub fn id(&self) -> String {
        format!("{}:{}:{}", self.origin, self.batch, self.index)
    }

    /// Where the evidence is.
    pub fn place(&self) -> Value {
        place(self.origin, self.batch, self.index)
    }

    /// When it happened, in nanoseconds since 1970. Of an enrolment only the note says it; where nothing does, it is when
    /// the batch was sealed.
    pub fn time_ns(&self) -> u64 {
        let text = |name| self.fields.get(name).and_then(Value::as_str);
        let enrolled = || text("note")?.lines().find_map(|line| line.strip_prefix("time "));
        let said = text("time").or_else(enrolled).and_then(seal::text::untime);
        said.unwrap_or(self.sealed.saturating_mul(1_000_000_000))
    }

    /// The same as text.
    pub fn time(&self) -> String {
        seal::text::time(self.time_ns())
    }

    /// The event in the words of `view`.
    pub fn render(self, view: View) -> Value {
        match view {
            View::Sigtrail => {
                let place = self.place();
                let mut fields = self.fields;
                fields.insert("sigtrail".to_owned(), place);
                Value::Object(fields)
            }
            View::Ecs => self.dissect(ecs::view),
            View::Ocsf => self.dissect(ocsf::view),
        }
    }

    /// Hands the record to a schema. A summary is what its sample is, with the summary beside it.
    fn dissect(mut self, view: fn(Record<'_>) -> Value) -> Value {
        let id = self.id();
        let Value::Object(place) = self.place() else { return Value::Null };
        let mut times = None;
        let stands_for = |fields: &Map<String, Value>| {
            fields.get("kind").is_some_and(|kind| kind == SUMMARY)
                && fields.get("sample").is_some_and(|sample| sample.get("kind").is_some_and(Value::is_string))
        };
        if stands_for(&self.fields)
            && let Some(Value::Object(sample)) = self.fields.remove("sample")
        {
            let mut summary = Fields(std::mem::replace(&mut self.fields, sample));
            summary.take("kind");
            let [first, last] = ["time", "last"].map(|name| summary.time(name));
            times = Some(Times { count: summary.number("count"), first, last });
            self.fields.insert(SUMMARY.to_owned(), Value::Object(summary.0));
        }
        if !self.fields.contains_key("time") {
            self.fields.insert("time".to_owned(), self.time().into());
        }
        let kind = self.fields.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        view(Record { fields: Fields(self.fields), kind: &kind, place, id, origin: self.origin, times })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use proptest::prelude::*;

    use super::*;

    /// Any JSON, of words that records have and of others.
    fn anything() -> impl Strategy<Value = Value> {
        const WORDS: &[&str] = &[
            "exec",
            "open",
            "connect",
            "summary",
            "agent.start",
            "/tmp/a b",
            "inet",
            "127.0.0.1",
            "PTRACE_ATTACH",
            "100755",
            "2026-05-28T20:26:40Z",
            "-1",
            "18446744073709551615",
            "a-b",
            "time x",
            "",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            proptest::sample::select(WORDS).prop_map(Value::from),
            "[A-Za-z0-9+/=]{0,8}".prop_map(|base64| json!({ "b64": base64 })),
        ];
        leaf.prop_recursive(3, 64, 8, |inside| {
            prop_oneof![
                proptest::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name(), inside), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        const NAMES: &[&str] = &[
            "kind",
            "success",
            "process",
            "policy",
            "verdict",
            "peer",
            "local",
            "family",
            "ip",
            "port",
            "path",
            "id",
            "pid",
            "parent",
            "sample",
            "mode",
            "argv",
            "question",
            "name",
            "b64",
            "call",
            "time",
            "note",
            "child_pid",
            "child_start",
            "target_host_pid",
            "target_start",
            "ancestors",
            "exe",
            "container",
            "length",
            "errno",
        ];
        prop_oneof![4 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn any_object_has_a_view(
            members in proptest::collection::vec((name(), anything()), 0..24),
            kind in 0..table::ROWS.len() * 2,
        ) {
            let mut fields: Map<String, Value> = members.into_iter().collect();
            if let Some(row) = table::ROWS.get(kind) {
                fields.insert("kind".to_owned(), row.kind.into());
            }
            let event = Event { origin: "a.example", batch: 7, index: 1, sealed: 0, line: "", fields };
            for (view, own) in [(View::Ecs, "/sigtrail"), (View::Ocsf, "/unmapped")] {
                let seen = event.clone().render(view);
                prop_assert_eq!(seen.pointer(own).map(|own| &own["batch"]), Some(&json!(7)));
            }
        }
    }

    #[test]
    fn an_event_knows_where_its_evidence_is() {
        let bytes = Bytes::from_static(
            b"{\"kind\":\"exec\",\"time\":\"2026-05-28T20:26:40.000000001Z\"}\n{\"kind\":\"exit\"}\n\
              {\"sigtrail\":\"seal/v1\",\"header\":\"v\\nwall 2026-05-28T20:26:40.000000000Z 2026-05-28T20:26:45.000000042Z\\n\"}\n",
        );
        let batch = Batch { number: 7, bytes, frame: Bytes::new() };
        let events: Vec<_> = events("a.example/sigtrail", &batch).collect::<Result<_, _>>().expect("records");
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].id(), "a.example/sigtrail:7:1");
        assert_eq!(events[0].time(), "2026-05-28T20:26:40.000000001Z");
        assert_eq!(events[1].time(), "2026-05-28T20:26:45.000000000Z", "it has none, its batch has");
        let place = json!({"origin": "a.example/sigtrail", "batch": 7, "index": 1});
        assert_eq!(events[1].clone().render(View::Sigtrail), json!({"kind": "exit", "sigtrail": place}));
    }
}
