//! A log as one page: what the verifier says of it, what happened when, who started whom, and the tables. It needs no
//! other file, no network and no script; what a log says of itself is text in it and nothing else.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use seal::{Header, cli::Reading};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Item,
    table::{PLANS, Table},
    timeline::{Span, Timeline},
    tree::{Limits, Note, Process, Tree, Wanted, note},
};

const STYLE: &str = include_str!("page/style.css");

/// What the page has at most; what is beyond is counted on it.
const LIMITS: Limits = Limits { processes: 2000, notes: 6, all_notes: 5000 };
const ALERTS: usize = 300;
const ROWS: usize = 100;
const FINDINGS: usize = 20;
/// Ids of processes, users and hosts that are counted apart.
const IDS: usize = 100_000;

/// The page, while the log is read.
#[derive(Debug)]
pub struct Page {
    reports: Vec<Value>,
    timeline: Timeline,
    tree: Tree,
    tables: Vec<Table>,
    alerts: Vec<(Note, String, String)>,
    counts: Counts,
    hosts: BTreeSet<String>,
    processes: BTreeSet<String>,
    users: BTreeSet<String>,
    sealed: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    records: u64,
    events: u64,
    alerts: u64,
    failed: u64,
    lost: u64,
}

impl Page {
    /// A page; `reports`: what the verifier said of each log, as `sigtrail verify --json` prints it.
    pub fn new(reports: Vec<Value>) -> Self {
        Self {
            reports,
            timeline: Timeline::default(),
            tree: Tree::new(Wanted::default(), LIMITS),
            tables: PLANS.iter().map(Table::new).collect(),
            alerts: Vec::new(),
            counts: Counts::default(),
            hosts: BTreeSet::new(),
            processes: BTreeSet::new(),
            users: BTreeSet::new(),
            sealed: None,
        }
    }

    /// How many records it is made of.
    pub fn records(&self) -> u64 {
        self.counts.records
    }

    /// Takes in what the seal of a batch says.
    pub fn add_header(&mut self, header: &Header) {
        self.tables.iter_mut().for_each(|table| table.add_header(header));
        self.counts.lost += header.facts.lost;
        known(&mut self.hosts, &header.facts.host);
        let (from, to) = header.facts.wall;
        self.sealed = Some(self.sealed.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }

    /// Takes in a record.
    pub fn add(&mut self, item: &Item<'_>, sealed: Option<u64>) {
        let many = item.count();
        self.counts.records += 1;
        self.counts.events += many;
        let sample = item.inner("sample");
        let of = sample.as_ref().unwrap_or(item);
        self.timeline.add(item, sealed);
        self.tree.add(item);
        self.tables.iter_mut().for_each(|table| table.add(item, sealed));
        self.counts.failed += if of.is_not("success") { many } else { 0 };
        if let Some(id) = of.text("process.id") {
            known(&mut self.processes, &id);
        }
        if let Some(user) = of.user() {
            known(&mut self.users, &user);
        }
        if of.is_alert() {
            self.counts.alerts += many;
            let (user, program) = (of.user().unwrap_or_default(), of.program().unwrap_or_default());
            if let Some(note) = note(of, &of.kind(), many).filter(|_| self.alerts.len() < ALERTS) {
                self.alerts.push((note, user.into_owned(), program.into_owned()));
            }
        }
    }

    /// The page as HTML.
    pub fn html(&self, reading: &Reading) -> String {
        let hash = Base64::encode_string(&Sha256::digest(STYLE));
        let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
        let hosts = clean(&self.hosts.iter().take(5).cloned().collect::<Vec<_>>().join(", "));
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width";
                    meta name="referrer" content="no-referrer";
                    title { "sigtrail report: " (hosts) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "What happened on " (if hosts.is_empty() { "this host" } else { &hosts }) }
                    p.soft { (self.period()) }
                    @for report in &self.reports { (verification(report)) }
                    (self.cards(reading))
                    h2 { "Timeline" }
                    (timeline(&self.timeline))
                    (self.alerts())
                    (self.processes())
                    @for table in &self.tables { (section(table)) }
                    (footer(reading))
                }
            }
        };
        markup.into_string()
    }

    fn period(&self) -> String {
        let Some((from, to)) = self.sealed else { return "Lines without a seal".to_owned() };
        format!("{} to {} UTC", second(from), second(to))
    }

    fn cards(&self, reading: &Reading) -> Markup {
        let card = |name: &str, value: u64, class: &str| {
            html! { div class=[(value > 0).then_some(class).filter(|class| !class.is_empty())] { dt { (name) } dd { (grouped(value)) } } }
        };
        let counts = self.counts;
        html! {
            dl.cards {
                (card("records", counts.records, ""))
                (card("events in them", counts.events, ""))
                (card("alerts", counts.alerts, "warn"))
                (card("failed", counts.failed, ""))
                (card("lost", counts.lost, "bad"))
                (card("redacted", reading.redacted, "warn"))
                (card("processes", self.processes.len() as u64, ""))
                (card("users", self.users.len() as u64, ""))
            }
        }
    }

    fn alerts(&self) -> Markup {
        let more = self.counts.alerts.saturating_sub(self.alerts.len() as u64);
        html! {
            h2 { "Alerts" }
            @if self.alerts.is_empty() { p.soft { "None." } } @else {
                table {
                    thead { tr { th { "time" } th { "rule" } th { "user" } th { "program" } th { "kind" } th { "what" } } }
                    tbody {
                        @for (note, user, program) in &self.alerts {
                            tr.alert {
                                td.time { (second(note.time)) }
                                td.key { (clean(note.alert.as_deref().unwrap_or_default())) }
                                td.key { (clean(user)) }
                                td.key { (clean(program)) }
                                td.key { (clean(&note.kind)) }
                                td.key { (note.words) (note.many()) @if let Some(error) = &note.error { " = " span.error { (clean(error)) } } }
                            }
                        }
                    }
                }
                @if more > 0 { p.soft { "… and " (grouped(more)) " more: " code { "sigtrail search --verdict alert" } } }
            }
        }
    }

    fn processes(&self) -> Markup {
        let mut groups: Vec<(Markup, Vec<Markup>)> = Vec::new();
        self.tree.walk(|_, process, lasts| {
            let row = row(process, lasts.len());
            match groups.last_mut() {
                Some((_, rows)) if !lasts.is_empty() => rows.push(row),
                _ => groups.push((row, Vec::new())),
            }
        });
        html! {
            h2 { "Processes: who started whom, and what each did" }
            @for (root, below) in &groups {
                @if below.is_empty() { ul.tree { (root) } } @else {
                    details open {
                        summary.soft { (below.len() + 1) " processes" }
                        ul.tree { (root) @for row in below { (row) } }
                    }
                }
            }
            @if self.tree.is_empty() { p.soft { "None." } }
            @if self.tree.beyond > 0 {
                p.soft {
                    "The page has " (grouped(self.tree.len() as u64)) " processes; " (grouped(self.tree.beyond))
                    " records are of others: " code { "sigtrail tree" }
                }
            }
        }
    }
}

fn known(set: &mut BTreeSet<String>, text: &str) {
    if set.len() < IDS && !set.contains(text) {
        set.insert(text.to_owned());
    }
}

/// One process; deeper than the style knows it is drawn at the same depth.
fn row(process: &Process, depth: usize) -> Markup {
    let class = (depth > 0).then(|| format!("d{}", depth.min(8)));
    html! {
        li class=[class] {
            span.program.mono { (clean(&process.program)) } " " span.mono { (process.pid) } " " (clean(&process.user))
            @if let Some((first, last)) = process.seen {
                span.soft { "  " (second(first)) " to " (second(last).get(11..).unwrap_or_default()) }
            }
            @if let Some(end) = &process.end { span.soft { ", ended: " (clean(end)) } }
            @if !process.counts.is_empty() { " " span.soft { "· " (clean(&process.counted())) } }
            @for note in &process.notes {
                div class=(if note.alert.is_some() { "note alert" } else { "note" }) {
                    (clean(&note.kind)) " " (note.words) (note.many())
                    @if let Some(error) = &note.error { " = " span.error { (clean(error)) } }
                    @if let Some(rule) = &note.alert { " ! " (clean(rule)) }
                }
            }
            @if process.more > 0 { div.note { "… and " (process.more) " more" } }
        }
    }
}

/// What the verifier says of one log.
fn verification(report: &Value) -> Markup {
    let text = |name: &str| clean(report[name].as_str().unwrap_or_default());
    let number = |name: &str| grouped(report[name].as_u64().unwrap_or_default());
    // an object of any other verdict would be a class of a stranger
    let verdict = ["verified", "incomplete"].into_iter().find(|it| report["verdict"] == *it).unwrap_or("tampered");
    let of_findings = &report["findings"];
    let findings = of_findings["list"].as_array().map_or(&[][..], Vec::as_slice);
    let more = of_findings["count"].as_u64().unwrap_or(0).saturating_sub(findings.len().min(FINDINGS) as u64);
    html! {
        div class=(format!("verdict {verdict}")) {
            strong { (verdict.to_uppercase()) } " "
            (match verdict {
                "verified" => "every line of every batch is as it was sealed",
                "incomplete" => "what is here is as it was sealed, and something is missing",
                _ => "something is not as it was sealed",
            })
            @if report["origin"].is_string() {
                p {
                    "Log " code { (text("origin")) } " of " (text("host")) ": " (number("batches")) " batches, "
                    (number("events")) " records, " (number("lost")) " events lost."
                }
            }
            p.soft {
                @if report["pinned"] == true { "The host key is one that was given as known." }
                @else { "The host key is the one that the log itself names: give one that is known to be right with --verify-key." }
            }
            @if !findings.is_empty() {
                ul {
                    @for finding in findings.iter().take(FINDINGS) {
                        li {
                            @if let Some(batch) = finding["batch"].as_u64() { "batch " (batch) ": " }
                            (clean(finding["what"].as_str().unwrap_or_default()))
                        }
                    }
                    @if more > 0 { li { "… and " (grouped(more)) " more: " code { "sigtrail verify" } } }
                }
            }
        }
    }
}

/// What is marked below a span.
type Marked = fn(&Span) -> u64;

const WIDTH: u64 = 1000;
const HEIGHT: u64 = 150;

/// Bars over time. Alerts, failures and losses stand below in rows of their own: a few of them are seen beside many events.
fn timeline(timeline: &Timeline) -> Markup {
    let spans: Vec<(u64, Span)> = timeline.spans().collect();
    let most = spans.iter().map(|(_, span)| span.events).max().unwrap_or(0).max(1);
    let count = spans.len().max(1) as u64;
    let x = |at: usize| format!("{:.2}", at as f64 * WIDTH as f64 / count as f64);
    let width = format!("{:.2}", (WIDTH as f64 / count as f64 * 0.86).min(40.0));
    let height = |events: u64| events as f64 / most as f64 * (HEIGHT - 20) as f64;
    let marks: [(&str, u64, Marked); 3] =
        [("alerts", 0, |span| span.alerts), ("failed", 1, |span| span.failed), ("lost", 2, |span| span.lost)];
    let base = HEIGHT - 10;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + 62)) role="img" aria-label="Events over time" {
            text x="0" y="10" { "up to " (grouped(most)) " events in " (length(timeline.seconds)) }
            @for (at, (_, span)) in spans.iter().enumerate() {
                @if span.events > 0 {
                    rect.events x=(x(at)) y=(format!("{:.2}", base as f64 - height(span.events).max(1.0)))
                        width=(width) height=(format!("{:.2}", height(span.events).max(1.0))) {}
                }
                @for (class, row, of) in &marks {
                    @if of(span) > 0 {
                        rect class=(class) x=(x(at)) y=(base + 6 + row * 10) width=(width) height="7" {}
                    }
                }
            }
            line.axis x1="0" x2=(WIDTH) y1=(base) y2=(base) {}
            @for (at, (time, _)) in spans.iter().enumerate().step_by(spans.len().div_ceil(5).max(1)) {
                text x=(x(at)) y=(HEIGHT + 52) { (second(time * 1_000_000_000)) }
            }
        }
        div.legend {
            @for class in ["events", "alerts", "failed", "lost"] {
                span { svg viewBox="0 0 8 8" { rect class=(class) width="8" height="8" {} } (class) }
            }
            span { "rows below the line, from above: alerts, failed, lost" }
        }
    }
}

fn section(table: &Table) -> Markup {
    let rows = table.rows();
    let columns = table.columns();
    let keys = rows.first().map_or(0, |row| row.keys.len());
    let class = |at: usize| {
        if at < keys {
            "key"
        } else if at + 2 < columns.len() {
            "number"
        } else {
            "time"
        }
    };
    html! {
        h2 { (table.plan.title) }
        @if rows.is_empty() { p.soft { "None." } } @else {
            table {
                thead { tr { @for (at, name) in columns.iter().enumerate() { th class=(class(at)) { (name) } } } }
                tbody {
                    @for row in rows.iter().take(ROWS) {
                        tr { @for (at, cell) in row.cells(|ns| second(ns).into()).iter().enumerate() {
                            td class=(class(at)) { (match cell {
                                Value::String(text) => clean(text),
                                Value::Number(number) => grouped(number.as_u64().unwrap_or_default()),
                                _ => String::new(),
                            }) }
                        } }
                    }
                }
            }
            @if rows.len() > ROWS {
                p.soft { "… and " (grouped((rows.len() - ROWS) as u64)) " more rows: " code { "sigtrail report " (table.plan.name) } }
            }
            @if table.beyond > 0 { p.soft { "… and " (grouped(table.beyond)) " records of which there was no room for a row." } }
        }
    }
}

fn footer(reading: &Reading) -> Markup {
    html! {
        footer {
            @for trouble in &reading.troubles { p.error { (clean(trouble)) } }
            @if reading.redacted > 0 { p { (grouped(reading.redacted)) " records are redacted: their text is gone, their place is not." } }
            @if reading.absent > 0 { p { (grouped(reading.absent)) " records are not here: of their batches there are only the seals." } }
            p {
                "All times are UTC. The page shows at most " (grouped(LIMITS.processes as u64)) " processes with " (LIMITS.notes)
                " notes and as many alerts each, " (ALERTS) " alerts and " (ROWS)
                " rows of a table; what is beyond is counted. The page proves nothing: the log does, and "
                code { "sigtrail verify" } " checks it. Made by sigtrail " (env!("CARGO_PKG_VERSION")) "."
            }
        }
    }
}

/// A time to the second.
fn second(ns: u64) -> String {
    seal::text::time(ns).get(..19).unwrap_or_default().replace('T', " ")
}

/// A number of seconds in words.
fn length(seconds: u64) -> String {
    match seconds {
        1 => "a second".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Text in which nothing hides: no control characters, and none that turn the direction of writing.
fn clean(text: &str) -> String {
    let hides = |char: char| {
        char.is_control() || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars().flat_map(|char| if hides(char) { char.escape_default().collect() } else { vec![char] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_says_is_text() {
        let evil = r#"<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"#;
        let line = format!(
            r#"{{"comm":"{evil}","errno":"{evil}","euser":"{evil}","kind":"open","path":"/tmp/{evil}","pid":1,"policy":{{"rule":"{evil}","verdict":"alert"}},"process":{{"exe":"{evil}","id":"{evil}"}},"success":false,"time":"2026-05-28T20:26:40.000000001Z"}}"#
        );
        let mut page = Page::new(vec![serde_json::json!({
            "verdict": evil, "origin": evil, "host": evil, "findings": {"count": 1, "list": [{"what": evil}]},
        })]);
        page.add(&Item::parse(line.as_bytes()).unwrap(), None);
        let trouble = Reading { troubles: vec![evil.to_owned()], ..Reading::default() };
        let html = page.html(&trouble);
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.matches("&lt;script&gt;").count() >= 10, "{html}");
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing is fetched");
        assert_eq!(clean("a\u{202e}b\u{1b}"), "a\\u{202e}b\\u{1b}");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
