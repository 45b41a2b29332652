//! D6: all that may be replaced while the agent runs is replaced, again and again, under load.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::host::{Host, until};
use tests::nginx::{self, Nginx};

use crate::unpack;

/// Each round: a wrong token and the right one, another certificate with its key, another policy, and the log file
/// moved (logrotate `create`) or cut (`copytruncate`).
fn replaced(rounds: usize) {
    let host = Host::new("");
    let dir = host.path("nginx");
    fs::create_dir(&dir).unwrap();
    let options = nginx::Options { token: Some("right".to_owned()), mutual_tls: true, ..nginx::Options::default() };
    let nginx = Nginx::start(&dir, &options).unwrap();
    let at = |name: &str| host.path(name).display().to_string();
    host.write("token", "right");
    for end in ["pem", "key"] {
        fs::copy(dir.join(format!("client.{end}")), host.path(&format!("own.{end}"))).unwrap();
    }
    host.configure(&format!(
        "sinks:\n  - {{ type: file, name: log, dir: {}, compress: false, required: false }}\n  - {{ type: http, name: http, \
         required: false, url: '{}', ca_file: {}, cert_file: {}, key_file: {}, token_file: {} }}",
        at("log"),
        nginx.url(),
        nginx.ca_file().display(),
        at("own.pem"),
        at("own.key"),
        at("token")
    ));
    // sinks that are not required: the spool keeps all, to compare with
    let agent = host.start();
    let log = host.path("log/audit.ndjson");
    let policy = fs::read_to_string(host.path("policy.yaml")).unwrap();
    let over = AtomicBool::new(false);
    let mut copies: Vec<PathBuf> = Vec::new();
    let made = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut made = 0;
            while !over.load(Ordering::Relaxed) {
                host.touch(&format!("file-{made}"));
                made += 1;
                thread::sleep(Duration::from_millis(2));
            }
            made
        });
        for round in 0..rounds {
            until("the log", || fs::metadata(&log).is_ok_and(|about| about.len() > 0).then_some(()));
            let copy = host.path(&format!("log/old.{round}"));
            if round % 2 == 0 {
                fs::rename(&log, &copy).unwrap();
                fs::write(&log, "").unwrap();
            } else {
                // else what is written between the copy and the cut is gone: that is the way of logrotate, not ours
                agent.signal(Signal::SIGSTOP);
                fs::copy(&log, &copy).unwrap();
                fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
                agent.signal(Signal::SIGCONT);
            }
            copies.push(copy);
            host.write("token", "wrong");
            let name = if round % 2 == 0 { "client-2" } else { "client" };
            for end in ["key", "pem"] {
                fs::copy(dir.join(format!("{name}.{end}")), host.path(&format!("own.{end}"))).unwrap();
            }
            host.write("policy.yaml", &policy.replace("What the test does", &format!("Round {round}")));
            agent.signal(Signal::SIGHUP);
            let refused = || nginx.requests().iter().filter(|line| line.starts_with("401")).count();
            until("a refusal", || (refused() > round).then_some(()));
            let before = nginx.accepted().len();
            host.write("token", "right");
            agent.signal(Signal::SIGHUP);
            until("a delivery", || (nginx.accepted().len() > before).then_some(()));
        }
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(host.verified()["lost"], Value::from(0), "nothing was lost on the way to the spool");
    let sealed = host.batches();

    // the receiver and the files have what was sealed, to the last batch
    let received: Vec<u8> = nginx.accepted().iter().flat_map(|path| unpack(path)).collect();
    fs::write(host.path("received.ndjson"), &received).unwrap();
    copies.push(log);
    let verified = |what: &str, files: &[PathBuf]| {
        let (code, report) = host.verify(files);
        assert_eq!((code, &report["verdict"]), (0, &Value::from("verified")), "{what}: {report:#}\n{said}");
        assert_eq!(report["batches"], sealed.len(), "{what}: {report:#}");
    };
    verified("received", &[host.path("received.ndjson")]);
    verified("files", &copies);
    let lines = || sealed.iter().flat_map(|batch| &batch.lines);
    let paths: BTreeSet<&str> = lines().filter_map(|line| line["path"].as_str()).collect();
    for number in 0..made {
        let path = host.path(&format!("load/file-{number}"));
        assert!(paths.contains(path.to_str().unwrap()), "file-{number} of {made} is missing");
    }
    let policies = lines().filter(|line| line["kind"] == "agent.policy").count();
    assert!(policies > rounds / 2, "{policies} policies in {rounds} rounds");
    println!("{rounds} rounds: {made} files, {} batches, {policies} policies", sealed.len());
}

#[test]
fn what_is_replaced_ten_times_costs_nothing() {
    replaced(10);
}

#[test]
#[ignore = "takes minutes"]
fn what_is_replaced_a_hundred_times_costs_nothing() {
    replaced(100);
}
