//! Sinks and disks that do not work for a while.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use seal::{BatchKind, GapReason};
use serde_json::Value;
use tests::{
    host::{Host, PATIENCE, run, until},
    nginx::{Nginx, Options},
};

/// A file system of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={size}");
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path));
        assert_eq!(mounted.code, Some(0), "this test mounts a small tmpfs: run it as root: {mounted:?}");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = run(Command::new("umount").arg(&self.0));
        assert!(done.code == Some(0) || std::thread::panicking(), "{done:?}");
    }
}

/// Makes so many events whose names do not compress well.
fn noise(host: &Host, count: u64) {
    let mut state = 1_u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    for _ in 0..count {
        let name: String = (0..12).map(|_| word()).collect();
        let file = host.path("load").join(name);
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
    }
}

fn last(host: &Host) -> u64 {
    host.status()["last_batch"].as_u64().unwrap()
}

fn trouble(host: &Host, sink: usize) -> String {
    host.status()["sinks"][sink]["trouble"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_full_disk_costs_the_oldest_batches_and_the_log_says_which() {
    let host = Host::new("spool: { segment_bytes: 64KiB, max_bytes: 1GiB, min_free: 0MiB }");
    let disk = SmallDisk::mount(host.path("state"), "1m");
    let agent = host.start();
    let evicted = || {
        let batches = host.batches();
        batches.iter().any(|it| it.header.facts.gaps.iter().any(|gap| gap.reason == GapReason::Evict)).then_some(())
    };
    until("something to be given up", || {
        noise(&host, 2000);
        evicted()
    });
    // another takes whatever is free, also what the spool frees for itself: in the end nothing can be written
    let other = disk.0.join("other");
    let mut file = fs::File::create(&other).unwrap();
    let stuck = AtomicBool::new(false);
    let trouble = thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !stuck.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                if file.write_all(&[7; 4096]).is_err() {
                    thread::yield_now();
                }
            }
        });
        let trouble = until("the log to be stuck", || {
            noise(&host, 200);
            host.status()["trouble"].as_str().map(str::to_owned)
        });
        stuck.store(true, Ordering::Relaxed);
        trouble
    });
    assert!(trouble.contains("is full"), "{trouble}");
    fs::remove_file(&other).unwrap();
    drop(file);
    let now = last(&host);
    noise(&host, 10);
    until("it to go on", || (last(&host) > now + 1).then_some(()));
    assert_eq!(agent.stop().0, Some(0));

    let batches = host.batches();
    let numbers: Vec<_> = batches.iter().map(|batch| batch.header.batch).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let gone = numbers[0] - 1;
    let gaps = batches.iter().flat_map(|batch| batch.header.facts.gaps.iter());
    let to = gaps.filter(|gap| gap.reason == GapReason::Evict).map(|gap| gap.to).max().unwrap();
    assert!(to >= gone, "{gone} is gone, {to} is told");
    let (code, report) = host.verify(&host.segments());
    // only the beginning is not there: no batch is sealed twice, no number left out
    assert_eq!((code, &report["findings"]["count"]), (2, &1.into()), "{report:#}");
    assert!(report["gaps"]["count"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["ends_with"], "stop");
}

#[test]
fn a_receiver_that_was_down_gets_everything() {
    let host = Host::new("");
    let nginx_dir = host.path("nginx");
    fs::create_dir(&nginx_dir).unwrap();
    let nginx = Nginx::start(&nginx_dir, &Options::default()).unwrap();
    let (port, url, ca) = (nginx.port(), nginx.url(), nginx.ca_file());
    let ca = ca.display();
    host.configure(&format!("sinks:\n  - {{ type: http, name: http, url: \"{url}\", ca_file: {ca}, max_lag: 1s }}"));
    let agent = host.start();
    host.touch("a");
    until("the first body", || (!nginx.bodies().is_empty()).then_some(()));
    drop(nginx);
    host.touch("b");
    until("trouble", || (!trouble(&host, 0).is_empty()).then_some(()));
    let told = |state: &str| {
        let batches = host.batches();
        let mut lines = batches.into_iter().flat_map(|batch| batch.lines);
        lines.find(|line| line["kind"] == "agent.sink" && line["state"] == state)
    };
    let late = until("the record of the lag", || told("late"));
    assert_eq!(late["sink"], "http");
    assert!(late["since"].as_str() < late["time"].as_str() && late["why"].is_string(), "{late}");
    let now = last(&host);
    host.touch("c");
    until("more batches", || (last(&host) > now).then_some(()));
    let nginx = Nginx::start(&nginx_dir, &Options { port, ..Options::default() }).unwrap();
    let missed = last(&host);
    let delivered = || (host.status()["sinks"][0]["delivered"].as_u64() >= Some(missed)).then_some(());
    until("what it missed", delivered);
    let again = until("the record of its end", || told("in_time"));
    assert_eq!((&again["since"], &again["why"]), (&Value::Null, &Value::Null));
    assert_eq!(trouble(&host, 0), "");
    assert_eq!(agent.stop().0, Some(0));
    let (code, report) = host.verify(&nginx.bodies());
    assert_eq!(code, 0, "{report:#}");
    // the spool may have released some
    assert_eq!(report["batches"], host.batches().last().unwrap().header.batch + 1);
    assert_eq!(report["ends_with"], "stop");
}

#[test]
fn a_sink_that_cannot_write_does_not_hold_up_the_other() {
    let host = Host::new("");
    host.write("blocked", "a file is no directory");
    host.configure(&format!("sinks:\n  - {}\n  - {}", host.file_sink("blocked"), host.file_sink("log")));
    let agent = host.start();
    host.touch("a");
    let now = last(&host);
    until("the other sink", || (host.status()["sinks"][1]["delivered"].as_u64() > Some(now)).then_some(()));
    until("trouble", || trouble(&host, 0).contains("blocked").then_some(()));
    assert_eq!(trouble(&host, 1), "");
    let shown = run(&mut host.command("status"));
    assert!(shown.code == Some(0) && shown.out.contains("sink     blocked: delivered up to none"), "{shown:?}");
    assert_eq!(agent.stop().0, Some(0));
    assert_eq!(host.batches().last().unwrap().header.facts.kind, BatchKind::Stop);
    let (code, report) = host.verify(&[host.path("log")]);
    assert_eq!((code, &report["ends_with"]), (0, &"stop".into()), "{report:#}");
    assert!(Path::new(&host.path("blocked")).is_file());
}
