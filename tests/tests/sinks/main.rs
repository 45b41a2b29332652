//! From the spool to real receivers: nginx with TLS, a collector of OpenTelemetry, files, a full disk; and to strict
//! fakes of products that cannot be had here.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fake;
mod fault;
mod file;
mod full;
mod haproxy;
mod history;
mod http;
mod memory;
mod nats;
mod presets;
mod proxy;
mod reload;
mod rotel;
mod s3;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sigtrail::deliver::{self, Gaps, Orders, Pace, Receipts, Report, Status, Way};
use sigtrail::sink::{FileConfig, FileSink, HttpConfig, HttpSink, Sink};
use sigtrail::spool::{Appended, Options, Spool, SpoolError};
use tests::nginx::{self, Nginx};
use tokio::sync::watch;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A spool and deliveries from it, with short waits.
struct Host {
    dir: tempfile::TempDir,
    spool: Spool,
    head: watch::Sender<Option<u64>>,
    orders: watch::Sender<Orders>,
    gaps: Gaps,
    pace: Pace,
}

/// A delivery that runs.
struct Running {
    status: Arc<Status>,
    task: tokio::task::JoinHandle<Result<(), SpoolError>>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(options(&dir.path().join("spool"))).unwrap();
        let ms = Duration::from_millis;
        let (base, cap, slow_cap) = (ms(5), ms(50), ms(50));
        let (refused_every, look_again) = (ms(5), ms(10));
        let pace = Pace { base, cap, slow_cap, refused_every, look_again, ..Pace::default() };
        let (head, orders) = (watch::Sender::new(spool.last()), watch::Sender::new(Orders::default()));
        Self { dir, spool, head, orders, gaps: Gaps::default(), pace }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            assert_eq!(self.spool.append(number, &batch(number)).unwrap(), Appended::default());
            self.head.send_replace(Some(number));
        }
    }

    fn deliver(&self, sink: Sink) -> Running {
        let status = Arc::new(Status::default());
        let way = Way {
            spool: self.path("spool"),
            head: self.head.subscribe(),
            orders: self.orders.subscribe(),
            status: status.clone(),
            gaps: self.gaps.clone(),
            receipts: Receipts::default(),
            pace: self.pace,
        };
        Running { status, task: tokio::spawn(deliver::run(sink, way)) }
    }

    fn http(nginx: &Nginx, change: impl FnOnce(&mut HttpConfig)) -> Sink {
        Self::http_named("http", nginx, change)
    }

    fn http_named(name: &str, nginx: &Nginx, change: impl FnOnce(&mut HttpConfig)) -> Sink {
        let mut config = HttpConfig { url: nginx.url(), ca_file: Some(nginx.ca_file()), ..HttpConfig::default() };
        change(&mut config);
        Sink::Http(Box::new(HttpSink::new(name.to_owned(), config, ORIGIN).unwrap()))
    }

    fn nginx(&self, options: &nginx::Options) -> Nginx {
        let dir = self.path("nginx");
        fs::create_dir_all(&dir).unwrap();
        Nginx::start(&dir, options).unwrap()
    }
}

impl Running {
    /// Polls the state until it is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.status.report();
            if wanted(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "not {what}: {report:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn delivered(&self, batch: u64) -> Report {
        self.until(&format!("delivered up to {batch}"), |report| report.cursor == Some(batch)).await
    }

    async fn trouble(&self, words: &str) -> Report {
        let says = |report: &Report| report.trouble.as_ref().is_some_and(|why| why.contains(words));
        self.until(&format!("in trouble about `{words}`"), says).await
    }
}

const ORIGIN: &str = "audit.example.org/sigtrail/test/1";

fn options(dir: &Path) -> Options {
    Options { min_free: 0, ..Options::new(dir.to_owned()) }
}

/// A batch as sealing makes it: events, then the seal line with its number.
fn batch(number: u64) -> Vec<u8> {
    let event = format!("{{\"batch\":\"{number}\",\"type\":\"exec\"}}\n");
    let header = format!(r"sigtrail/batch/v1\norigin {ORIGIN}\nbatch {number}\nprev AA==\n");
    format!("{}{{\"sigtrail\":\"seal/v1\",\"header\":\"{header}\",\"proof\":\"\"}}\n", event.repeat(5)).into_bytes()
}

fn batches(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(batch).collect()
}

/// A body or file as it was before compression.
fn unpack(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    match bytes.get(..4) {
        Some([0x28, 0xb5, 0x2f, 0xfd]) => zstd::decode_all(&bytes[..]).unwrap(),
        Some([0x1f, 0x8b, ..]) => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        _ => bytes,
    }
}

fn received(nginx: &Nginx) -> Vec<u8> {
    nginx.bodies().iter().flat_map(|path| unpack(path)).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files(host: &Host) -> FileConfig {
    FileConfig { dir: host.path("log"), ..FileConfig::default() }
}

fn file_sink(name: &str, config: FileConfig) -> Sink {
    Sink::File(Box::new(FileSink::new(name.to_owned(), config)))
}
