//! What goes wrong is seen in the metrics of a running agent, and nothing disappears from its counts.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
};

use tests::host::{Host, until};

fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The lines of a page, each with its value.
fn metrics(host: &Host) -> BTreeMap<String, u64> {
    let answer = ask(UnixStream::connect(host.path("run/metrics.sock")).unwrap(), "GET /metrics");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(page.ends_with("# EOF\n"), "{page}");
    let values = page.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| line.rsplit_once(' ').unwrap())
        // the one number that is not whole
        .filter(|(name, _)| *name != "sigtrail_event_delay_seconds_sum")
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

#[test]
fn a_sink_that_is_down_is_seen_and_no_event_disappears() {
    let host = Host::new("");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // port 9 is closed
    host.configure(&format!(
        "metrics: {{ listen: \"{free}\" }}\nsinks: [{{ type: http, name: web, url: http://127.0.0.1:9 }}, {}]",
        host.file_sink("archive")
    ));
    let agent = host.start();
    host.touch("one");
    let seen = until("the sinks to be told apart", || {
        let seen = metrics(&host);
        let down = seen.get("sigtrail_sink_up{sink=\"web\"}") == Some(&0);
        let up = seen["sigtrail_sink_batches_total{sink=\"archive\"}"] > 1
            && seen["sigtrail_events_total{fate=\"kept\"}"] > 0;
        (down && up).then_some(seen)
    });
    assert_eq!(seen["sigtrail_sink_up{sink=\"archive\"}"], 1);
    assert_eq!(seen["sigtrail_sink_lag_batches{sink=\"web\"}"], seen["sigtrail_log_batches"]);
    assert!(seen["sigtrail_sink_retries_total{sink=\"web\"}"] > 0);
    let sealed = seen["sigtrail_log_sealed_timestamp_seconds"];
    assert!((1..=sealed).contains(&seen["sigtrail_sink_oldest_timestamp_seconds{sink=\"web\"}"]), "{seen:?}");
    assert!(!seen.contains_key("sigtrail_sink_success_timestamp_seconds{sink=\"web\"}"));

    // what the kernel half sent is what the agent received, once the rings are empty
    until("all that was sent", || {
        let seen = metrics(&host);
        let sent =
            seen.iter().filter(|(name, _)| name.ends_with("fate=\"sent\"}")).map(|(_, count)| count).sum::<u64>();
        (sent > 0 && sent == seen["sigtrail_received_events_total"]).then_some(())
    });
    let sum =
        |prefix: &str| seen.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum::<u64>();
    assert_eq!(sum("sigtrail_events_total{"), seen["sigtrail_received_events_total"]);
    for (name, count) in seen.iter().filter(|(name, _)| name.starts_with("sigtrail_kernel_seen_events_total{")) {
        let hook = name.split_once('{').unwrap().1.trim_end_matches('}');
        assert_eq!(sum(&format!("sigtrail_kernel_events_total{{{hook},")), *count, "{hook}");
    }

    assert!(ask(TcpStream::connect(free).unwrap(), "GET /metrics").ends_with("# EOF\n"));
    assert!(ask(TcpStream::connect(free).unwrap(), "POST /metrics").starts_with("HTTP/1.1 405 "));
    assert!(ask(TcpStream::connect(free).unwrap(), "GET /").starts_with("HTTP/1.1 404 "));
    let mode = std::fs::metadata(host.path("run/metrics.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.stop();
}

/// The equation of docs/metrics.md, over a real load: what the kernel half saw is what became of it, to the last event.
#[test]
fn what_the_kernel_saw_is_what_became_of_it() {
    const FILES: u64 = 5000;
    let host = Host::new("kernel: { pin: no }");
    host.configure(&format!("sinks: [{}]", host.file_sink("archive")));
    let agent = host.start();
    for file in 0..FILES {
        host.touch(&file.to_string());
    }
    let seen = until("the kernel half to agree with the agent", || {
        let seen = metrics(&host);
        let sum = |prefix: &str, not: &str| {
            let of = seen.iter().filter(|(name, _)| name.starts_with(prefix) && !name.ends_with(not));
            of.map(|(_, count)| count).sum::<u64>()
        };
        let saw = sum("sigtrail_kernel_seen_events_total{", "none");
        let became = sum("sigtrail_kernel_events_total{", "fate=\"sent\"}") + sum("sigtrail_events_total{", "none");
        let told = seen["sigtrail_events_total{fate=\"kept\"}"] + seen["sigtrail_events_total{fate=\"merged\"}"];
        (saw == became && told >= FILES).then_some(seen)
    });
    assert!(seen["sigtrail_rule_matches_total{rule=\"load\"}"] >= FILES, "{seen:?}");
    let (delays, all) =
        (seen["sigtrail_event_delay_seconds_count"], seen["sigtrail_event_delay_seconds_bucket{le=\"+Inf\"}"]);
    assert!(delays > 0 && delays == all, "{seen:?}");
    assert_eq!(seen["sigtrail_kernel_events_total{hook=\"sys_exit\",fate=\"lost\"}"], 0, "{seen:?}");
    let status = host.status();
    let policy = host.batches().pop().unwrap().header.facts.policy;
    assert_eq!(status["policy"], format!("sha256:{}", seal::text::hex(&policy)));
    assert_eq!(status["host_key"], std::fs::read_to_string(host.path("state/host.vkey")).unwrap().trim());
    agent.stop();
}
