//! D2: hosts and receivers, each pair with faults of its own at random; the history of each receiver is judged at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;
use sigtrail::sink::{HttpConfig, HttpSink, Sink};
use sigtrail::spool::Appended;
use tests::fault::{Fault, Proxy};
use tests::nginx::{self, Nginx};

use crate::fault::taken;
use crate::{Host, Running, text};

const HOSTS: usize = 4;
const RECEIVERS: usize = 3;
/// Longest time to the last delivery when the faults are over.
const LIVE: Duration = Duration::from_mins(1);

const FAULTS: &[Fault] = &[
    Fault::Deaf,
    Fault::Mute,
    Fault::Reset(1),
    Fault::Reset(700),
    Fault::Drip,
    Fault::CutAnswer(0),
    Fault::CutAnswer(9),
    Fault::Say("HTTP/1.1 100 Continue\r\n\r\n"),
    Fault::Answer(|_| true, "HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
    Fault::Answer(|_| true, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
    Fault::Answer(|_| true, "HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n"),
    Fault::Answer(|_| true, "HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
    Fault::Answer(|request| request.body > 1500, "HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n"),
    Fault::Answer(|request| request.head.contains(": zstd"), "HTTP/1.1 415 What\r\ncontent-length: 0\r\n\r\n"),
];

/// A host with its sinks, one for each receiver behind a proxy.
struct Sender {
    host: Host,
    origin: String,
    ways: Vec<(Proxy, Running)>,
    /// What was sealed: every byte of it.
    sealed: Vec<Vec<u8>>,
}

impl Sender {
    async fn start(at: usize, receivers: &[Nginx]) -> Self {
        let (host, origin) = (Host::new(), format!("host-{at}.example/sigtrail"));
        let mut sender = Self { host, origin, ways: Vec::new(), sealed: Vec::new() };
        for (to, receiver) in receivers.iter().enumerate() {
            let proxy = Proxy::start(receiver.address()).await.unwrap();
            let running = sender.deliver(to, &proxy);
            sender.ways.push((proxy, running));
        }
        sender
    }

    fn deliver(&self, to: usize, proxy: &Proxy) -> Running {
        let short = Duration::from_millis(300);
        let url = format!("http://{}/", proxy.address());
        let config = HttpConfig { url, connect_timeout: short, timeout: short, ..HttpConfig::default() };
        let sink = HttpSink::new(format!("to-{to}"), config, &self.origin).unwrap();
        self.host.deliver(Sink::Http(Box::new(sink)))
    }

    /// The next batch, with events that no other one has.
    fn seal(&mut self, random: &mut Rng) {
        let number = self.sealed.len() as u64;
        let mut batch = String::new();
        for _ in 0..random.usize(0..20) {
            writeln!(batch, "{{\"id\":\"{:016x}\"}}", random.u64(..)).unwrap();
        }
        let header = format!(r"sigtrail/batch/v1\norigin {}\nbatch {number}\nprev AA==\n", self.origin);
        writeln!(batch, "{{\"sigtrail\":\"seal/v1\",\"header\":\"{header}\",\"proof\":\"\"}}").unwrap();
        assert_eq!(self.host.spool.append(number, batch.as_bytes()).unwrap(), Appended::default());
        self.host.head.send_replace(Some(number));
        self.sealed.push(batch.into_bytes());
    }
}

/// Plays for so long, then waits until all is delivered, and judges.
async fn play(seed: u64, time: Duration) {
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let options = nginx::Options { tls: nginx::Tls::No, ..nginx::Options::default() };
    let start = |at: usize, port: u16| {
        let dir = dir.path().join(format!("receiver-{at}"));
        fs::create_dir_all(&dir).unwrap();
        Nginx::start(&dir, &nginx::Options { port, ..options.clone() }).unwrap()
    };
    let mut receivers: Vec<Nginx> = (0..RECEIVERS).map(|at| start(at, 0)).collect();
    let mut senders = Vec::new();
    for at in 0..HOSTS {
        senders.push(Sender::start(at, &receivers).await);
    }
    let (mut faults, mut crashes, mut restarts) = (0, 0, 0);
    let end = Instant::now() + time;
    while Instant::now() < end {
        let (at, to) = (random.usize(..HOSTS), random.usize(..RECEIVERS));
        match random.u32(..100) {
            0 => {
                let gone = receivers.remove(to);
                let port = gone.port();
                drop(gone);
                receivers.insert(to, start(to, port));
                restarts += 1;
            }
            // the agent is killed: what it knew of this sink is gone but for the cursor
            1..5 => {
                let (proxy, running) = senders[at].ways.remove(to);
                running.task.abort();
                assert!(running.task.await.is_err(), "a delivery ended by itself");
                let running = senders[at].deliver(to, &proxy);
                senders[at].ways.insert(to, (proxy, running));
                crashes += 1;
            }
            5..15 => {
                senders[at].ways[to].0.play(FAULTS[random.usize(..FAULTS.len())]);
                faults += 1;
            }
            15..25 => senders[at].ways[to].0.play(Fault::None),
            _ => senders[at].seal(&mut random),
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
    }
    for (proxy, _) in senders.iter().flat_map(|sender| &sender.ways) {
        proxy.play(Fault::None);
    }
    let late = Instant::now() + LIVE;
    for sender in &senders {
        let last = sender.sealed.len().checked_sub(1).map(|last| last as u64);
        for (_, running) in &sender.ways {
            while running.status.report().cursor != last {
                let report = running.status.report();
                assert!(Instant::now() < late, "seed {seed}: {last:?} is not delivered: {report:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert!(sender.host.gaps.take().is_empty(), "seed {seed}: something was given up");
    }
    let mut again = 0;
    for receiver in &receivers {
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        taken(receiver, |number, bytes| {
            let from = senders.iter().find(|sender| text(bytes).contains(&format!(r"\norigin {}\n", sender.origin)));
            let from = from.unwrap_or_else(|| panic!("seed {seed}: of nobody: {}", text(bytes)));
            let next = next.entry(&from.origin).or_default();
            let sealed = from.sealed.get(number as usize).map(|sealed| text(sealed));
            assert_eq!(sealed, Some(text(bytes)), "seed {seed}: {} altered or made up", from.origin);
            assert!(number <= *next, "seed {seed}: {} batch {number} before {next}", from.origin);
            again += u64::from(number < *next);
            *next = (*next).max(number + 1);
        });
        for sender in &senders {
            let has = next.get(&*sender.origin).copied().unwrap_or_default();
            assert_eq!(has, sender.sealed.len() as u64, "seed {seed}: lost of {}", sender.origin);
        }
    }
    let sealed: usize = senders.iter().map(|sender| sender.sealed.len()).sum();
    println!(
        "{sealed} batches to {RECEIVERS} receivers, {faults} faults, {crashes} crashes, {restarts} restarts: {again} again"
    );
    assert!(faults > 0 && again > 0 && crashes > 0, "seed {seed}: nothing went wrong");
}

#[tokio::test]
async fn fifteen_seconds_of_faults_lose_nothing() {
    play(fastrand::u64(..), Duration::from_secs(15)).await;
}

#[tokio::test]
#[ignore = "takes SIGTRAIL_STRESS_SECONDS, or ten minutes"]
async fn ten_minutes_of_faults_lose_nothing() {
    let told = std::env::var("SIGTRAIL_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    play(fastrand::u64(..), Duration::from_secs(told.unwrap_or(600))).await;
}
