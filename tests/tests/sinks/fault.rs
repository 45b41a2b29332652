//! D1: what goes wrong on the way, and what receivers do, one row each; with one sink and beside two healthy ones.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use sigtrail::deliver::Orders;
use sigtrail::sealed::{is_seal, number_in};
use sigtrail::sink::{HttpConfig, HttpSink, Sink};
use tests::fault::{Fault, Proxy, Request};
use tests::nginx::{self, Nginx, Tls};

use crate::{Host, ORIGIN, Running, batch, batches, file_sink, files, text, unpack};

/// A fault that begins while batches are delivered, and ends.
struct Case {
    name: &'static str,
    /// Whether the sink speaks TLS.
    tls: bool,
    fault: Fault,
    /// What the sink says of it; nothing when it copes.
    words: Option<&'static str>,
    /// Shortest time from the fault to the delivery, whenever the fault ends.
    waits: Duration,
}

const NONE: Duration = Duration::ZERO;
const ALL: fn(&Request) -> bool = |_| true;
const LARGE: fn(&Request) -> bool = |request| request.body > 2000;
const ZSTD: fn(&Request) -> bool = |request| request.head.contains("content-encoding: zstd");

const fn way(name: &'static str, fault: Fault, words: &'static str) -> Case {
    Case { name, tls: true, fault, words: Some(words), waits: NONE }
}

const fn says(
    name: &'static str,
    when: fn(&Request) -> bool,
    answer: &'static str,
    words: Option<&'static str>,
) -> Case {
    Case { name, tls: false, fault: Fault::Answer(when, answer), words, waits: NONE }
}

const CASES: &[Case] = &[
    way("the connection is taken and nobody reads", Fault::Deaf, "timed out"),
    way("everything is read and nothing said", Fault::Mute, "timed out"),
    way("reset before the handshake", Fault::Reset(1), "Connect"),
    Case { tls: false, ..way("reset in the midst of a body", Fault::Reset(500), "error sending request") },
    way("a byte a second", Fault::Drip, "timed out"),
    Case { tls: false, ..way("a byte a second without TLS", Fault::Drip, "timed out") },
    Case { tls: false, ..way("the answer is lost", Fault::CutAnswer(0), "error sending request") },
    Case { tls: false, ..way("half of an answer", Fault::CutAnswer(12), "error sending request") },
    Case {
        tls: false,
        ..way("100 Continue, and nothing more", Fault::Say("HTTP/1.1 100 Continue\r\n\r\n"), "timed out")
    },
    Case { tls: false, ..way("another protocol", Fault::Say("SSH-2.0-OpenSSH_9.2\r\n"), "error sending request") },
    says(
        "429 for a second",
        ALL,
        "HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        Some("HTTP 429"),
    )
    .waiting(Duration::from_secs(1)),
    says(
        "429 until a time that was",
        ALL,
        "HTTP/1.1 429 Too Many\r\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n",
        Some("HTTP 429"),
    ),
    says(
        "429 for nonsense",
        ALL,
        "HTTP/1.1 429 Too Many\r\nretry-after: -1e9 soon\r\ncontent-length: 0\r\n\r\n",
        Some("HTTP 429"),
    ),
    says("503", ALL, "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", Some("HTTP 503: busy")),
    says("401", ALL, "HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n", Some("HTTP 401")),
    says("413 to more than a few", LARGE, "HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n", None),
    says("415 to zstd", ZSTD, "HTTP/1.1 415 What\r\ncontent-length: 0\r\n\r\n", None),
    says(
        "301 to itself",
        ALL,
        "HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
        Some("redirects are not followed"),
    ),
    says(
        "an answer without an end",
        ALL,
        "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nbusy",
        Some("HTTP 503"),
    ),
];

impl Case {
    const fn waiting(mut self, waits: Duration) -> Self {
        self.waits = waits;
        self
    }
}

/// A sink whose times are short.
fn sink(url: String, change: impl FnOnce(&mut HttpConfig)) -> Sink {
    let ms = Duration::from_millis;
    let mut config = HttpConfig { url, connect_timeout: ms(400), timeout: ms(400), ..HttpConfig::default() };
    change(&mut config);
    Sink::Http(Box::new(HttpSink::new("http".to_owned(), config, ORIGIN).unwrap()))
}

/// The batches that a receiver said yes to, one by one.
pub fn taken(nginx: &Nginx, mut batch: impl FnMut(u64, &[u8])) {
    for path in nginx.accepted() {
        let body = unpack(&path);
        let (mut from, mut at) = (0, 0);
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            at += line.len();
            if is_seal(line) {
                batch(number_in(line).unwrap(), &body[from..at]);
                from = at;
            }
        }
        assert_eq!(from, body.len(), "half a batch in {}", path.display());
    }
}

/// What a receiver has: each batch as it was sealed, the first time in order. How often one came again.
fn exactly(nginx: &Nginx, name: &str, last: u64) -> usize {
    let (mut next, mut again) = (0, 0);
    taken(nginx, |number, bytes| {
        assert_eq!(text(bytes), text(&batch(number)), "{name}: batch {number}");
        assert!(number <= next, "{name}: batch {number} before {next}");
        again += usize::from(number < next);
        next = next.max(number + 1);
    });
    assert_eq!(next, last + 1, "{name}");
    again
}

/// One fault, with the other sinks or without.
async fn play(case: &Case, others: bool) {
    let name = case.name;
    let mut host = Host::new();
    let nginx =
        host.nginx(&nginx::Options { tls: if case.tls { Tls::Modern } else { Tls::No }, ..nginx::Options::default() });
    let proxy = Proxy::start(nginx.address()).await.unwrap();
    let url = format!("{}://{}/", if case.tls { "https" } else { "http" }, proxy.address());
    let running = host.deliver(sink(url, |config| config.ca_file = Some(nginx.ca_file())));
    let healthy = if others {
        let dir = host.path("healthy");
        fs::create_dir(&dir).unwrap();
        let healthy = Nginx::start(&dir, &nginx::Options::default()).unwrap();
        let sink = Host::http_named("healthy", &healthy, |_| {});
        Some((host.deliver(sink), host.deliver(file_sink("file", files(&host))), healthy))
    } else {
        None
    };
    host.append(0..5);
    running.delivered(4).await;

    let began = Instant::now();
    proxy.play(case.fault);
    host.append(5..40);
    if let Some(words) = case.words {
        let report = running.trouble(words).await;
        assert_eq!(report.cursor, Some(4), "{name}: {report:?}");
    }
    if let Some((http, file, _)) = &healthy {
        for other in [http, file] {
            let report = other.delivered(39).await;
            assert_eq!((report.retries, report.trouble), (0, None), "{name}");
        }
        assert!(case.words.is_none() || running.status.report().cursor == Some(4), "{name}");
    }
    host.append(40..45);
    if case.words.is_none() {
        running.delivered(44).await;
    }
    proxy.play(Fault::None);
    let report = running.delivered(44).await;
    assert!(began.elapsed() >= case.waits, "{name}: {:?}", began.elapsed());
    assert_eq!((report.missed, &report.trouble), (0, &None), "{name}");
    let again = exactly(&nginx, name, 44);
    if let Some((http, file, healthy)) = healthy {
        for other in [&http, &file] {
            other.delivered(44).await;
        }
        assert_eq!(exactly(&healthy, name, 44), 0, "{name}: the other sink sent twice");
        assert_eq!(text(&fs::read(host.path("log/audit.ndjson")).unwrap()), text(&batches(0..45)), "{name}");
    }
    let came_again = case.name == "the answer is lost" || case.name == "half of an answer";
    assert_eq!(again > 0, came_again, "{name}");
    assert!(host.gaps.take().is_empty(), "{name}");
    host.orders.send_replace(Orders { stop: true, reopen: 0 });
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn each_fault_loses_nothing() {
    for case in CASES {
        play(case, false).await;
    }
}

#[tokio::test]
async fn each_fault_loses_nothing_and_stops_no_other_sink() {
    for case in CASES {
        play(case, true).await;
    }
}

/// Servers that are not the one that was meant: as above, but another real one answers.
#[tokio::test]
async fn no_wrong_server_gets_a_batch() {
    let options = nginx::Options::default;
    let wrong = [
        ("a certificate that is over", nginx::Options { certificate: "expired", ..options() }, "certificate expired"),
        ("the certificate of another", nginx::Options { certificate: "other", ..options() }, "not valid for name"),
        ("TLS 1.1 only", nginx::Options { tls: Tls::Old, ..options() }, "ProtocolVersion"),
        ("no TLS at all", nginx::Options { tls: Tls::No, ..options() }, "InvalidContentType"),
    ];
    for (name, options, words) in wrong {
        let mut host = Host::new();
        let nginx = host.nginx(&nginx::Options::default());
        let dir = host.path("wrong");
        fs::create_dir(&dir).unwrap();
        for file in fs::read_dir(host.path("nginx")).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|end| end == "pem" || end == "key") {
                fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
            }
        }
        let wrong = Nginx::start(&dir, &options).unwrap();
        let proxy = Proxy::start(nginx.address()).await.unwrap();
        let url = format!("https://{}/", proxy.address());
        let running = host.deliver(sink(url, |config| config.ca_file = Some(nginx.ca_file())));
        host.append(0..5);
        running.delivered(4).await;
        proxy.play(Fault::Elsewhere(wrong.address()));
        host.append(5..10);
        let report = running.trouble(words).await;
        assert_eq!(report.cursor, Some(4), "{name}");
        proxy.play(Fault::None);
        running.delivered(9).await;
        exactly(&nginx, name, 9);
        assert!(wrong.bodies().is_empty(), "{name}");
    }
}

/// A cable that is cut: no end of the connection, no reset, no word from a router. In a network of its own, whose
/// loopback drops every packet (a queue with room for one byte).
#[test]
fn a_host_that_vanishes_is_given_up_and_found_again() {
    let away = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("this test makes a network: run it as root");
        let network = |words: &str| {
            let mut words = words.split(' ');
            let done = Command::new(words.next().unwrap()).args(words).status().unwrap();
            assert!(done.success());
        };
        network("ip link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut host = Host::new();
            let nginx = host.nginx(&nginx::Options::default());
            let running = host.deliver(Host::http(&nginx, |config| {
                (config.peer_timeout, config.connect_timeout) = (Duration::from_secs(1), Duration::from_millis(300));
            }));
            host.append(0..5);
            running.delivered(4).await;
            network("tc qdisc add dev lo root bfifo limit 1");
            host.append(5..10);
            // the time for a whole request is 30 s: it was TCP_USER_TIMEOUT that ended the first, before any connect
            let began = Instant::now();
            let report = running.until("failing", |report| report.retries == 1).await;
            assert!(report.trouble.as_ref().is_some_and(|why| why.contains("os error 110")), "{report:?}");
            assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
            running.trouble("Connect").await;
            network("tc qdisc del dev lo root");
            running.delivered(9).await;
            exactly(&nginx, "cut", 9);
        });
    });
    away.join().unwrap();
}

/// RFC 6761 keeps `.invalid` for names that nobody has, so no name server is asked.
#[tokio::test]
async fn a_name_that_nobody_has_is_trouble_that_passes() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    host.append(0..5);
    let lost = host.deliver(sink("https://receiver.invalid/".to_owned(), |config| {
        config.ca_file = Some(nginx.ca_file());
    }));
    let report = lost.until("tried", |report| report.retries >= 3).await;
    assert!(!report.needs_operator && report.trouble.as_ref().unwrap().contains("dns"), "{report:?}");
    lost.task.abort();
    let running = host.deliver(Host::http(&nginx, |_| {}));
    running.delivered(4).await;
    exactly(&nginx, "dns", 4);
}

/// How long the healthy sink needs for each of some batches: the time that 99 of 100 keep.
async fn p99(host: &mut Host, healthy: &Running, next: &mut u64) -> Duration {
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        host.append([*next]);
        let mut status = healthy.status.report();
        while status.cursor != Some(*next) {
            tokio::time::sleep(Duration::from_micros(200)).await;
            status = healthy.status.report();
        }
        times.push(began.elapsed());
        *next += 1;
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Side by side, round after round: without and with two sinks that are dead. Measured, so only in the long run.
#[tokio::test]
#[ignore = "measures time"]
async fn dead_sinks_do_not_slow_a_healthy_one() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let healthy = host.deliver(Host::http(&nginx, |_| {}));
    let proxy = Proxy::start(nginx.address()).await.unwrap();
    let mut next = 0;
    let mut ratios = Vec::new();
    for round in 0..7 {
        let without = p99(&mut host, &healthy, &mut next).await;
        proxy.play(if round % 2 == 0 { Fault::Mute } else { Fault::Deaf });
        let dead: Vec<Running> = ["one", "two"]
            .map(|name| {
                let config = HttpConfig {
                    url: format!("https://{}/", proxy.address()),
                    ca_file: Some(nginx.ca_file()),
                    connect_timeout: Duration::from_millis(400),
                    ..HttpConfig::default()
                };
                host.deliver(Sink::Http(Box::new(HttpSink::new(name.to_owned(), config, ORIGIN).unwrap())))
            })
            .into();
        for sink in &dead {
            sink.trouble("timed out").await;
        }
        let with = p99(&mut host, &healthy, &mut next).await;
        println!("p99 {without:?} alone, {with:?} beside two dead sinks");
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
        for sink in dead {
            assert_eq!(sink.status.report().cursor, None);
            sink.task.abort();
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("median of {} rounds: {median:.2}", ratios.len());
    assert!(median < 2.0, "{ratios:?}");
}
