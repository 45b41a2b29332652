//! nginx with TLS, and receivers that misbehave.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use seal::GapReason;
use sigtrail::deliver::{Orders, Refused, quarantine_of};
use sigtrail::sink::http::Encoding;
use sigtrail::sink::{HttpConfig, HttpSink, Sink};
use sigtrail::spool::{Appended, Options, Spool, Sync};
use tests::nginx;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Host, ORIGIN, batch, batches, file_sink, files, options, received, text};

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
    let running = host.deliver(Host::http(&nginx, |_| {}));
    running.delivered(49).await;
    for number in 50..60 {
        host.append([number]);
        running.delivered(number).await;
    }
    assert_eq!(text(&received(&nginx)), text(&batches(0..60)));
    let report = running.status.report();
    assert_eq!((report.oldest, report.batches, report.retries, report.trouble), (None, 60, 0, None));
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
    host.deliver(Host::http(&nginx, |_| {})).delivered(60).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..=60)));
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_everything() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let running = host.deliver(Host::http(&nginx, |_| {}));
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
    let running = host.deliver(Host::http(&nginx, |config| config.ca_file = Some(ca.clone())));
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
    let sink = Host::http(&nginx, |config| config.token_file = Some(token.clone()));
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
    let without = host.deliver(Host::http(&nginx, |_| {}));
    without.trouble("No required SSL certificate").await;
    without.task.abort();
    let running = host.deliver(Host::http(&nginx, |config| {
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
    let running = host.deliver(Host::http(&nginx, |config| config.encoding = Encoding::Identity));
    let report = running.delivered(24).await;
    assert_eq!(text(&received(&nginx)), text(&batches((0..20).chain(21..25))));
    assert_eq!(report.missed, 1);
    assert!(nginx.bodies().len() < 15, "one at a time is not half");
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
    let running = host.deliver(Host::http(&nginx, |_| {}));
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
async fn a_batch_that_was_refused_is_offered_again_when_an_operator_wants_it() {
    let mut host = Host::new();
    let strict = host.nginx(&nginx::Options { refuse: Some("^2-2$|^0-".to_owned()), ..nginx::Options::default() });
    host.append(0..5);
    let running = host.deliver(Host::http(&strict, |_| {}));
    running.delivered(4).await;
    let kept = quarantine_of(&host.path("spool"), "http");
    let refused = || Refused::list(&kept).unwrap();
    assert_eq!(refused().iter().map(|one| one.batch).collect::<Vec<_>>(), [0, 2]);
    for one in refused() {
        one.mark(&kept, true).unwrap();
    }

    // the running delivery sees it when it is told to look, and a refusal is no end
    host.orders.send_replace(Orders { stop: false, reopen: 1 });
    running.until("refused again", |_| refused().iter().all(|one| !one.again)).await;
    host.append([5]);
    running.delivered(5).await;
    host.orders.send_replace(Orders { stop: true, reopen: 1 });
    running.task.await.unwrap().unwrap();

    // a new one when it starts
    refused()[1].mark(&kept, true).unwrap();
    let other = host.path("other");
    fs::create_dir(&other).unwrap();
    let willing = nginx::Nginx::start(&other, &nginx::Options::default()).unwrap();
    host.orders.send_replace(Orders::default());
    let running = host.deliver(Host::http(&willing, |_| {}));
    let report = running.until("taken", |report| report.note.is_some()).await;
    assert_eq!(report.note.as_deref(), Some("batch 2, refused before, was taken"));
    let forgotten = || refused() == [Refused { batch: 0, again: false }] && !kept.join("2.answer").exists();
    running.until("forgotten", |_| forgotten()).await;
    assert_eq!(text(&received(&willing)), text(&batch(2)));
    assert!(kept.join("0.answer").exists());
}

#[tokio::test]
async fn what_the_spool_lost_is_told_and_the_rest_delivered() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    host.append(0..10);
    let running = host.deliver(Host::http(&nginx, |_| {}));
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
    host.deliver(Host::http(&nginx, |_| {})).delivered(14).await;
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
    let running = host.deliver(Host::http(&nginx, |_| {}));
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
    let running = host.deliver(Host::http(&nginx, |_| {}));
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
    let running = host.deliver(Host::http(&nginx, |config| config.max_body_bytes = 1));
    let report = running.delivered(7).await;
    assert!(report.retries > 0);
    assert_eq!(text(&received(&nginx)), text(&batches(0..8)));
}

/// D1, the silent ones: a receiver that takes the connection and says nothing, one that breaks off, one that sends on.
#[tokio::test]
async fn a_receiver_that_says_nothing_stops_no_one_else() {
    let mut host = Host::new();
    let nginx = host.nginx(&nginx::Options::default());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secs = Duration::from_secs;
    let sink = |name: &str, scheme: &str, connect, request| {
        let url = format!("{scheme}://{}/", silent.local_addr().unwrap());
        let config =
            HttpConfig { url, connect_timeout: secs(connect), timeout: secs(request), ..HttpConfig::default() };
        Sink::Http(Box::new(HttpSink::new(name.to_owned(), config, ORIGIN).unwrap()))
    };
    let deaf = host.deliver(sink("deaf", "http", 30, 1));
    let mute = host.deliver(sink("mute", "https", 1, 30));
    let healthy = host.deliver(Host::http(&nginx, |_| {}));
    host.append(0..20);
    healthy.delivered(19).await;
    host.deliver(file_sink("file", files(&host))).delivered(19).await;
    assert_eq!(text(&received(&nginx)), text(&batches(0..20)));
    deaf.trouble("operation timed out").await;
    mute.trouble("(Connect): operation timed out").await; // the handshake, not the request
}

/// D1: a receiver that hangs up, breaks off in the middle of an answer, sends on, and at last says yes.
#[tokio::test]
async fn half_an_answer_and_a_redirect_are_no_yes() {
    let mut host = Host::new();
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", receiver.local_addr().unwrap());
    let moved = format!("HTTP/1.1 301 Moved\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
    let config = HttpConfig { url, ..HttpConfig::default() };
    let sink = HttpSink::new("http".to_owned(), config, ORIGIN).unwrap();
    let running = host.deliver(Sink::Http(Box::new(sink)));
    host.append(0..1);
    // The last is cut short too, but its status has come.
    for answer in ["", "HTTP/1.1 20", &moved, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"] {
        let (mut stream, _) = receiver.accept().await.unwrap();
        let mut request = vec![0; 65536];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"POST / HTTP/1.1"), "{}", text(&request[..read]));
        assert_eq!(running.status.report().cursor, None);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    let report = running.delivered(0).await;
    assert_eq!((report.batches, report.retries), (1, 3));
}

#[tokio::test]
async fn a_cursor_that_is_lost_or_from_another_log_repeats_and_skips_nothing() {
    let mut host = Host::new();
    host.append(0..10);
    for said in ["rubbish", "999999\n", "-1\n"] {
        let nginx = host.nginx(&nginx::Options::default());
        fs::write(host.path("spool").join("cursors/http"), said).unwrap();
        let before = received(&nginx).len();
        let running = host.deliver(Host::http(&nginx, |_| {}));
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
    let file = host.deliver(file_sink("file", files(&host)));
    file.delivered(5).await;
    assert_eq!(text(&fs::read(host.path("log/audit.ndjson")).unwrap()), text(&batches(0..=5)));
    host.head.send_replace(Some(9));
    file.delivered(9).await;
    assert_eq!(text(&fs::read(host.path("log/audit.ndjson")).unwrap()), text(&batches(0..10)));
}
