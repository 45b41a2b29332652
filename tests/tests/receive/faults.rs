//! A real agent delivers to a real receiver over a way with random faults.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::fault::{Fault, Proxy};
use tests::host::until;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::agent::{cosigned, head, pair};

const FAULTS: &[Fault] = &[
    Fault::Deaf,
    Fault::Mute,
    Fault::Reset(1),
    Fault::Reset(2500),
    Fault::Drip,
    Fault::CutAnswer(0),
    Fault::CutAnswer(2000),
    Fault::Say("SSH-2.0-OpenSSH_9.2\r\n"),
];

/// The receiver has every batch, in order, once; it saw no fork and no hole, and cosigned the end.
#[test]
fn a_bad_way_costs_nothing_and_looks_like_no_attack() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let (host, receiver) = pair(&[]);
    let (hold, end) = oneshot::channel::<()>();
    let (give, take) = mpsc::channel();
    let address = receiver.address();
    let way = thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            give.send(Proxy::start(address).await.unwrap()).unwrap();
            // ends when the other half is dropped
            assert!(end.await.is_err());
        });
    });
    let proxy = take.recv().unwrap();
    let sink = receiver.sink("receiver").replace(&address.to_string(), &proxy.address().to_string());
    let config = std::fs::read_to_string(host.path("sigtrail.yaml")).unwrap();
    let (before, _) = config.split_once("sinks:").unwrap();
    let sink = sink.replace(" }", ", timeout: 700ms, connect_timeout: 700ms }");
    host.write("sigtrail.yaml", &format!("{before}sinks: [{sink}]\n"));

    let agent = host.start();
    cosigned(&receiver, 3);
    let end = Instant::now() + Duration::from_secs(12);
    let (mut faults, mut files) = (0, 0);
    while Instant::now() < end {
        let fault = if random.bool() { Fault::None } else { FAULTS[random.usize(..FAULTS.len())] };
        faults += u32::from(!matches!(fault, Fault::None));
        proxy.play(fault);
        // ends the wait before the next try
        agent.signal(Signal::SIGHUP);
        for _ in 0..random.u32(1..10) {
            host.touch(&format!("file-{files}"));
            files += 1;
            thread::sleep(Duration::from_millis(random.u64(..100)));
        }
    }
    proxy.play(Fault::None);
    agent.signal(Signal::SIGHUP);
    cosigned(&receiver, head(&host));
    let retries = host.status()["sinks"][0]["retries"].as_u64();
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    let batches = host.batches();
    cosigned(&receiver, batches.len() as u64);
    let (code, report) = host.verify(&[receiver.log("hosts").join("log")]);
    assert_eq!((code, &report["verdict"]), (0, &Value::from("verified")), "seed {seed}: {report:#}");
    assert_eq!(
        (&report["batches"], &report["duplicates"]),
        (&Value::from(batches.len()), &Value::from(0)),
        "seed {seed}"
    );
    for kind in ["fork", "hole", "tampered", "account", "clone"] {
        assert!(receiver.alarms(kind).is_empty(), "seed {seed}: {:?}", receiver.alarms(kind));
    }
    println!("{} batches, {files} files, {faults} faults, {retries:?} retries", batches.len());
    assert!(faults > 0 && retries.is_some_and(|retries| retries > 0), "seed {seed}: nothing went wrong");
    drop(hold);
    until("the way to end", || way.is_finished().then_some(()));
}
