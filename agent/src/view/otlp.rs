//! A record as a log record of OpenTelemetry, in the JSON of OTLP (opentelemetry-proto, docs/specification.md).
//!
//! The body is the line as it was signed. Attributes are those that the semantic conventions (1.44) have a name for, and
//! `sigtrail.*`: where the evidence is.

use serde_json::{Map, Value, json};

use super::Event;

/// What a field becomes.
#[derive(Clone, Copy)]
enum As {
    /// The type that it has.
    Itself,
    /// A text, also when it is a number.
    Text,
    /// The last component of a path.
    Name,
}

/// Field of the record, with dots into objects, and its attribute. A field without a value makes none.
const ATTRIBUTES: &[(&str, &str, As)] = &[
    ("kind", "sigtrail.kind", As::Itself),
    ("pid", "process.pid", As::Itself),
    ("ppid", "process.parent_pid", As::Itself),
    ("process.exe", "process.executable.path", As::Itself),
    ("process.exe", "process.executable.name", As::Name),
    ("argv", "process.command_args", As::Itself),
    ("argc", "process.args_count", As::Itself),
    ("cwd", "process.working_directory", As::Itself),
    ("euid", "process.user.id", As::Itself),
    ("euser", "process.user.name", As::Itself),
    ("uid", "process.real_user.id", As::Itself),
    ("user", "process.real_user.name", As::Itself),
    ("suid", "process.saved_user.id", As::Itself),
    ("process.cgroup", "process.linux.cgroup", As::Itself),
    ("process.container.id", "container.id", As::Itself),
    ("process.container.runtime", "container.runtime.name", As::Itself),
    ("tid", "thread.id", As::Itself),
    ("comm", "thread.name", As::Itself),
    ("auid", "user.id", As::Text),
    ("auser", "user.name", As::Itself),
    ("path", "file.path", As::Itself),
    ("inode", "file.inode", As::Text),
    ("mode", "file.mode", As::Text),
    ("peer.ip", "network.peer.address", As::Itself),
    ("peer.path", "network.peer.address", As::Itself),
    ("peer.port", "network.peer.port", As::Itself),
    ("local.ip", "network.local.address", As::Itself),
    ("local.path", "network.local.address", As::Itself),
    ("local.port", "network.local.port", As::Itself),
    ("question.name", "dns.question.name", As::Itself),
    ("errno", "error.type", As::Itself),
    ("policy.rule", "security_rule.name", As::Itself),
];

/// Severity numbers of the log data model.
const INFO: (u8, &str) = (9, "INFO");
const WARN: (u8, &str) = (13, "WARN");

/// The log record of an event.
pub fn record(event: &Event<'_>) -> Value {
    let is_alert =
        field(&event.fields, "policy.verdict").is_some_and(|verdict| verdict == "alert" || verdict == "capture");
    let (number, text) = if is_alert { WARN } else { INFO };
    let kind = event.fields.get("kind").and_then(Value::as_str).unwrap_or("record");
    // the kernel's time is what we observed: the record has no later one
    let time = event.time_ns().to_string();
    json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("sigtrail.{kind}"),
        "body": {"stringValue": event.line},
        "attributes": attributes(event),
    })
}

/// What all records of a log have in common.
pub fn resource(origin: &str) -> Value {
    let host = origin.split('/').next().unwrap_or_default();
    json!({"attributes": [
        attribute("service.name", &json!("sigtrail")),
        attribute("service.version", &json!(env!("CARGO_PKG_VERSION"))),
        attribute("host.name", &json!(host)),
        attribute("os.type", &json!("linux")),
    ]})
}

fn attributes(event: &Event<'_>) -> Vec<Value> {
    let place = [("sigtrail.origin", json!(event.origin)), ("sigtrail.batch", json!(event.batch))];
    let place = place.into_iter().chain([("sigtrail.index", json!(event.index))]);
    let mut all: Vec<Value> = place.map(|(name, value)| attribute(name, &value)).collect();
    for (from, to, how) in ATTRIBUTES {
        let Some(found) = field(&event.fields, from).filter(|value| !value.is_null() && *value != "") else { continue };
        let value = match (how, found) {
            (As::Text, Value::Number(number)) => json!(number.to_string()),
            (As::Name, Value::String(path)) => json!(path.rsplit('/').next().unwrap_or(path)),
            (As::Name, _) => continue,
            _ => found.clone(),
        };
        all.push(attribute(to, &value));
    }
    let text = |name| field(&event.fields, name).and_then(Value::as_str);
    let family = text("peer.family").or(text("local.family"));
    let transport = match text("protocol") {
        Some(protocol @ ("tcp" | "udp")) => Some(protocol),
        _ => family.filter(|family| *family == "unix"),
    };
    let version = family.and_then(|family| match family {
        "inet" => Some("ipv4"),
        "inet6" => Some("ipv6"),
        _ => None,
    });
    let code = event.fields.get("code").filter(|_| text("kind") == Some("exit")).cloned();
    let more = [("network.transport", transport.map(Value::from)), ("network.type", version.map(Value::from))];
    let more = more.into_iter().chain([("process.exit.code", code)]);
    all.extend(more.filter_map(|(name, value)| Some(attribute(name, &value?))));
    all
}

fn field<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = fields.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

fn attribute(name: &str, value: &Value) -> Value {
    json!({"key": name, "value": any(value)})
}

/// A value as AnyValue: numbers of 64 bits are texts in this JSON, bytes are base64.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(it) => json!({"boolValue": it}),
        Value::Number(it) if it.is_f64() => json!({"doubleValue": it}),
        Value::Number(it) => json!({"intValue": it.to_string()}),
        Value::String(it) => json!({"stringValue": it}),
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().map(any).collect::<Vec<_>>()}}),
        Value::Object(it) => match it.get("b64") {
            Some(bytes) if it.len() == 1 => json!({"bytesValue": bytes}),
            _ => {
                let values: Vec<Value> = it.iter().map(|(key, value)| attribute(key, value)).collect();
                json!({"kvlistValue": {"values": values}})
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sealed::Batch;
    use crate::view::events;

    fn check(line: &str, expected: &[(&str, Value)]) {
        let bytes = Bytes::from(format!("{line}\n{{\"sigtrail\":\"seal/v1\",\"header\":\"\"}}\n"));
        let batch = Batch { number: 7, bytes, frame: Bytes::new() };
        let event = events("a.example/sigtrail", &batch).next().unwrap().unwrap();
        let record = record(&event);
        assert_eq!(record["body"], json!({"stringValue": line}));
        let all: Map<String, Value> =
            record["attributes"].as_array().unwrap().iter().fold(Map::new(), |mut all, it| {
                let name = it["key"].as_str().unwrap();
                assert!(all.insert(name.to_owned(), it["value"].clone()).is_none(), "{name} twice");
                all
            });
        for (name, value) in expected {
            assert_eq!(all.get(*name).unwrap_or(&Value::Null), value, "{name} of {record}");
        }
    }

    #[test]
    fn fields_have_the_names_of_the_conventions() {
        check(
            r#"{"argc":2,"argv":["cat",{"b64":"/w=="}],"auid":1000,"kind":"exec","path":"/bin/cat","process":{"exe":"/bin/cat"},"suid":null}"#,
            &[
                ("sigtrail.batch", json!({"intValue": "7"})),
                ("sigtrail.index", json!({"intValue": "0"})),
                ("process.args_count", json!({"intValue": "2"})),
                (
                    "process.command_args",
                    json!({"arrayValue": {"values": [{"stringValue": "cat"}, {"bytesValue": "/w=="}]}}),
                ),
                ("process.executable.name", json!({"stringValue": "cat"})),
                ("user.id", json!({"stringValue": "1000"})),
                ("process.saved_user.id", Value::Null),
            ],
        );
        check(
            r#"{"code":3,"kind":"connect","local":{"family":"inet6","ip":"::1","port":9},"peer":{"family":"inet6","ip":"::2","port":53},"protocol":"udp"}"#,
            &[
                ("network.peer.address", json!({"stringValue": "::2"})),
                ("network.local.port", json!({"intValue": "9"})),
                ("network.transport", json!({"stringValue": "udp"})),
                ("network.type", json!({"stringValue": "ipv6"})),
                ("process.exit.code", Value::Null),
            ],
        );
        check(
            r#"{"errno":"ENOENT","kind":"connect","peer":{"family":"unix","path":"/run/x"},"policy":{"rule":"net","verdict":"keep"}}"#,
            &[
                ("network.peer.address", json!({"stringValue": "/run/x"})),
                ("network.transport", json!({"stringValue": "unix"})),
                ("error.type", json!({"stringValue": "ENOENT"})),
                ("security_rule.name", json!({"stringValue": "net"})),
            ],
        );
    }
}
