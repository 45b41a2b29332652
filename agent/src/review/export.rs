//! Records in the words of other tools: a record at a time, of any log length.

use serde_json::{Map, Value, json};

use super::Item;

/// Columns of CSV: what most records have, and the whole line as the last.
pub const COLUMNS: &[&str] = &[
    "time",
    "origin",
    "batch",
    "index",
    "kind",
    "success",
    "errno",
    "user",
    "euser",
    "auser",
    "sessionid",
    "pid",
    "ppid",
    "comm",
    "process.exe",
    "process.id",
    "process.unit",
    "process.container.id",
    "path",
    "target",
    "peer",
    "policy.verdict",
    "policy.rule",
    "what",
];

/// The cells of a record in the order of [`COLUMNS`].
pub fn cells(item: &Item<'_>, time: &str, place: Option<(&str, u64, u64)>) -> Vec<String> {
    let cell = |name: &&str| match *name {
        "time" => time.to_owned(),
        "origin" => place.map_or_else(String::new, |(origin, ..)| origin.to_owned()),
        "batch" => place.map_or_else(String::new, |(_, batch, _)| batch.to_string()),
        "index" => place.map_or_else(String::new, |(.., index)| index.to_string()),
        "peer" => {
            let mut word = String::new();
            crate::record::words::Said::word(item, "peer", &mut word);
            word
        }
        "what" => item.words(),
        name => item.readable(name).unwrap_or_default().into_owned(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// A line of CSV (RFC 4180), with CRLF. A cell that a spreadsheet would take for a formula gets an apostrophe in front.
pub fn csv<T: AsRef<str>>(cells: &[T]) -> String {
    let quoted: Vec<_> = cells.iter().map(|cell| field(cell.as_ref())).collect();
    quoted.join(",") + "\r\n"
}

fn field(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<i64>().is_err();
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// A record for Timesketch: what it shows is `message`, `datetime` and `timestamp_desc`; all else of the record is
/// beside, as flat as it wants it.
pub fn timesketch(item: &Item<'_>, record: &Map<String, Value>, time: u64, place: &Value) -> Value {
    let mut out = Map::new();
    flat("", &Value::Object(record.clone()), &mut out);
    flat("sigtrail.", place, &mut out);
    let (kind, words) = (item.kind(), item.words());
    let who = item.user().map_or_else(String::new, |user| format!("{user} "));
    let program = item.program().map_or_else(String::new, |program| format!("{program} "));
    out.insert("message".to_owned(), format!("{kind}: {who}{program}{words}").into());
    out.insert("datetime".to_owned(), seal::text::time(time).into());
    out.insert("timestamp".to_owned(), (time / 1000).into());
    out.insert("timestamp_desc".to_owned(), format!("sigtrail {kind}").into());
    Value::Object(out)
}

/// Levels of objects that get names of their own; what is deeper is JSON in a text.
const DEPTH: usize = 8;

fn flat(above: &str, value: &Value, out: &mut Map<String, Value>) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        let name = format!("{above}{name}");
        match value {
            Value::Object(_) if name.matches('.').count() < DEPTH => flat(&format!("{name}."), value, out),
            Value::Object(_) => {
                out.insert(name, value.to_string().into());
            }
            Value::Array(list) => {
                out.insert(name, json!(list.iter().map(plain).collect::<Vec<_>>()));
            }
            other => {
                out.insert(name, other.clone());
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        assert_eq!(csv(&["a", "b c", "d,e", "f\"g", "h\ni"]), "a,b c,\"d,e\",\"f\"\"g\",\"h\ni\"\r\n");
        assert_eq!(csv(&["=1+1", "-1", "-x", "@a", "+b"]), "'=1+1,-1,'-x,'@a,'+b\r\n");
    }
}
