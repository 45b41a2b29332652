//! The books of a log: what its signed headers say, and its lines.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use serde_json::Value;

/// What the headers say of one hook, summed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hook {
    pub seen: u64,
    pub kfilter: u64,
    pub lost: u64,
    pub recv: u64,
    pub ufilter: u64,
    pub emit: u64,
    pub merge: u64,
}

/// What all headers say, summed.
#[derive(Debug, Default)]
pub struct Books {
    pub batches: u64,
    pub lost: u64,
    /// Events that records of the kind `summary` stand for.
    pub merged: u64,
    pub hooks: BTreeMap<String, Hook>,
}

impl Books {
    /// Reads the log of a file sink and shows each record to `record`.
    pub fn read(dir: &Path, mut record: impl FnMut(&str)) -> Self {
        let mut books = Self::default();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // what the sink is still compressing is hidden
            if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                continue;
            }
            let file = fs::File::open(&path).unwrap();
            let packed = path.extension().is_some_and(|it| it == "zst");
            let plain: Box<dyn Read> =
                if packed { Box::new(zstd::stream::read::Decoder::new(file).unwrap()) } else { Box::new(file) };
            for line in BufReader::with_capacity(1 << 20, plain).lines() {
                let line = line.unwrap();
                if line.starts_with(r#"{"sigtrail":"seal/"#) {
                    books.add(&seal::Batch::parse(line.as_bytes()).unwrap().header);
                } else {
                    books.merged += summarised(&line);
                    record(&line);
                }
            }
        }
        books
    }

    fn add(&mut self, header: &seal::Header) {
        self.batches += 1;
        self.lost += header.facts.lost;
        for account in &header.facts.accounts {
            let hook = self.hooks.entry(account.hook.clone()).or_default();
            hook.seen += account.seen;
            hook.kfilter += account.kfilter;
            hook.lost += account.lost;
            hook.recv += account.recv;
            hook.ufilter += account.ufilter;
            hook.emit += account.emit;
            hook.merge += account.merge;
        }
    }

    /// Expects that every event is accounted for, that the main hooks saw some, and that a verifier has no other word for the
    /// log than that events were lost, if they were.
    pub fn add_up(&self, report: &Value) {
        let (mut lost, mut merged) = (0, 0);
        for (name, hook) in &self.hooks {
            assert_eq!(hook.seen, hook.kfilter + hook.lost + hook.recv, "{name}: {hook:?}");
            assert_eq!(hook.recv, hook.ufilter + hook.emit + hook.merge, "{name}: {hook:?}");
            lost += hook.lost;
            merged += hook.merge;
            println!("{name}: {hook:?}");
        }
        assert_eq!(merged, self.merged, "what is merged is told by summaries");
        for name in ["sys_exit", "sched_process_exec", "sched_process_fork", "sched_process_exit"] {
            assert!(self.hooks[name].seen > 0, "{name}: {self:#?}");
        }
        assert_eq!(report["batches"], self.batches, "{report:#}");
        assert_eq!(report["lost"], self.lost, "{report:#}");
        assert!(self.lost >= lost, "the hooks count {lost} lost, the headers {}", self.lost);
        if self.lost == 0 {
            assert_eq!(report["findings"]["count"], 0, "{report:#}");
        } else {
            let findings = report["findings"]["list"].as_array().unwrap();
            assert!(findings.iter().all(|finding| finding["severity"] == "incomplete"), "{report:#}");
        }
    }
}

/// How many events a line stands for, if it is a summary.
fn summarised(line: &str) -> u64 {
    if !line.contains(r#""kind":"summary""#) {
        return 0;
    }
    let record: Value = serde_json::from_str(line).unwrap();
    if record["kind"] == "summary" { record["count"].as_str().unwrap().parse().unwrap() } else { 0 }
}
