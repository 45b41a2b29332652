//! The settings of captures.

use std::{path::PathBuf, time::Duration};

use super::{Size, setting::settings};
use crate::{
    capture::{Detail, recipient},
    document::{Place, Report},
};
use common::Kind;

settings! {
    /// The last events in memory, also those that the policy drops: docs/capture.md.
    pub struct Recorder {
        /// Whether it records while nobody captures. The kernel half then leaves out nothing of `kinds`, at a high cost.
        enabled: bool [false],
        /// Memory for compressed events.
        bytes: Size [Size(32 << 20)],
        /// Older events go.
        age: Duration [Duration::from_mins(1)],
        /// The kinds that the kernel half leaves whole; empty for all. Of the others, what the policy leaves is recorded.
        kinds: Vec<String> [Vec::new()],
    }
}

settings! {
    /// Who may capture what, and at what cost: docs/capture.md.
    pub struct Capture {
        /// Where bundles are made, and kept that nobody waits for; null for `captures` in `state_dir`.
        dir: Option<PathBuf> [None],
        /// A group whose members may capture, as root and the user of the agent may; null for none.
        group: Option<String> [None],
        /// What members of the group may see of processes, and `files` for any file of this host.
        group_may: Vec<String> [["exe", "maps", "fds", "sockets"].map(str::to_owned).into()],
        /// Who can read bundles: age recipients (`age1…`), beside those that are asked for; empty for who has the file.
        recipients: Vec<String> [Vec::new()],
        /// How far back, if nobody says; as far as the recorder goes.
        before: Duration [Duration::from_secs(30)],
        /// How long from then on, if nobody says.
        during: Duration [Duration::from_secs(10)],
        /// What is told of processes, if nobody says: of `exe`, `maps`, `fds`, `sockets`, `environ` and `memory`.
        with: Vec<String> [["exe", "maps", "fds", "sockets"].map(str::to_owned).into()],
        /// How long a capture may take.
        max_time: Duration [Duration::from_mins(15)],
        /// Bytes of all that is captured, before compression; 1MiB to 8GiB.
        max_bytes: Size [Size(1 << 30)],
        /// Bytes of memory of each process.
        memory_bytes: Size [Size(64 << 20)],
        /// Bytes of files and memory that are read in a second; 0 for any number.
        read_rate: Size [Size(64 << 20)],
        /// Bundles that rules and signals made are kept up to this number; then the oldest goes.
        keep: u32 [10],
        /// A rule with the verdict `capture` makes one in this time at most.
        rule_every: Duration [Duration::from_mins(10)],
    }
}

impl Recorder {
    pub(super) fn check(&self, place: impl Fn(&str) -> Place, report: &mut Report) {
        if !(1 << 20..=1 << 30).contains(&self.bytes.0) {
            report.add(place("bytes"), format!("recorder.bytes is {}, not from 1MiB to 1GiB", self.bytes));
        }
        for name in self.kinds.iter().filter(|name| Kind::from_name(name).is_none()) {
            let kinds = Kind::ALL.iter().map(|kind| kind.name());
            report.unknown(place("kinds"), format!("\"{name}\" in recorder.kinds is no kind"), name, kinds);
        }
    }
}

impl Capture {
    pub(super) fn check(&self, place: impl Fn(&str) -> Place, report: &mut Report) {
        if !(1 << 20..=8 << 30).contains(&self.max_bytes.0) {
            report.add(place("max_bytes"), format!("capture.max_bytes is {}, not from 1MiB to 8GiB", self.max_bytes));
        }
        if self.during > self.max_time {
            report.add(place("during"), "capture.during is more than capture.max_time");
        }
        if self.max_time > Duration::from_hours(24) {
            report.add(place("max_time"), "capture.max_time is more than a day");
        }
        for text in self.recipients.iter().filter(|text| recipient(text).is_err()) {
            let what = format!("\"{text}\" in capture.recipients is no X25519 recipient of age");
            report.hint(place("recipients"), what, "it is `age1…`, as age-keygen prints it");
        }
        for (key, names) in [("with", &self.with), ("group_may", &self.group_may)] {
            for name in names.iter().filter(|name| Detail::from_name(name).is_none()) {
                let details = Detail::ALL.iter().map(|it| it.name());
                report.unknown(place(key), format!("\"{name}\" in capture.{key} is nothing to tell"), name, details);
            }
        }
        if self.with.iter().any(|name| name == Detail::Files.name()) {
            report.add(place("with"), "capture.with cannot have files: they are named one by one");
        }
    }
}
