//! Tables of what a log comes to, as aureport(8) has them: each counts records that have the same texts in its key columns.

use std::{cmp::Reverse, collections::HashMap};

use seal::Header;
use serde_json::{Map, Value, json};

use super::{CONNECTIONS, Item, PRIVILEGED, is_change, is_one_of, item::cut};

/// Rows of a table that are kept; what does not fit is counted.
const ROWS: usize = 20_000;

/// A text in a table has at most so many bytes.
const TEXT: usize = 300;

/// The texts of a row by which records are counted; `None` when the record is not for the table.
type Keys = fn(&Item<'_>, &str) -> Option<Vec<String>>;

/// What is counted in a column of its own.
type Tallied = fn(&Item<'_>, &str) -> bool;

/// What a table is about.
#[derive(Debug)]
pub struct Plan {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    keys: &'static [&'static str],
    of: Keys,
    tallies: &'static [(&'static str, Tallied)],
}

/// All tables, in the order in which they are shown.
pub const PLANS: &[Plan] = &[
    Plan {
        name: "summary",
        title: "What happened",
        keys: &["kind"],
        of: |_, kind| Some(vec![kind.to_owned()]),
        tallies: &[("failed", failed), ("alerts", alert)],
    },
    Plan {
        name: "logins",
        title: "Login sessions",
        keys: &["session", "user"],
        of: |item, _| Some(vec![item.readable("sessionid")?.into_owned(), item.login()?.into_owned()]),
        tallies: &[("programs", program), ("failed", failed), ("alerts", alert)],
    },
    Plan {
        name: "privileged",
        title: "Use of privileges",
        keys: &["user", "as", "kind", "what"],
        of: privileged,
        tallies: &[("failed", failed), ("alerts", alert)],
    },
    Plan {
        name: "failed",
        title: "What failed",
        keys: &["error", "kind", "object", "user", "program"],
        of: |item, kind| {
            let [user, program] = [user(item), text(item.program())];
            item.is_not("success").then(|| {
                let error = text(item.text("errno"));
                vec![error, kind.to_owned(), item.object().unwrap_or_default(), user, program]
            })
        },
        tallies: &[("alerts", alert)],
    },
    Plan {
        name: "files",
        title: "Files that were changed",
        keys: &["file", "kind", "user", "program"],
        of: |item, kind| {
            let changed = is_change(item, kind) && item.is("success");
            changed.then(|| vec![item.object().unwrap_or_default(), kind.to_owned(), user(item), text(item.program())])
        },
        tallies: &[("alerts", alert)],
    },
    Plan {
        name: "connections",
        title: "Connections",
        keys: &["kind", "protocol", "peer", "user", "program"],
        of: |item, kind| {
            if !is_one_of(CONNECTIONS, kind) {
                return None;
            }
            let mut peer = String::new();
            let of = if kind == "dns" { "question" } else { "peer" };
            crate::record::words::Said::word(item, of, &mut peer);
            Some(vec![kind.to_owned(), text(item.text("protocol")), peer, user(item), text(item.program())])
        },
        tallies: &[("failed", failed), ("alerts", alert)],
    },
    Plan {
        name: "programs",
        title: "Programs that were started",
        keys: &["program", "user"],
        of: |item, kind| (kind == "exec").then(|| vec![text(item.readable("path")), user(item)]),
        tallies: &[("failed", failed), ("alerts", alert)],
    },
    Plan { name: "losses", title: "What is missing", keys: &["what", "where", "detail"], of: loss, tallies: &[] },
    Plan {
        name: "users",
        title: "Users",
        keys: &["user", "login"],
        of: |item, _| Some(vec![item.user()?.into_owned(), text(item.login())]),
        tallies: &[("programs", program), ("failed", failed), ("alerts", alert)],
    },
    Plan {
        name: "policy",
        title: "Rules",
        keys: &["verdict", "rule"],
        of: |item, kind| {
            if kind == "agent.policy" {
                return Some(vec!["new policy".to_owned(), String::new()]);
            }
            Some(vec![item.text("policy.verdict")?.into_owned(), text(item.text("policy.rule"))])
        },
        tallies: &[("failed", failed)],
    },
];

fn failed(item: &Item<'_>, _: &str) -> bool {
    item.is_not("success")
}

fn alert(item: &Item<'_>, _: &str) -> bool {
    item.is_alert()
}

fn program(_: &Item<'_>, kind: &str) -> bool {
    kind == "exec"
}

fn text(text: Option<std::borrow::Cow<'_, str>>) -> String {
    text.unwrap_or_default().into_owned()
}

fn user(item: &Item<'_>) -> String {
    text(item.user())
}

/// A program that somebody else started with the rights of root, and every use of rights that only root has.
fn privileged(item: &Item<'_>, kind: &str) -> Option<Vec<String>> {
    let by_login = item.number("auid").is_some_and(|auid| auid != 0);
    let as_root = item.number("euid") == Some(0);
    let what = match kind {
        "exec" if by_login && as_root => text(item.readable("path")),
        kind if is_one_of(PRIVILEGED, kind) => item.words(),
        _ => return None,
    };
    let who = item.login().or_else(|| item.readable("user")).or_else(|| item.readable("uid"));
    Some(vec![text(who), user(item), kind.to_owned(), what])
}

/// The agent's own records about what is not in the log.
fn loss(item: &Item<'_>, kind: &str) -> Option<Vec<String>> {
    let word = |name: &str| text(item.readable(name));
    let row = |what: &str, place: String, detail: String| Some(vec![what.to_owned(), place, detail]);
    match kind {
        "agent.lost" => row("events lost", word("hook"), word("cause")),
        "agent.degraded" => row("not watched", word("program"), word("why")),
        "agent.hook" => row("hook touched", word("hook"), format!("{}: {}", word("state"), word("why"))),
        "agent.recovered" => row(
            "ended without a stop",
            format!("after batch {}", word("last_batch")),
            format!("{} s", word("gap_seconds")),
        ),
        "agent.sink" if word("state") == "late" => row("sink late", word("sink"), word("why")),
        "agent.clock_step" => row("clock moved", String::new(), format!("{} ns", word("nanoseconds"))),
        _ => None,
    }
}

#[derive(Clone, Debug)]
struct Count {
    many: u64,
    tallies: Vec<u64>,
    seen: Option<(u64, u64)>,
}

/// A table that fills.
#[derive(Debug)]
pub struct Table {
    /// What it is about.
    pub plan: &'static Plan,
    rows: HashMap<Vec<String>, Count>,
    /// Records that would have made rows for which there was no room.
    pub beyond: u64,
}

/// A row as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key columns.
    pub keys: Vec<String>,
    /// How many.
    pub count: u64,
    /// The columns of what is counted beside.
    pub tallies: Vec<u64>,
    /// When the first and the last happened.
    pub seen: Option<(u64, u64)>,
}

impl Table {
    /// An empty table.
    pub fn new(plan: &'static Plan) -> Self {
        Self { plan, rows: HashMap::new(), beyond: 0 }
    }

    /// Takes in a record; `sealed`: when its batch was, for records without a time of their own.
    pub fn add(&mut self, item: &Item<'_>, sealed: Option<u64>) {
        let (sample, many) = (item.inner("sample"), item.count());
        let of = sample.as_ref().unwrap_or(item);
        let kind = of.kind();
        let Some(keys) = (self.plan.of)(of, &kind) else { return };
        let many = if kind == "agent.lost" && self.plan.name == "losses" {
            of.number("count").and_then(|count| u64::try_from(count).ok()).unwrap_or(many)
        } else {
            many
        };
        let first = item.time().or(sealed);
        let last = item.text("last").and_then(|last| seal::text::untime(&last)).or(first);
        let tallies = self.plan.tallies.iter().map(|(_, is)| if is(of, &kind) { many } else { 0 }).collect();
        self.count(keys, Count { many, tallies, seen: first.zip(last) });
    }

    /// Takes in what the seal of a batch says of what is missing.
    pub fn add_header(&mut self, header: &Header) {
        if self.plan.name != "losses" {
            return;
        }
        for gap in &header.facts.gaps {
            let detail = format!("{}: batches {} to {}", gap.reason.name(), gap.from, gap.to);
            let batches = gap.to.saturating_sub(gap.from).saturating_add(1);
            let keys = vec!["batches not delivered".to_owned(), gap.sink.clone(), detail];
            self.count(keys, Count { many: batches, tallies: Vec::new(), seen: Some(header.facts.wall) });
        }
    }

    fn count(&mut self, mut keys: Vec<String>, new: Count) {
        for key in &mut keys {
            let short = cut(key, TEXT).len();
            if short < key.len() {
                key.truncate(short);
                key.push('…');
            }
        }
        if let Some(count) = self.rows.get_mut(&keys) {
            count.many += new.many;
            count.tallies.iter_mut().zip(new.tallies).for_each(|(sum, more)| *sum += more);
            count.seen = match (count.seen, new.seen) {
                (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
                (one, other) => one.or(other),
            };
        } else if self.rows.len() < ROWS {
            self.rows.insert(keys, new);
        } else {
            self.beyond += new.many;
        }
    }

    /// The rows: the largest count first.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .map(|(keys, count)| Row {
                keys: keys.clone(),
                count: count.many,
                tallies: count.tallies.clone(),
                seen: count.seen,
            })
            .collect();
        rows.sort_unstable_by(|one, other| (Reverse(one.count), &one.keys).cmp(&(Reverse(other.count), &other.keys)));
        rows
    }

    /// The headings of its columns.
    pub fn columns(&self) -> Vec<&'static str> {
        let tallies = self.plan.tallies.iter().map(|(name, _)| *name);
        self.plan.keys.iter().copied().chain(["count"]).chain(tallies).chain(["first", "last"]).collect()
    }

    /// For a machine.
    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            let cells = row.cells(|ns| seal::text::time(ns).into());
            Value::Object(self.columns().into_iter().map(str::to_owned).zip(cells).collect::<Map<_, _>>())
        });
        json!({"name": self.plan.name, "rows": rows.collect::<Value>(), "beyond": self.beyond})
    }
}

impl Row {
    /// Its cells, in the order of the columns.
    pub fn cells(&self, time: impl Fn(u64) -> Value) -> Vec<Value> {
        let [first, last] = match self.seen {
            Some((first, last)) => [time(first), time(last)],
            None => [Value::Null, Value::Null],
        };
        let keys = self.keys.iter().map(|key| Value::from(key.as_str()));
        let numbers = std::iter::once(self.count).chain(self.tallies.iter().copied()).map(Value::from);
        keys.chain(numbers).chain([first, last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_where_they_belong() {
        let lines = [
            r#"{"auid":1000,"auser":"eve","euid":0,"euser":"root","kind":"exec","path":"/bin/id","policy":{"rule":"r","verdict":"alert"},"sessionid":3,"success":true,"time":"2026-05-28T20:26:40.000000001Z"}"#,
            r#"{"auid":1000,"auser":"eve","errno":"EACCES","euid":1000,"euser":"eve","kind":"open","path":"/etc/shadow","sessionid":3,"success":false,"time":"2026-05-28T20:26:41.000000000Z"}"#,
            r#"{"count":"4","kind":"summary","last":"2026-05-28T20:26:50.000000000Z","of":"connect","sample":{"euid":0,"kind":"connect","peer":{"family":"inet","ip":"192.0.2.7","port":443},"protocol":"tcp","success":true},"time":"2026-05-28T20:26:42.000000000Z"}"#,
            r#"{"cause":"ring_full","count":"7","hook":"sys_exit","kind":"agent.lost","time":"2026-05-28T20:26:42.000000000Z"}"#,
        ];
        let check = |name: &str, expected: &[(&[&str], u64, &[u64])]| {
            let plan = PLANS.iter().find(|plan| plan.name == name).unwrap();
            let mut table = Table::new(plan);
            for line in lines {
                table.add(&Item::parse(line.as_bytes()).unwrap(), None);
            }
            let rows = table.rows();
            let rows: Vec<_> = rows.iter().map(|row| (&row.keys[..], row.count, &row.tallies[..])).collect();
            let expected: Vec<(Vec<String>, u64, &[u64])> = expected
                .iter()
                .map(|(keys, count, tallies)| (keys.iter().map(|key| (*key).to_owned()).collect(), *count, *tallies))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(keys, count, tallies)| (&keys[..], *count, *tallies)).collect();
            assert_eq!(rows, expected, "{name}");
        };
        check(
            "summary",
            &[
                (&["connect"], 4, &[0, 0]),
                (&["agent.lost"], 1, &[0, 0]),
                (&["exec"], 1, &[0, 1]),
                (&["open"], 1, &[1, 0]),
            ],
        );
        check("logins", &[(&["3", "eve"], 2, &[1, 1, 1])]);
        check("privileged", &[(&["eve", "root", "exec", "/bin/id"], 1, &[0, 1])]);
        check("failed", &[(&["EACCES", "open", "/etc/shadow", "eve", ""], 1, &[0])]);
        check("files", &[]);
        check("connections", &[(&["connect", "tcp", "192.0.2.7:443", "0", ""], 4, &[0, 0])]);
        check("programs", &[(&["/bin/id", "root"], 1, &[0, 1])]);
        check("losses", &[(&["events lost", "sys_exit", "ring_full"], 7, &[])]);
        check(
            "users",
            &[(&["0", ""], 4, &[0, 0, 0]), (&["eve", "eve"], 1, &[0, 1, 0]), (&["root", "eve"], 1, &[1, 0, 1])],
        );
        check("policy", &[(&["alert", "r"], 1, &[0])]);
    }
}
