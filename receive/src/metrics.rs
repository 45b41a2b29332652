//! Counts, in the text format of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{hosts::Hosts, now};

/// What is counted while requests are answered.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers by route and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Batches that were stored.
    pub batches: AtomicU64,
    /// Batches that came again.
    pub duplicates: AtomicU64,
    /// Bytes of bodies that were stored, unpacked.
    pub bytes: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicU64,
}

impl Metrics {
    /// Counts an answer.
    pub fn answer(&self, route: &'static str, status: u16) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    /// All of it as text.
    pub fn text(&self, hosts: &Hosts) -> String {
        let mut page = Page::default();
        page.begin("build_info", "gauge", "The version of the receiver.");
        page.line("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.begin("answers_total", "counter", "Answers by route and status.");
        for ((route, status), count) in &*self.answers.lock().unwrap_or_else(PoisonError::into_inner) {
            page.line("answers_total", &[("route", route), ("status", &status.to_string())], *count);
        }
        for (name, kind, help, value) in [
            ("batches_total", "counter", "Batches verified and stored.", &self.batches),
            ("duplicate_batches_total", "counter", "Batches that were stored already.", &self.duplicates),
            ("bytes_total", "counter", "Bytes verified and stored, unpacked.", &self.bytes),
            ("connections", "gauge", "Connections that are open.", &self.connections),
        ] {
            page.begin(name, kind, help);
            page.line(name, &[], value.load(Ordering::Relaxed));
        }
        page.begin("alarms_total", "counter", "Alarms by kind, also those that were not written again.");
        for (kind, count) in hosts.alarms.counts() {
            page.line("alarms_total", &[("alarm", kind.name())], count);
        }
        let survey = hosts.survey();
        page.begin("silent_hosts", "gauge", "Hosts that were not heard of in time.");
        page.line("silent_hosts", &[], survey.iter().filter(|(_, _, late, _)| *late).count() as u64);
        page.begin("log_size", "gauge", "Batches of a log up to the last one received.");
        for (origin, size, ..) in &survey {
            page.line("log_size", &[("origin", origin)], *size);
        }
        page.begin(
            "last_delivery_timestamp_seconds",
            "gauge",
            "When a host was heard of last, or the receiver started.",
        );
        for (origin, _, _, quiet) in &survey {
            let at: Duration = now().saturating_sub(*quiet);
            page.line("last_delivery_timestamp_seconds", &[("origin", origin)], at.as_secs());
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.0.extend([
            "# HELP sigtrail_receive_",
            name,
            " ",
            help,
            "\n# TYPE sigtrail_receive_",
            name,
            " ",
            kind,
            "\n",
        ]);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.extend(["sigtrail_receive_", name]);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.0.extend([if at == 0 { "{" } else { "," }, label, "=\"", &text, "\""]);
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        if writeln!(self.0, " {value}").is_err() {
            tracing::error!("a text in memory cannot be written");
        }
    }
}
