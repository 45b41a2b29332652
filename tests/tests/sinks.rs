//! From the spool to real receivers: nginx with TLS, files, a full disk.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seal::GapReason;
use sigtrail::deliver::{self, Gaps, Orders, Pace, Report, Status, Way, quarantine_of};
use sigtrail::sealed::Batch;
use sigtrail::sink::{FileConfig, FileSink, HttpConfig, HttpSink, Outcome, Sink};
use sigtrail::spool::{Appended, Options, Spool, SpoolError, Sync};
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
            pace: self.pace,
        };
        Running { status, task: tokio::spawn(deliver::run(sink, way)) }
    }

    fn http(&self, nginx: &Nginx, change: impl FnOnce(&mut HttpConfig)) -> Sink {
        let mut config = HttpConfig { url: nginx.url(), ca_file: Some(nginx.ca_file()), ..HttpConfig::default() };
        change(&mut config);
        Sink::Http(Box::new(HttpSink::new("http".to_owned(), config, ORIGIN).unwrap()))
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

#[tokio::test]
async fn what_is_appended_arrives_in_order() {
    for http2 in [false, true] {
        arrives_in_order(&nginx::Options { http2, ..nginx::Options::default() }).await;
    }
}

async fn arrives_in_order(options: &nginx::Options) {
    let mut host = Host::new();
    let nginx = host.nginx(options);
    host.append(0..50);
    let running = host.deliver(host.http(&nginx, |_| {}));
    running.delivered(49).await;
    for number in 50..60 {
        host.append([number]);
        running.delivered(number).await;
    }
    assert_eq!(text(&received(&nginx)), text(&batches(0..60)));
    let report = running.status.report();
    assert_eq!((report.lag, report.batches, report.retries, report.trouble), (0, 60, 0, None));
    // What the receiver is told about the first body is true of it.
    let first = nginx.requests().remove(0);
    let said: Vec<&str> = first.split(' ').collect();
    let sum = Command::new("sh")
        .args(["-c", "openssl dgst -sha256 -binary \"$0\" | base64"])
        .arg(&nginx.bodies()[0])
        .output();
    let sum = text(&sum.unwrap().stdout);
    assert_eq!(said[..3], ["204", "0-49", "zstd"]);
    assert_eq!(said[3], format!("sha-256=:{}:", sum.trim()));
    assert!(said[4].ends_with(":0-49") && said[4].len() == 32 + 5, "{}", said[4]);
    // A stop ends the task, and the next start repeats nothing.
    host.orders.send_replace(Orders { stop: true, reopen: 0 });
    running.task.await.unwrap().unwrap();
    host.orders.send_replace(Orders::default());
    host.append([60]);
    host.deliver(host.http(&nginx, |_| {})).delivered(60).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..=60)));
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_everything() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let running = host.deliver(host.http(&nginx, |_| {}));
    host.append(0..3);
    running.delivered(2).await;
    let options = nginx::Options { port: nginx.port(), ..nginx::Options::default() };
    drop(nginx);
    host.append(3..30);
    let report = running.until("failing", |report| report.retries >= 3).await;
    assert_eq!(report.cursor, Some(2));
    let nginx = host.nginx(&options);
    running.delivered(29).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..30)));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_until_it_is_replaced() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let other = host.path("other");
    fs::create_dir(&other).unwrap();
    nginx::ca::write(&other).unwrap();
    let ca = other.join("ca.pem");
    host.append(0..5);
    let running = host.deliver(host.http(&nginx, |config| config.ca_file = Some(ca.clone())));
    let report = running.trouble("certificate").await;
    assert_eq!(report.cursor, None, "{report:?}");
    assert!(received(&nginx).is_empty());
    fs::copy(nginx.ca_file(), &ca).unwrap();
    running.delivered(4).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
}

#[tokio::test]
async fn a_token_can_be_replaced_while_it_runs() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { token: Some("right-1".to_owned()), ..nginx::Options::default() });
    let token = host.path("token");
    fs::write(&token, "wrong-1\n").unwrap();
    let sink = host.http(&nginx, |config| config.token_file = Some(token.clone()));
    assert!(!format!("{sink:?}").contains("wrong-1"));
    host.append(0..5);
    let running = host.deliver(sink);
    let report = running.trouble("401").await;
    assert!(report.needs_operator && !format!("{report:?}").contains("wrong-1"), "{report:?}");
    fs::remove_file(&token).unwrap();
    running.trouble("token").await;
    fs::write(&token, "right-1\n").unwrap();
    running.delivered(4).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_it_is_asked_for() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { mutual_tls: true, ..nginx::Options::default() });
    host.append(0..5);
    let without = host.deliver(host.http(&nginx, |_| {}));
    without.trouble("No required SSL certificate").await;
    without.task.abort();
    let running = host.deliver(host.http(&nginx, |config| {
        config.client_cert_file = Some(nginx.ca_file().with_file_name("client.pem"));
        config.client_key_file = Some(nginx.ca_file().with_file_name("client.key"));
    }));
    running.delivered(4).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
    assert!(host.gaps.take().is_empty());
}

#[tokio::test]
async fn a_body_too_large_is_halved_and_a_batch_too_large_is_put_aside() {
    let mut host = Host::new();
    let most = batch(0).len() as u64 * 5;
    let nginx = host.nginx(&nginx::Options { body_max: most, ..nginx::Options::default() });
    host.append(0..20);
    let huge = batch(20).repeat(6);
    assert_eq!(host.spool.append(20, &huge).unwrap(), Appended::default());
    host.append(21..25);
    let running = host.deliver(host.http(&nginx, |config| config.encoding = sigtrail::sink::http::Encoding::Identity));
    let report = running.delivered(24).await;
    assert_eq!(text(&received(&nginx)), text(&batches((0..20).chain(21..25))));
    assert_eq!(report.missed, 1);
    let gaps = host.gaps.take();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].reason), (20, 20, GapReason::Quarantine));
    let kept = quarantine_of(&host.path("spool"), "http");
    assert_eq!(fs::read(kept.join("20.ndjson")).unwrap(), huge);
    assert!(fs::read_to_string(kept.join("20.answer")).unwrap().starts_with("413\n"));
}

#[tokio::test]
async fn one_batch_that_is_refused_for_good_does_not_stop_the_others() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { refuse: Some("^0-9$|^7-7$".to_owned()), ..nginx::Options::default() });
    host.append(0..10);
    let running = host.deliver(host.http(&nginx, |_| {}));
    let report = running.delivered(9).await;
    assert_eq!(text(&received(&nginx)), text(&batches((0..7).chain(8..10))));
    assert_eq!((report.missed, report.retries), (1, 2), "offered three times");
    let gaps = host.gaps.take();
    assert_eq!((gaps.len(), gaps[0].from, gaps[0].to), (1, 7, 7));
    let kept = quarantine_of(&host.path("spool"), "http");
    assert_eq!(fs::read(kept.join("7.ndjson")).unwrap(), batch(7));
    assert!(fs::read_to_string(kept.join("7.answer")).unwrap().starts_with("422\n"));
}

#[tokio::test]
async fn what_the_spool_lost_is_told_and_the_rest_delivered() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    host.append(0..10);
    let running = host.deliver(host.http(&nginx, |_| {}));
    running.delivered(9).await;
    host.orders.send_replace(Orders { stop: true, reopen: 0 });
    running.task.await.unwrap().unwrap();
    host.orders.send_replace(Orders::default());
    host.append(10..15);
    let segment = host.path("spool").join("seg-00000000000000000000.stl");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 15 * 12 + 30;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    host.deliver(host.http(&nginx, |_| {})).delivered(14).await;
    assert_eq!(text(&received(&nginx)), text(&batches((0..12).chain(13..15))));
    let gaps = host.gaps.take();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].reason), (12, 12, GapReason::Lag));
}

#[tokio::test]
async fn a_busy_receiver_is_asked_again_when_it_says_so() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    nginx.set_busy(true).unwrap();
    host.append(0..5);
    let began = Instant::now();
    let running = host.deliver(host.http(&nginx, |_| {}));
    running.trouble("503").await;
    nginx.set_busy(false).unwrap();
    running.delivered(4).await;
    // The backoff of this test is at most 50 ms: it was Retry-After that waited.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(text(&received(&nginx)), text(&batches(0..5)));
}

#[tokio::test]
async fn a_receiver_without_zstd_gets_gzip() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { no_zstd: true, ..nginx::Options::default() });
    host.append(0..5);
    let running = host.deliver(host.http(&nginx, |_| {}));
    running.delivered(4).await;
    host.append(5..8);
    let report = running.delivered(7).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..8)));
    assert_eq!(report.retries, 0);
    assert!(nginx.bodies().iter().all(|path| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])));
}

#[tokio::test]
async fn a_rate_limit_slows_and_loses_nothing() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options { rate: Some(20), ..nginx::Options::default() });
    host.append(0..8);
    let running = host.deliver(host.http(&nginx, |config| config.max_body_bytes = 1));
    let report = running.delivered(7).await;
    assert!(report.retries > 0);
    assert_eq!(text(&received(&nginx)), text(&batches(0..8)));
}

/// D1, the silent ones: a receiver that takes the connection and never answers, and one that ends in the middle.
#[tokio::test]
async fn a_receiver_that_says_nothing_stops_no_one_else() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let config = HttpConfig { url, request_seconds: 1, ..HttpConfig::default() };
    let sink = HttpSink::new("silent".to_owned(), config, ORIGIN).unwrap();
    let dead = host.deliver(Sink::Http(Box::new(sink)));
    let healthy = host.deliver(host.http(&nginx, |_| {}));
    host.append(0..20);
    healthy.delivered(19).await;
    let file = host.deliver(Sink::File(Box::new(FileSink::new("file".to_owned(), files(&host)))));
    file.delivered(19).await;
    dead.trouble("timed out").await;
    // Now it hangs up in the middle of an answer, and then answers: nothing is lost, the half answer was none.
    let (mut first, _) = silent.accept().await.unwrap();
    for half in ["HTTP/1.1 20", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
        let (mut stream, _) = silent.accept().await.unwrap();
        tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 65536]).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, half.as_bytes()).await.unwrap();
    }
    dead.delivered(19).await;
    assert!(tokio::io::AsyncReadExt::read(&mut first, &mut [0; 65536]).await.unwrap() > 0);
    assert_eq!(text(&received(&nginx)), text(&batches(0..20)));
}

fn files(host: &Host) -> FileConfig {
    FileConfig { dir: host.path("log"), ..FileConfig::default() }
}

fn sealed(numbers: impl IntoIterator<Item = u64>) -> Vec<Batch> {
    numbers.into_iter().map(|number| Batch { number, bytes: batch(number).into() }).collect()
}

async fn write(sink: &mut FileSink, numbers: impl IntoIterator<Item = u64>) -> Option<String> {
    match sink.send(&sealed(numbers)).await {
        Outcome::Delivered { note } => note,
        other => panic!("{other:?}"),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn files_are_rotated_at_batches_and_compressed() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let host = Host::new();
    let rotate_bytes = batch(0).len() as u64 * 3;
    let config = FileConfig { rotate_bytes, group: Some("adm".to_owned()), ..files(&host) };
    let mut sink = FileSink::new("file".to_owned(), config.clone());
    for number in 0..8 {
        write(&mut sink, [number]).await;
        sink.tidied().await.unwrap();
    }
    let dir = host.path("log");
    let rotated = [
        "audit-00000000000000000000-00000000000000000002.ndjson.zst",
        "audit-00000000000000000003-00000000000000000005.ndjson.zst",
    ];
    assert_eq!(names(&dir), [rotated[0], rotated[1], "audit.ndjson"]);
    let all: Vec<u8> = names(&dir).iter().flat_map(|name| unpack(&dir.join(name))).collect();
    assert_eq!(text(&all), text(&batches(0..8)));
    for name in names(&dir) {
        let about = fs::metadata(dir.join(&name)).unwrap();
        assert_eq!((about.permissions().mode() & 0o7777, about.gid()), (0o640, 4), "{name}");
    }
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o027, 0);
    // A limit removes the oldest, and files of others stay.
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let mut sink = FileSink::new("file".to_owned(), FileConfig { keep_files: Some(1), ..config });
    write(&mut sink, [8]).await;
    sink.tidied().await.unwrap();
    assert_eq!(names(&dir), [rotated[1], "audit.ndjson", "notes.txt"]);
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_written_again_and_nothing_twice() {
    let host = Host::new();
    let path = host.path("log").join("audit.ndjson");
    fs::create_dir(host.path("log")).unwrap();
    let (whole, torn) = (batches(0..2), batch(2));
    for end in 0..=torn.len() {
        fs::write(&path, [&whole, &torn[..end]].concat()).unwrap();
        let mut sink = FileSink::new("file".to_owned(), files(&host));
        // The cursor was moved to 0 before the crash: 1 and 2 come again.
        let note = write(&mut sink, 1..4).await;
        assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(0..4)), "torn at {end}");
        assert_eq!(note.is_some(), end > 0 && end < torn.len(), "torn at {end}: {note:?}");
    }
}

#[tokio::test]
async fn logrotate_may_rename_and_is_seen_to_cut() {
    let host = Host::new();
    let (path, moved) = (host.path("log").join("audit.ndjson"), host.path("log").join("audit.1"));
    let mut sink = FileSink::new("file".to_owned(), files(&host));
    assert_eq!(write(&mut sink, 0..3).await, None);
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "").unwrap(); // logrotate `create`
    assert_eq!(write(&mut sink, 3..5).await, None);
    fs::remove_file(&path).unwrap();
    assert_eq!(write(&mut sink, 5..6).await, None);
    sink.reopen();
    assert_eq!(write(&mut sink, 6..8).await, None);
    assert_eq!(text(&fs::read(&moved).unwrap()), text(&batches(0..3)));
    assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(5..8)));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap(); // `copytruncate`
    let note = write(&mut sink, 8..9).await.unwrap();
    assert!(note.contains("copytruncate"), "{note}");
    assert_eq!(text(&fs::read(&path).unwrap()), text(&batches(8..9)));
    // A link in the place of the file is not followed.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&moved, &path).unwrap();
    assert!(matches!(sink.send(&sealed(9..10)).await, Outcome::Retry { .. }));
    assert_eq!(text(&fs::read(&moved).unwrap()), text(&batches(0..3)));
}

/// A file system of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs: run it as root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Writes to a file until the disk is full.
fn fill(path: &Path) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let error = loop {
        if let Err(error) = std::io::Write::write_all(&mut file, &[7; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

/// C6: the disk is full while the sinks are down, then it is not.
#[tokio::test]
async fn a_full_disk_costs_the_oldest_and_says_which() {
    let mut host = Host::new();
    let disk = SmallDisk::mount(host.path("disk"), "1m");
    let at = disk.0.join("spool");
    // Bytes that do not compress.
    let noise = |number: u64| {
        let mut state = number + 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..2500).flat_map(next).chain(batch(number)).collect::<Vec<u8>>()
    };
    let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut spool, _) = Spool::open(options(&at)).unwrap();
    let mut evicted = 0;
    for number in 0..200 {
        let bytes = noise(number);
        for range in spool.append(number, &bytes).unwrap().evicted {
            assert_eq!(range.from, evicted);
            evicted = range.to + 1;
        }
        kept.push((number, bytes));
    }
    assert!(evicted > 100 && evicted < 190, "{evicted}");
    // Another fills what is left: the spool gives what it has, then refuses, then goes on as if nothing had been.
    let mut number = 200;
    let mut ballast_used = false;
    loop {
        fill(&disk.0.join("other"));
        let bytes = noise(number);
        match spool.append(number, &bytes) {
            Ok(done) => {
                evicted = done.evicted.last().map_or(evicted, |range| range.to + 1);
                ballast_used |= done.ballast_used;
                kept.push((number, bytes));
                number += 1;
            }
            Err(SpoolError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ballast_used || !at.join("ballast").exists());
    fs::remove_file(disk.0.join("other")).unwrap();
    let bytes = noise(number);
    let done = spool.append(number, &bytes).unwrap();
    evicted = done.evicted.last().map_or(evicted, |range| range.to + 1);
    kept.push((number, bytes));
    drop(spool);
    let (spool, recovery) = Spool::open(options(&at)).unwrap();
    assert_eq!((recovery.last.unwrap().number, recovery.cut), (number, 0));
    let mut reader = spool.reader(Some(0));
    let mut expected = kept.into_iter().filter(|(number, _)| *number >= evicted);
    assert_eq!(reader.next().unwrap(), sigtrail::spool::Next::Gap { from: 1, to: evicted - 1 });
    while let sigtrail::spool::Next::Batch(found) = reader.next().unwrap() {
        let (number, bytes) = expected.next().unwrap();
        assert!(found.number == number && found.bytes == bytes, "{number}");
    }
    assert!(expected.next().is_none());

    // A file sink on the full disk waits, one on another disk does not.
    fill(&disk.0.join("other"));
    host.append(0..10);
    let config = FileConfig { dir: disk.0.join("log"), ..FileConfig::default() };
    let waiting = host.deliver(Sink::File(Box::new(FileSink::new("full".to_owned(), config))));
    let other = host.deliver(Sink::File(Box::new(FileSink::new("other".to_owned(), files(&host)))));
    other.delivered(9).await;
    waiting.trouble("No space left").await;
    fs::remove_file(disk.0.join("other")).unwrap();
    waiting.delivered(9).await;
    assert_eq!(text(&fs::read(disk.0.join("log/audit.ndjson")).unwrap()), text(&batches(0..10)));
    for running in [waiting, other] {
        running.task.abort();
        assert!(running.task.await.is_err());
    }
}

#[tokio::test]
async fn a_cursor_that_is_lost_or_from_another_log_repeats_and_skips_nothing() {
    let mut host = Host::new();
    host.append(0..10);
    for said in ["rubbish", "999999\n", "-1\n"] {
        let nginx = host.nginx(&nginx::Options::default());
        fs::write(host.path("spool").join("cursors/http"), said).unwrap();
        let before = received(&nginx).len();
        let running = host.deliver(host.http(&nginx, |_| {}));
        running.until("delivered", |report| report.batches == 10).await;
        assert_eq!(text(&received(&nginx)[before..]), text(&batches(0..10)));
        running.task.abort();
        assert!(running.task.await.is_err());
    }
}

#[tokio::test]
async fn in_any_sync_policy_only_what_is_announced_is_sent() {
    let mut host = Host::new();
    let interval = Sync::Interval(Duration::from_hours(1));
    let (mut spool, _) = Spool::open(Options { sync: interval, ..options(&host.path("spool")) }).unwrap();
    for number in 0..10 {
        assert_eq!(spool.append(number, &batch(number)).unwrap(), Appended::default());
    }
    host.spool = spool;
    host.head.send_replace(Some(5));
    let file = host.deliver(Sink::File(Box::new(FileSink::new("file".to_owned(), files(&host)))));
    file.delivered(5).await;
    assert_eq!(text(&fs::read(host.path("log/audit.ndjson")).unwrap()), text(&batches(0..=5)));
    host.head.send_replace(Some(9));
    file.delivered(9).await;
    assert_eq!(text(&fs::read(host.path("log/audit.ndjson")).unwrap()), text(&batches(0..10)));
}
