//! Receivers that take batches apart: a real collector of OpenTelemetry, and strict fakes of four products, written from
//! their public documents. Each must get every golden record once, with the place of its evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seal::GapReason;
use serde_json::{Value, json};
use sigtrail::deliver::quarantine_of;
use sigtrail::sink::http::Preset;
use sigtrail::sink::{HttpConfig, HttpSink, Sink};
use sigtrail::spool::Appended;

use crate::fake::{Fake, Reply, Request, demand};
use crate::{Host, ORIGIN, Running};

/// The token of all receivers here.
const TOKEN: &str = "s3cret";

/// When all batches here were sealed.
const SEALED: &str = "2026-05-28T20:26:45.000000000Z";

/// The lines of the golden records, by batch: a batch for each of their files, and one with a record that has no time, as
/// the enrolment is.
pub fn golden() -> BTreeMap<u64, Vec<String>> {
    let enrolment = vec![r#"{"kind":"enrol","note":"a"}"#.to_owned()];
    (0..).zip(tests::golden::lines().into_iter().chain([enrolment])).collect()
}

/// Every golden record as (batch, index, line).
fn all() -> BTreeSet<(u64, u64, String)> {
    let place = |(batch, lines): (u64, Vec<String>)| (0..).zip(lines).map(move |(index, line)| (batch, index, line));
    golden().into_iter().flat_map(place).collect()
}

pub fn spool_golden(host: &mut Host) -> u64 {
    let mut last = 0;
    for (number, lines) in golden() {
        let header =
            format!(r"sigtrail/batch/v1\norigin {ORIGIN}\nbatch {number}\nwall {SEALED} {SEALED}\nprev AA==\n");
        let seal = format!("{{\"sigtrail\":\"seal/v1\",\"header\":\"{header}\",\"proof\":\"\"}}\n");
        let bytes = format!("{}\n{seal}", lines.join("\n"));
        assert_eq!(host.spool.append(number, bytes.as_bytes()).unwrap(), Appended::default());
        host.head.send_replace(Some(number));
        last = number;
    }
    last
}

pub fn sink(host: &Host, preset: Preset, url: String, change: impl FnOnce(&mut HttpConfig)) -> Sink {
    let token = host.path("token");
    fs::write(&token, TOKEN).unwrap();
    let mut config =
        HttpConfig { url, preset, token_file: Some(token), max_body_bytes: 20_000, ..HttpConfig::default() };
    change(&mut config);
    Sink::Http(Box::new(HttpSink::new("http".to_owned(), config, ORIGIN).unwrap()))
}

/// The line of an event in our own words, without what the sink added; and its place.
fn event(mut event: Value) -> Result<(u64, u64, String), String> {
    let fields = event.as_object_mut().ok_or("an event that is no object")?;
    fields.remove("@timestamp");
    let place = fields.remove("sigtrail").ok_or("an event without its place")?;
    demand(place["origin"] == ORIGIN, || format!("origin {}", place["origin"]))?;
    let number = |name: &str| place[name].as_u64().ok_or_else(|| format!("no {name} in {place}"));
    Ok((number("batch")?, number("index")?, event.to_string()))
}

/// The time of a record, or that of its batch.
fn time_of(record: &Value) -> String {
    record["time"].as_str().unwrap_or(SEALED).to_owned()
}

fn parse(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(text)))
}

/// Batch 3 is in quarantine, and nothing else is.
fn batch_3_is_kept(host: &Host, words: &str) {
    let gaps = host.gaps.take();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].reason), (3, 3, GapReason::Quarantine));
    let kept = quarantine_of(&host.path("spool"), "http");
    let answer = fs::read_to_string(kept.join("3.answer")).unwrap();
    assert!(answer.contains(words), "{answer}");
    assert!(kept.join("3.ndjson").exists());
}

async fn lose_the_cursor(host: &Host, running: Running) {
    running.task.abort();
    assert!(running.task.await.is_err());
    fs::remove_file(host.path("spool").join("cursors/http")).unwrap();
}

/// The bulk API: documents by `_id`, ids that are told 429 once, and one that is never taken.
#[derive(Default)]
struct Index {
    documents: BTreeMap<String, Value>,
    busy: BTreeSet<String>,
    poison: Option<String>,
    conflicts: usize,
}

fn bulk(index: &Mutex<Index>, request: &Request) -> Result<Reply, String> {
    request.is("/sigtrail/_bulk", "application/x-ndjson", Some("ApiKey s3cret"))?;
    demand(request.header("content-encoding")? == "gzip", || "not gzip".to_owned())?;
    demand(request.asked("filter_path")?.starts_with("errors,items.*.status,"), || "filter_path".to_owned())?;
    demand(request.body.ends_with(b"\n"), || "the last line has no LF".to_owned())?;
    let lines: Vec<Value> = request.body.split_inclusive(|byte| *byte == b'\n').map(parse).collect::<Result<_, _>>()?;
    let mut index = index.lock().unwrap();
    let mut items = Vec::new();
    for pair in lines.chunks(2) {
        let [action, document] = pair else { return Err("an action without a document".to_owned()) };
        let id = action["create"]["_id"].as_str().ok_or_else(|| format!("action {action}"))?.to_owned();
        demand(id.len() <= 512 && *action == json!({"create": {"_id": id}}), || format!("action {action}"))?;
        demand(document["@timestamp"] == time_of(document), || format!("@timestamp of {document}"))?;
        items.push(json!({"create": if index.documents.contains_key(&id) {
            index.conflicts += 1;
            json!({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "document already exists"}})
        } else if index.busy.remove(&id) {
            json!({"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue capacity"}})
        } else if index.poison.as_ref() == Some(&id) {
            json!({"status": 400, "error": {"type": "document_parsing_exception", "reason": "failed to parse field"}})
        } else {
            index.documents.insert(id, document.clone());
            json!({"status": 201})
        }}));
    }
    let errors = items.iter().any(|item| item["create"]["status"] != 201);
    Ok(Reply::new(200, json!({"errors": errors, "items": items}).to_string()))
}

#[tokio::test]
async fn elasticsearch_has_each_record_once() {
    let mut host = Host::new();
    let index = Arc::new(Mutex::new(Index::default()));
    let busy = all().into_iter().map(|(batch, at, _)| format!("{ORIGIN}:{batch}:{at}")).step_by(7);
    index.lock().unwrap().busy.extend(busy);
    index.lock().unwrap().poison = Some(format!("{ORIGIN}:3:1"));
    let shared = index.clone();
    let fake = Fake::start(move |request| bulk(&shared, request)).await;
    let last = spool_golden(&mut host);
    let running = host.deliver(sink(&host, Preset::Elasticsearch, fake.url(), |_| {}));
    let report = running.delivered(last).await;
    let documents = index.lock().unwrap().documents.clone();
    let found: BTreeSet<_> = documents.values().cloned().map(|it| event(it).unwrap()).collect();
    let wanted: BTreeSet<_> = all().into_iter().filter(|(batch, at, _)| (*batch, *at) != (3, 1)).collect();
    assert_eq!((documents.len(), &found), (wanted.len(), &wanted));
    assert!(report.retries > 2 && report.missed == 1, "{report:?}");
    batch_3_is_kept(&host, "document_parsing_exception");
    // sent once more, nothing is there twice, and the delivery says yes
    index.lock().unwrap().conflicts = 0;
    lose_the_cursor(&host, running).await;
    index.lock().unwrap().poison = None;
    let report = host.deliver(sink(&host, Preset::Elasticsearch, fake.url(), |_| {})).delivered(last).await;
    let index = index.lock().unwrap();
    assert_eq!((index.documents.len(), index.conflicts), (all().len(), wanted.len()));
    assert!(report.note.is_some_and(|note| note.contains("events already")));
    assert_eq!(fake.faults(), [""; 0]);
}

#[tokio::test]
async fn an_answer_without_end_is_no_yes() {
    let mut host = Host::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let fake = Fake::start(move |_| {
        let long = if count.fetch_add(1, SeqCst) == 0 { 17 << 20 } else { 1 };
        Ok(Reply::new(200, format!("{{\"errors\":false,\"items\":[{}]}}", " ".repeat(long))))
    })
    .await;
    host.append(0..1);
    let report = host.deliver(sink(&host, Preset::Elasticsearch, fake.url(), |_| {})).delivered(0).await;
    assert_eq!((report.retries, asked.load(SeqCst)), (1, 2));
}

/// The collector: events wait by acknowledgement until the indexer has them.
#[derive(Default)]
struct Collector {
    indexed: Vec<(u64, u64, String)>,
    waiting: BTreeMap<u64, Vec<(u64, u64, String)>>,
    channels: BTreeSet<String>,
    next: u64,
    /// Questions that came.
    asked: usize,
    /// Whether the indexer works.
    works: bool,
    /// The token has no acknowledgements.
    plain: bool,
}

fn collector(state: &Mutex<Collector>, request: &Request) -> Result<Reply, String> {
    let mut state = state.lock().unwrap();
    let channel = request.header("x-splunk-request-channel")?.to_owned();
    demand(channel.split('-').map(str::len).eq([8, 4, 4, 4, 12]), || format!("channel {channel}"))?;
    if request.path == "/services/collector/ack" {
        request.is("/services/collector/ack", "application/json", Some("Splunk s3cret"))?;
        demand(request.asked("channel")? == channel, || "another channel in the query".to_owned())?;
        let acks = parse(&request.body)?["acks"].as_array().ok_or("no acks")?.clone();
        state.asked += 1;
        let mut said = BTreeMap::new();
        for ack in acks {
            let ack = ack.as_u64().ok_or("an ack that is no number")?;
            let here = state.works.then(|| state.waiting.remove(&ack)).flatten();
            said.insert(ack.to_string(), here.is_some());
            state.indexed.extend(here.unwrap_or_default());
        }
        return Ok(Reply::new(200, json!({"acks": said}).to_string()));
    }
    request.is("/services/collector/event", "application/json", Some("Splunk s3cret"))?;
    demand(request.header("content-encoding")? == "gzip", || "not gzip".to_owned())?;
    state.channels.insert(channel);
    let mut events = Vec::new();
    for one in serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>() {
        let mut one = one.map_err(|error| error.to_string())?;
        let known = ["event", "fields", "host", "source", "sourcetype", "time"];
        demand(one.as_object().is_some_and(|it| it.keys().eq(known)), || format!("event {one}"))?;
        let seconds = one["time"].as_str().and_then(|text| text.split_once('.')).ok_or("no time")?;
        demand(seconds.0.parse::<u64>().is_ok() && seconds.1.len() == 3, || format!("time {}", one["time"]))?;
        let found = event(one["event"].take())?;
        let fields = json!({"origin": ORIGIN, "batch": found.0.to_string(), "index": found.1.to_string()});
        demand(one["fields"] == fields, || format!("fields {}", one["fields"]))?;
        events.push(found);
    }
    demand(!events.is_empty(), || "a body without events".to_owned())?;
    if state.plain {
        state.indexed.extend(events);
        return Ok(Reply::new(200, json!({"text": "Success", "code": 0}).to_string()));
    }
    let ack = state.next;
    state.next += 1;
    state.waiting.insert(ack, events);
    Ok(Reply::new(200, json!({"text": "Success", "code": 0, "ackId": ack}).to_string()))
}

#[tokio::test]
async fn splunk_is_believed_when_its_indexer_has_them() {
    let mut host = Host::new();
    let state = Arc::new(Mutex::new(Collector::default()));
    let shared = state.clone();
    let fake = Fake::start(move |request| collector(&shared, request)).await;
    let last = spool_golden(&mut host);
    let running = host.deliver(sink(&host, Preset::SplunkHec, fake.url(), |_| {}));
    // the collector took them, the indexer says nothing: no batch counts
    running.until("asking", |_| state.lock().unwrap().asked >= 3).await;
    let report = running.status.report();
    assert_eq!((report.cursor, report.batches), (None, 0));
    assert_eq!(state.lock().unwrap().waiting.len(), 1, "one send waits");
    state.lock().unwrap().works = true;
    running.delivered(last).await;
    assert_eq!(state.lock().unwrap().indexed.iter().cloned().collect::<BTreeSet<_>>(), all());
    let counts = |state: &Collector| (state.indexed.len(), state.channels.len());
    assert_eq!(counts(&state.lock().unwrap()), (all().len(), 1));
    // an indexer that says nothing for too long: sent again, and taken
    state.lock().unwrap().works = false;
    lose_the_cursor(&host, running).await;
    let change = |config: &mut HttpConfig| config.ack_timeout = Duration::from_millis(200);
    let running = host.deliver(sink(&host, Preset::SplunkHec, fake.url(), change));
    running.trouble("no acknowledgement").await;
    state.lock().unwrap().works = true;
    running.delivered(last).await;
    assert_eq!(state.lock().unwrap().indexed.iter().cloned().collect::<BTreeSet<_>>(), all());
    assert_eq!(fake.faults(), [""; 0]);
}

#[tokio::test]
async fn splunk_without_acknowledgements_must_be_wanted() {
    let mut host = Host::new();
    let state = Arc::new(Mutex::new(Collector { plain: true, ..Collector::default() }));
    let shared = state.clone();
    let fake = Fake::start(move |request| collector(&shared, request)).await;
    let last = spool_golden(&mut host);
    let strict = host.deliver(sink(&host, Preset::SplunkHec, fake.url(), |_| {}));
    let report = strict.trouble("acks: false").await;
    assert!(report.needs_operator && report.cursor.is_none(), "{report:?}");
    strict.task.abort();
    state.lock().unwrap().indexed.clear();
    host.deliver(sink(&host, Preset::SplunkHec, fake.url(), |config| config.acks = false)).delivered(last).await;
    assert_eq!(state.lock().unwrap().indexed.iter().cloned().collect::<BTreeSet<_>>(), all());
    assert_eq!(fake.faults(), [""; 0]);
}

#[tokio::test]
async fn loki_gets_one_stream_in_bodies_of_its_size() {
    let mut host = Host::new();
    let state = Arc::new(Mutex::new((BTreeSet::new(), 0, 0)));
    let shared = state.clone();
    let fake = Fake::start(move |request| {
        request.is("/loki/api/v1/push", "application/json", Some("Bearer s3cret"))?;
        let mut state = shared.lock().unwrap();
        if request.body.len() > 9000 {
            state.1 += 1;
            return Ok(Reply::new(413, "request too large"));
        }
        state.2 += 1;
        if state.2 == 2 {
            return Ok(Reply::new(429, "Ingestion rate limit exceeded").with("retry-after", "0"));
        }
        let push = parse(&request.body)?;
        let streams = push["streams"].as_array().ok_or("no streams")?;
        demand(streams.len() == 1 && push.as_object().is_some_and(|it| it.len() == 1), || "streams".to_owned())?;
        let labels = json!({"job": "sigtrail", "origin": ORIGIN});
        demand(streams[0]["stream"] == labels, || format!("labels {}", streams[0]["stream"]))?;
        let mut found = Vec::new();
        for value in streams[0]["values"].as_array().ok_or("no values")? {
            let [Value::String(time), Value::String(line)] = &value.as_array().ok_or("no value")?[..] else {
                return Err(format!("value {value}"));
            };
            let it = event(parse(line.as_bytes())?)?;
            let ns = seal::text::untime(&time_of(&parse(it.2.as_bytes())?));
            demand(ns.map(|ns| ns.to_string()).as_ref() == Some(time), || format!("time {time} of {line}"))?;
            found.push(it);
        }
        if found.iter().any(|(batch, index, _)| (*batch, *index) == (3, 1)) {
            return Ok(Reply::new(400, "entry for stream has timestamp too old"));
        }
        state.0.extend(found);
        Ok(Reply::new(204, ""))
    })
    .await;
    let last = spool_golden(&mut host);
    let report = host.deliver(sink(&host, Preset::Loki, fake.url(), |_| {})).delivered(last).await;
    let (found, large, _) = std::mem::take(&mut *state.lock().unwrap());
    let missing: BTreeSet<_> = all().difference(&found).cloned().collect();
    assert!(!missing.is_empty() && missing.iter().all(|(batch, ..)| *batch == 3), "{missing:?}");
    // halved, and then never too large again
    assert!((1..=3).contains(&large) && report.missed == 1, "{large} {report:?}");
    batch_3_is_kept(&host, "too old");
    assert_eq!(fake.faults(), [""; 0]);
}

#[tokio::test]
async fn clickhouse_inserts_each_body_once() {
    let mut host = Host::new();
    let state = Arc::new(Mutex::new((BTreeMap::new(), 0)));
    let shared = state.clone();
    let fake = Fake::start(move |request| {
        request.is("/", "application/x-ndjson", Some("Bearer s3cret"))?;
        demand(request.header("content-encoding")? == "zstd", || "not zstd".to_owned())?;
        let statement = request.asked("query")?;
        demand(statement == "INSERT INTO audit.sigtrail FORMAT JSONEachRow", || statement.to_owned())?;
        demand(request.asked("input_format_skip_unknown_fields")? == "0", || "unknown fields".to_owned())?;
        let token = request.asked("insert_deduplication_token")?.to_owned();
        let mut state = shared.lock().unwrap();
        state.1 += 1;
        let error = |status, code: &str| {
            Reply::new(status, format!("Code: {code}. DB::Exception: …\n")).with("x-clickhouse-exception-code", code)
        };
        match state.1 {
            1 => return Ok(error(404, "60")),
            2 => return Ok(error(500, "241")),
            3 => return Ok(error(200, "241")),
            _ => {}
        }
        let mut rows = Vec::new();
        for line in request.body.split_inclusive(|byte| *byte == b'\n') {
            let row = parse(line)?;
            let known = ["batch", "index", "kind", "origin", "record", "time"];
            demand(row.as_object().is_some_and(|it| it.keys().eq(known)), || format!("row {row}"))?;
            let record = row["record"].as_str().ok_or("no record")?;
            let said = parse(record.as_bytes())?;
            let time = time_of(&said).replace('T', " ").replace('Z', "");
            demand(row["time"] == time && row["kind"] == said["kind"] && row["origin"] == ORIGIN, || row.to_string())?;
            let number = |name: &str| row[name].as_u64().ok_or_else(|| format!("{name} of {row}"));
            rows.push((number("batch")?, number("index")?, record.to_owned()));
        }
        if rows.iter().any(|(batch, ..)| *batch == 3) {
            return Ok(error(400, "27"));
        }
        // as the table does it: a token that came is not inserted again, and its body is the same
        let had = state.0.insert(token.clone(), rows.clone());
        demand(had.is_none_or(|had| had == rows), || format!("another body with {token}"))?;
        Ok(Reply::new(200, ""))
    })
    .await;
    let last = spool_golden(&mut host);
    let change = |config: &mut HttpConfig| {
        (config.table, config.max_body_bytes) = ("audit.sigtrail".to_owned(), 4000);
    };
    let running = host.deliver(sink(&host, Preset::Clickhouse, fake.url(), change));
    running.delivered(last).await;
    let rows = || state.lock().unwrap().0.values().flatten().cloned().collect::<Vec<_>>();
    let wanted: BTreeSet<_> = all().into_iter().filter(|(batch, ..)| *batch != 3).collect();
    assert_eq!((rows().len(), rows().into_iter().collect()), (wanted.len(), wanted.clone()));
    batch_3_is_kept(&host, "Code: 27.");
    lose_the_cursor(&host, running).await;
    host.deliver(sink(&host, Preset::Clickhouse, fake.url(), change)).delivered(last).await;
    assert_eq!(rows().len(), wanted.len());
    assert_eq!(fake.faults(), [""; 0]);
}

#[tokio::test]
async fn what_otlp_settled_is_not_sent_again() {
    let mut host = Host::new();
    let seen = Arc::new(Mutex::new(BTreeMap::<String, (usize, usize)>::new()));
    let shared = seen.clone();
    let fake = Fake::start(move |request| {
        request.is("/v1/logs", "application/json", Some("Bearer s3cret"))?;
        let key = request.header("idempotency-key")?.to_owned();
        let records = &parse(&request.body)?["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        let records = records.as_array().ok_or("no records")?.len();
        let mut seen = shared.lock().unwrap();
        let times = seen.get(&key).map_or(0, |(times, _)| *times) + 1;
        seen.insert(key.clone(), (times, records));
        let partial = json!({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "one is too long"}});
        Ok(match times {
            1 if key.ends_with("-1.4") => Reply::new(503, "").with("retry-after", "0"),
            1 if key.ends_with("-3.4") => Reply::new(429, ""),
            _ if key.contains(":3.0-") => Reply::new(200, partial.to_string()),
            _ => Reply::new(200, "{}"),
        })
    })
    .await;
    host.append(0..6);
    let change = |config: &mut HttpConfig| config.max_body_bytes = 1500;
    let report = host.deliver(sink(&host, Preset::Otlp, fake.url(), change)).delivered(5).await;
    assert_eq!(fake.faults(), [""; 0]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.values().map(|(_, records)| records).sum::<usize>(), 30, "{seen:?}");
    assert!(seen.len() >= 12, "each batch in some bodies: {seen:?}");
    for (key, (times, _)) in seen.iter() {
        // what was asked to wait came again, and nothing else: not the bodies before it, nor what was rejected in part
        let waited = key.ends_with("-1.4") || key.ends_with("-3.4");
        assert_eq!(*times, if waited { 2 } else { 1 }, "{key}");
    }
    assert_eq!((report.retries, report.missed), (2, 1));
    batch_3_is_kept(&host, "one is too long");
}
