//! The state of the agent as metrics: the table of all of them, in the text format of OpenMetrics 1.0.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::control::{AgentStatus, SinkStatus};
use crate::pipeline::{BOUNDS, Delays, HookCounts, HookStatus};

/// The media type of [`page`].
pub const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric: `sigtrail_<name>`, of a counter `sigtrail_<name>_total`.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What sort of metric it is.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    rows: Rows,
}

/// What sort a metric is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the agent on.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values there were below each bound.
    Histogram,
}

/// What a metric has.
#[derive(Debug)]
enum Value {
    Count(u64),
    Nanoseconds(u64),
    Delays(Delays),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

/// A value for each label, and that of the metric.
type Row<'a> = (Vec<&'a str>, Value);
type Rows = fn(&AgentStatus) -> Vec<Row<'_>>;

const HOOK: &[&str] = &["hook"];
const SINK: &[&str] = &["sink"];
const PROGRAM: &[&str] = &["program"];

/// All metrics.
pub const METRICS: &[Metric] = &[
    gauge("build_info", &["version"], "The version of the agent; the value is 1", |it| {
        vec![(vec![&*it.version], 1.into())]
    }),
    counter("kernel_seen_events", HOOK, "Calls that the policy asks for, by the hook that saw them", |it| {
        hooks(it, |counts| counts.seen)
    }),
    counter(
        "kernel_events",
        &["hook", "fate"],
        "What became of them in the kernel half: `filtered` (the policy drops them for certain), `sent` to the agent, or \
         `lost` (there was no room)",
        |it| it.pipeline.counts.iter().flat_map(fates).collect(),
    ),
    counter("kernel_truncated_events", HOOK, "Events that were sent with a value cut short", |it| {
        hooks(it, |counts| counts.truncated)
    }),
    counter("program_skips", &[], "Times that the kernel left out a program of ours", |it| one(it.pipeline.skipped)),
    gauge("program_up", &["program", "at"], "1 if a program of the kernel half runs, 0 if it is degraded", |it| {
        it.pipeline.hooks.iter().map(up).collect()
    }),
    counter("program_runs", PROGRAM, "Times that it ran; only while the kernel measures it", |it| {
        it.pipeline.runs.iter().map(|of| (vec![&*of.program], of.runs.into())).collect()
    }),
    counter(
        "program_run_seconds",
        PROGRAM,
        "Time that it ran, with all that it jumped to; only while the kernel measures it (the sysctl \
         `kernel.bpf_stats_enabled`, which costs time itself)",
        |it| it.pipeline.runs.iter().map(|of| (vec![&*of.program], Value::Nanoseconds(of.nanoseconds))).collect(),
    ),
    counter("received_events", &[], "Events that came from the kernel half", |it| {
        one(it.pipeline.total.received + it.pipeline.total.undecodable)
    }),
    gauge("queue_bytes", &[], "Bytes of those that wait in memory", |it| one(it.pipeline.queue_bytes)),
    counter(
        "events",
        &["fate"],
        "What became of them: `kept` (a record in the log), `merged` (told by a summary), `dropped` (by the policy), \
         `unwritten` (it made no line), `refused` (a full spool had no room) and `undecodable` (it made no event), \
         which are lost, too, `repeated` (told by another kernel half, at a handover)",
        |it| {
            let total = it.pipeline.total;
            let fates = [
                ("kept", total.kept),
                ("merged", total.merged),
                ("dropped", total.dropped),
                ("unwritten", total.unwritten),
                ("refused", total.refused),
                ("undecodable", total.undecodable),
                ("repeated", total.repeated),
            ];
            fates.map(|(fate, count)| (vec![fate], count.into())).into()
        },
    ),
    counter(
        "rule_matches",
        &["rule"],
        "Events that a rule kept, by its `id`, which is empty for the default of the policy; 512 rules are told apart",
        |it| it.pipeline.rules.iter().map(|(rule, count)| (vec![&**rule], (*count).into())).collect(),
    ),
    Metric {
        name: "event_delay_seconds",
        kind: Kind::Histogram,
        help: "From the event in the kernel until its record was signed and durable",
        labels: &[],
        rows: |it| vec![(Vec::new(), Value::Delays(it.pipeline.delays))],
    },
    counter("lost_events", &[], "Events that were wanted and not had, for whatever reason", |it| {
        one(it.pipeline.total.lost)
    }),
    gauge("processes", &[], "Processes in the table", |it| one(it.pipeline.processes as u64)),
    counter("clock_steps", &[], "Times that the wall clock stepped, by 0.1 s or more", |it| {
        one(it.pipeline.clock_steps)
    }),
    gauge(
        "log_info",
        &["origin", "policy"],
        "The name of the log, and the digest of the policy that holds; the value is 1",
        |it| vec![(vec![&*it.pipeline.origin, &*it.pipeline.policy], 1.into())],
    ),
    gauge("log_up", &[], "1 if the log can be written, 0 if it cannot at the moment", |it| {
        one(it.pipeline.trouble.is_none().into())
    }),
    gauge("log_batches", &[], "Batches of the log that are durable, since it began", |it| {
        it.pipeline.last_batch.map_or_else(Vec::new, |last| one(last + 1))
    }),
    gauge("log_sealed_timestamp_seconds", &[], "When the last batch was sealed, since 1970", |it| {
        let sealed = it.pipeline.last_sealed.as_deref().and_then(seal::text::untime);
        sealed.map_or_else(Vec::new, |ns| one(ns / 1_000_000_000))
    }),
    gauge(
        "selftest_success_timestamp_seconds",
        &[],
        "When an event that the agent made itself last came into a durable batch, since 1970; none without a watchdog",
        |it| it.pipeline.selftest.map_or_else(Vec::new, one),
    ),
    gauge("spool_bytes", &[], "Bytes of the spool", |it| one(it.pipeline.spool_bytes)),
    gauge("spool_max_bytes", &[], "Bytes that it may take", |it| one(it.pipeline.spool_max_bytes)),
    gauge("sink_up", SINK, "1 if a sink takes what it is given, 0 since a send failed", |it| {
        sinks(it, |sink| Some(sink.trouble.is_none().into()))
    }),
    counter("sink_batches", SINK, "Batches that a sink acknowledged", |it| sinks(it, |sink| Some(sink.batches))),
    counter("sink_bytes", SINK, "Their bytes before compression", |it| sinks(it, |sink| Some(sink.bytes))),
    counter("sink_retries", SINK, "Sends that had to be done again", |it| sinks(it, |sink| Some(sink.retries))),
    counter(
        "sink_missed_batches",
        SINK,
        "Batches that a sink does not get: evicted before, or refused for good",
        |it| sinks(it, |sink| Some(sink.missed)),
    ),
    gauge("sink_lag_batches", SINK, "Durable batches that a sink does not have yet", |it| {
        sinks(it, |sink| Some(sink.lag))
    }),
    gauge(
        "sink_oldest_timestamp_seconds",
        SINK,
        "When the oldest of them was sealed, since 1970; none without a lag",
        |it| sinks(it, |sink| sink.oldest),
    ),
    gauge("sink_success_timestamp_seconds", SINK, "When a sink last acknowledged a batch, since 1970", |it| {
        sinks(it, |sink| sink.last_success)
    }),
];

/// All metrics of a state as text.
pub fn page(status: AgentStatus) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sigtrail");
    registry.register_collector(Box::new(State(status)));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct State(AgentStatus);

impl Collector for State {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        for Metric { name, kind, help, labels, rows } in METRICS {
            let ty = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = page.encode_descriptor(name, help, None, ty)?;
            for (values, value) in rows(&self.0) {
                let of: Vec<_> = labels.iter().copied().zip(values).collect();
                let write = |row: &mut MetricEncoder<'_>| match (kind, &value) {
                    (Kind::Counter, Value::Count(count)) => row.encode_counter::<NoLabelSet, _, u64>(count, None),
                    (Kind::Counter, Value::Nanoseconds(time)) => {
                        row.encode_counter::<NoLabelSet, _, f64>(&seconds(*time), None)
                    }
                    (_, Value::Count(number)) => row.encode_gauge(number),
                    (_, Value::Nanoseconds(time)) => row.encode_gauge(&seconds(*time)),
                    (_, Value::Delays(delays)) => encode(delays, row),
                };
                if of.is_empty() { write(&mut metric)? } else { write(&mut metric.encode_family(&of)?)? }
            }
        }
        Ok(())
    }
}

fn encode(delays: &Delays, row: &mut MetricEncoder<'_>) -> fmt::Result {
    let bounds = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(delays.counts).collect();
    row.encode_histogram::<NoLabelSet>(seconds(delays.nanoseconds), delays.counts.iter().sum(), &buckets, None)
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str, rows: Rows) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels, rows }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str, rows: Rows) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels, rows }
}

fn one(value: u64) -> Vec<Row<'static>> {
    vec![(Vec::new(), value.into())]
}

fn hooks(status: &AgentStatus, value: fn(&HookCounts) -> u64) -> Vec<Row<'_>> {
    status.pipeline.counts.iter().map(|counts| (vec![&*counts.hook], value(counts).into())).collect()
}

fn fates(counts: &HookCounts) -> [Row<'_>; 3] {
    let fates = [("filtered", counts.filtered), ("sent", counts.sent), ("lost", counts.lost)];
    fates.map(|(fate, count)| (vec![&*counts.hook, fate], count.into()))
}

fn up(hook: &HookStatus) -> Row<'_> {
    (vec![&*hook.program, &hook.at], u64::from(hook.degraded.is_none()).into())
}

fn sinks(status: &AgentStatus, value: fn(&SinkStatus) -> Option<u64>) -> Vec<Row<'_>> {
    status.sinks.iter().filter_map(|sink| Some((vec![&*sink.name], value(sink)?.into()))).collect()
}
