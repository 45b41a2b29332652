//! A real agent on this host's events delivers to a real receiver.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use seal::{Receipt, note::Note};
use serde_json::Value;
use tests::{
    host::{Host, run, sigtrail, until},
    receiver::{Receiver, WITNESS},
};

/// An enrolled host whose agent delivers to a receiver that knows its key.
pub fn pair(options: &[&str]) -> (Host, Receiver) {
    let host = Host::new("");
    let made = run(&mut host.command("enroll"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = fs::read_to_string(host.path("state/host.vkey")).unwrap();
    let mut receiver = Receiver::new(&host.path("receiver"), &format!("host {key}"), options);
    host.configure(&format!("sinks: [{}]", receiver.sink("receiver")));
    receiver.start();
    (host, receiver)
}

/// Waits until the receiver has cosigned at least so many batches.
pub fn cosigned(receiver: &Receiver, size: u64) -> Note {
    until("a cosignature", || {
        let text = fs::read_to_string(receiver.log("hosts").join("cosigned")).ok()?;
        let note = Note::parse(&text).unwrap();
        let now: u64 = note.text.lines().nth(1).unwrap().parse().unwrap();
        (now >= size).then_some(note)
    })
}

pub fn head(host: &Host) -> u64 {
    host.batches().last().map_or(0, |batch| batch.header.batch + 1)
}

#[test]
fn what_is_delivered_is_kept_cosigned_and_told_in_headers() {
    let (host, mut receiver) = pair(&[]);
    let agent = host.start();
    host.touch("one");
    cosigned(&receiver, 3);
    for round in 0..3 {
        receiver.kill();
        host.touch(&format!("away-{round}"));
        let size = head(&host) + 1;
        receiver.start();
        cosigned(&receiver, size);
    }
    host.touch("two");
    cosigned(&receiver, head(&host) + 1);
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    host.verified();

    // all that was sealed is there, as it was sealed
    let batches = host.batches();
    cosigned(&receiver, batches.len() as u64);
    let (code, report) = host.verify(&[receiver.log("hosts").join("log")]);
    assert_eq!((code, &report["verdict"]), (0, &Value::from("verified")), "{report:#}");
    assert_eq!(report["batches"], batches.len());
    assert_eq!(report["last"]["line"], host.verified()["last"]["line"]);
    let mut alarms: Vec<_> = ["fork", "hole", "tampered", "account"].map(|kind| receiver.alarms(kind)).concat();
    alarms.retain(|alarm| !alarm.is_null());
    assert!(alarms.is_empty(), "{alarms:?}");

    // receipts came back into headers, and hold against the policy
    let receipts = batches.iter().flat_map(|batch| &batch.header.facts.receipts);
    let receipts: Vec<_> = receipts.map(|line| Receipt::parse(line).unwrap()).collect();
    assert!(receipts.len() >= 2 && receipts.is_sorted_by_key(|receipt| receipt.size), "{receipts:?}");
    host.write("policy", &format!("witness w {}\nquorum w\n", receiver.vkey()));
    let spool = host.path("state/spool");
    let verify = |policy: &str| {
        let mut command = Command::new(sigtrail());
        command.arg("verify").arg("--key").arg(host.path("state/host.vkey")).arg("--policy").arg(host.path(policy));
        run(command.arg(&spool))
    };
    let ran = verify("policy");
    let last = receipts.last().unwrap().size;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in [format!("witnessed      {last} batches"), format!("last receipts  {WITNESS} for {last} batches")] {
        assert!(ran.out.contains(&line), "{line} is not in {}", ran.out);
    }
    let other = seal::cosign::Witness::new("other.example", &[7; 32]).unwrap();
    host.write(
        "strict",
        &format!("witness w {}\nwitness o {}\ngroup g all w o\nquorum g\n", receiver.vkey(), other.key()),
    );
    let ran = verify("strict");
    assert!(ran.code == Some(2) && ran.out.contains("as many witnesses as the policy wants"), "{ran:?}");

    by_hand(&receiver, &host.path("hand"));
    // the receipt of the last batch is kept for the next run
    let kept = fs::read_to_string(spool.join("receipts/receiver")).unwrap();
    assert_eq!(Receipt::parse(kept.trim_end()).unwrap().size, batches.len() as u64);
}

/// An auditor with openssl alone checks a cosignature, as docs/receiver.md says.
fn by_hand(receiver: &Receiver, dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::copy(receiver.log("hosts").join("cosigned"), dir.join("cosigned")).unwrap();
    fs::copy(receiver.path("state/witness.vkey"), dir.join("witness.vkey")).unwrap();
    let page = include_str!("../../../docs/receiver.md");
    let block = page.rsplit("```sh\n").next().unwrap().split("```").next().unwrap();
    let bash = |script: &str| run(Command::new("bash").args(["-euc", script]).current_dir(dir));
    let ran = bash(block);
    assert!(ran.code == Some(0) && ran.out.contains("Signature Verified Successfully"), "{ran:?}");
    // the key id is of type 4, and another time is not signed
    let id = r"{ printf '%s\n\4' $(cut -d+ -f1 witness.vkey); tail -c 32 key; } | sha256sum | cut -c 1-8";
    assert_eq!(bash(id).out.trim(), receiver.vkey().split('+').nth(1).unwrap());
    let check = block.lines().last().unwrap();
    let ran = bash(&format!("sed -i 's/^time ./time 9/' message\n{check}"));
    assert!(ran.code == Some(1) && ran.out.contains("Signature Verification Failure"), "{ran:?}");
}

#[test]
fn a_restored_state_is_a_fork() {
    let (host, receiver) = pair(&[]);
    let agent = host.start();
    host.touch("before");
    cosigned(&receiver, 3);
    agent.stop();
    let copy = |from: &str, to: &str| {
        let ran = run(Command::new("cp").arg("-a").arg(host.path(from)).arg(host.path(to)));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    copy("state", "snapshot");
    let agent = host.start();
    host.touch("after");
    cosigned(&receiver, head(&host) + 1);
    agent.stop();
    let whole = head(&host);
    cosigned(&receiver, whole);
    fs::rename(host.path("state"), host.path("real")).unwrap();
    copy("snapshot", "state");
    let agent = host.start();
    let alarm = until("the alarm", || receiver.alarms("fork").pop());
    assert_eq!(alarm["origin"], "test.example.org/sigtrail");
    until("the agent to be told", || host.status().to_string().contains("HTTP 409").then_some(()));
    drop(agent);
    let (code, report) = host.verify(&[receiver.log("hosts").join("log")]);
    assert_eq!((code, &report["batches"]), (0, &Value::from(whole)), "{report:#}");
}

#[test]
fn a_silent_host_is_an_alarm_in_time() {
    const LIMIT: u64 = 3;
    let (host, receiver) = pair(&["--silence", &LIMIT.to_string()]);
    let agent = host.start();
    cosigned(&receiver, 2);
    // a host that takes its time to start is silent, too
    let before = receiver.alarms("silent").len();
    assert_eq!(receiver.alarms("back").len(), before);
    agent.kill();
    let killed = Instant::now();
    until("the alarm", || receiver.alarms("silent").get(before).cloned());
    let late = killed.elapsed();
    // the host was heard of within a second (its heartbeat) before it was killed; the receiver looks each 0.3 s
    assert!(late < Duration::from_secs(LIMIT + 1), "{late:?}");
    assert!(receiver.get("/metrics").1.contains("\nsigtrail_receive_silent_hosts 1\n"));
    let agent = host.start();
    until("the host to be back", || receiver.alarms("back").get(before).cloned());
    assert!(receiver.get("/metrics").1.contains("\nsigtrail_receive_silent_hosts 0\n"));
    drop(agent);
}
