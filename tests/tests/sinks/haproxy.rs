//! A load balancer on the way: haproxy with TLS before two receivers that die, its own answers, and connections it closes.

use std::fs;
use std::time::Duration;

use sigtrail::sink::http::Encoding;
use sigtrail::sink::{HttpConfig, HttpSink, Sink};
use tests::fault::{Fault, Proxy};
use tests::haproxy::Haproxy;
use tests::nginx::{self, Nginx, Tls};

use crate::fault::taken;
use crate::{Host, ORIGIN, Running, batch, text};

fn receiver(host: &Host, name: &str, port: u16) -> Nginx {
    let dir = host.path(name);
    fs::create_dir_all(&dir).unwrap();
    Nginx::start(&dir, &nginx::Options { tls: Tls::No, port, ..nginx::Options::default() }).unwrap()
}

fn sink(url: String, change: impl FnOnce(&mut HttpConfig)) -> Sink {
    let mut config = HttpConfig { url, ..HttpConfig::default() };
    change(&mut config);
    Sink::Http(Box::new(HttpSink::new("http".to_owned(), config, ORIGIN).unwrap()))
}

/// Each receiver got its batches in order, and together they have all, as they were sealed. How many came to each.
fn exactly(receivers: [&Nginx; 2], last: u64) -> [usize; 2] {
    let mut all = Vec::new();
    let each = receivers.map(|nginx| {
        let mut numbers: Vec<u64> = Vec::new();
        taken(nginx, |number, bytes| {
            assert_eq!(text(bytes), text(&batch(number)), "batch {number}");
            assert!(numbers.last().is_none_or(|before| number >= *before), "batch {number} after {numbers:?}");
            numbers.push(number);
        });
        all.extend_from_slice(&numbers);
        numbers.len()
    });
    all.sort_unstable();
    all.dedup();
    assert!(all.iter().copied().eq(0..=last), "{all:?}");
    each
}

async fn alive(haproxy: &Haproxy, count: usize) {
    for _ in 0..500 {
        if haproxy.alive().unwrap() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("haproxy does not see {count} receivers");
}

/// Batches one by one, each its own request.
async fn one_by_one(host: &mut Host, running: &Running, numbers: std::ops::Range<u64>) {
    for number in numbers {
        host.append([number]);
        running.delivered(number).await;
    }
}

#[tokio::test]
async fn two_receivers_die_behind_a_balancer() {
    let mut host = Host::new();
    let (one, two) = (receiver(&host, "one", 0), receiver(&host, "two", 0));
    let haproxy = Haproxy::start(&host.path("haproxy"), &[one.address(), two.address()]).unwrap();
    alive(&haproxy, 2).await;
    let running = host.deliver(sink(haproxy.url(), |config| config.ca_file = Some(haproxy.ca_file())));
    one_by_one(&mut host, &running, 0..10).await;
    let [first, second] = exactly([&one, &two], 9);
    assert!(first > 0 && second > 0, "{first} and {second}: not both were asked");

    // one dies, and haproxy may not know yet
    let port = one.port();
    drop(one);
    one_by_one(&mut host, &running, 10..20).await;
    // the other one, too: haproxy answers 503 by itself
    let other = two.port();
    drop(two);
    alive(&haproxy, 0).await;
    host.append(20..40);
    let report = running.trouble("HTTP 503").await;
    assert_eq!((report.cursor, report.needs_operator), (Some(19), false), "{report:?}");
    let two = receiver(&host, "two", other);
    running.delivered(39).await;
    let one = receiver(&host, "one", port);
    alive(&haproxy, 2).await;
    let before = exactly([&one, &two], 39);
    // idle connections that haproxy closes are no trouble
    for number in 40..46 {
        one_by_one(&mut host, &running, number..number + 1).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    let after = exactly([&one, &two], 45);
    assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    assert_eq!(running.status.report().missed, 0);
}

#[tokio::test]
async fn a_balancer_answers_by_itself() {
    let mut host = Host::new();
    let (one, two) = (receiver(&host, "one", 0), receiver(&host, "two", 0));
    let haproxy = Haproxy::start(&host.path("haproxy"), &[one.address(), two.address()]).unwrap();
    alive(&haproxy, 2).await;
    // a slow line on the way to it
    let line = Proxy::start(haproxy.address()).await.unwrap();
    let running =
        host.deliver(sink(format!("http://{}/", line.address()), |config| config.encoding = Encoding::Identity));
    one_by_one(&mut host, &running, 0..3).await;
    line.play(Fault::Drip);
    host.append([3]);
    assert!(!running.trouble("HTTP 408").await.needs_operator);
    line.play(Fault::None);
    running.delivered(3).await;
    // closed in place of an answer
    haproxy.play("reject").unwrap();
    host.append(4..30);
    assert!(!running.trouble("error sending request").await.needs_operator);
    // a body of several batches is too large: halved, until it is not
    haproxy.play("413").unwrap();
    let report = running.delivered(29).await;
    assert_eq!((report.missed, &report.trouble), (0, &None), "{report:?}");
    exactly([&one, &two], 29);
    let bodies = one.accepted().len() + two.accepted().len();
    assert_eq!(bodies, 30, "a batch has 300 bytes: each went alone");
}
