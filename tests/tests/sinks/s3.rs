//! A bucket that nobody can delete from: a real server of S3 with Object Lock, and batches as the agent seals them.

use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use seal::BatchKind;
use serde_json::Value;
use sigtrail::{
    batch::Limits,
    clock::Now,
    deliver::{self, Gaps, Orders, Pace, Receipts, Status, Way},
    pipeline::{Closed, Log, LogOptions},
    sealed::Batch,
    sink::{Outcome, S3Config, S3Sink, Sink},
    source::Own,
    spool,
};
use tests::{
    host::{Host, Ran, run, sigtrail, until},
    seaweed::{BUCKET, Seaweed, Who},
};
use tokio::sync::watch;

use crate::{ORIGIN, Running};

/// What the names of objects begin with.
const PREFIX: &str = "logs";

/// A log that is sealed, and deliveries of it.
struct Sealing {
    dir: tempfile::TempDir,
    log: Log,
    head: watch::Sender<Option<u64>>,
    orders: watch::Sender<Orders>,
}

impl Sealing {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("state");
        let hour = Duration::from_hours(1);
        let limits = Limits { age: hour, alert_age: hour, lines: 100, bytes: 1 << 20, heartbeat: hour };
        let spool = spool::Options { min_free: 0, ..spool::Options::new(state_dir.join("spool")) };
        let options = LogOptions { state_dir, spool, limits };
        Log::enrol(options.clone(), ORIGIN, false, Now::read().unwrap()).unwrap();
        let log = Log::open(options, Now::read().unwrap()).unwrap();
        let head = watch::Sender::new(Some(log.last()));
        Self { dir, log, head, orders: watch::Sender::default() }
    }

    /// Seals some batches. Returns the number of the last one.
    fn seal(&mut self, batches: u32) -> u64 {
        for _ in 0..batches {
            let kind = if self.log.last() == 0 { self.log.first_kind() } else { BatchKind::Events };
            self.log.own(&Own::Policy { text: "rules".into() }, Now::read().unwrap()).unwrap();
            self.log.seal(kind, &Closed::default(), [7; 32], Vec::new(), &[], Now::read().unwrap()).unwrap();
            self.log.store().unwrap();
        }
        self.head.send_replace(Some(self.log.last()));
        self.log.last()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The batches as the spool has them.
    fn batches(&self) -> Vec<Batch> {
        let all = tests::host::bytes(&self.path("state/spool"));
        let batch = |(number, bytes)| Batch { number, bytes: Bytes::from(bytes), frame: Bytes::new() };
        (0..).zip(all).map(batch).collect()
    }

    fn deliver(&self, sink: S3Sink) -> Running {
        let status = Arc::new(Status::default());
        let ms = Duration::from_millis;
        let way = Way {
            spool: self.path("state/spool"),
            head: self.head.subscribe(),
            orders: self.orders.subscribe(),
            status: status.clone(),
            gaps: Gaps::default(),
            receipts: Receipts::default(),
            pace: Pace { base: ms(50), cap: ms(200), slow_cap: ms(200), ..Pace::default() },
        };
        Running { status, task: tokio::spawn(deliver::run(Sink::S3(Box::new(sink)), way)) }
    }

    /// What `sigtrail verify` says of the bucket, with the key of this host.
    fn verify(&self, server: &Seaweed, options: &[&str]) -> Ran {
        verify(server, &self.path("state/host.vkey"), options)
    }

    fn verified(&self, server: &Seaweed, batches: u64) -> Value {
        verified(&self.verify(server, &["--json"]), batches)
    }
}

fn verify(server: &Seaweed, key: &std::path::Path, options: &[&str]) -> Ran {
    let mut command = Command::new(sigtrail());
    command.arg("verify").args(options).arg("--key").arg(key).args(["--path-style", "--endpoint", &server.endpoint()]);
    command.arg("--ca-file").arg(server.ca_file()).arg("--credentials").arg(server.credentials(Who::Auditor));
    run(command.arg(format!("s3://{BUCKET}/{PREFIX}")))
}

fn verified(ran: &Ran, batches: u64) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["verdict"], &report["batches"]),
        (&Value::from("verified"), &Value::from(batches)),
        "{report:#}"
    );
    report
}

fn sink(server: &Seaweed, who: Who) -> S3Sink {
    let config = S3Config { bucket: server.bucket(who), prefix: PREFIX.to_owned(), max_object_bytes: 1 << 20 };
    S3Sink::new("archive".to_owned(), config, ORIGIN).unwrap()
}

#[tokio::test]
async fn what_was_written_cannot_be_taken_away() {
    let mut host = Sealing::new();
    let server = Seaweed::start(&host.path("server"));
    let last = host.seal(9);
    let running = host.deliver(sink(&server, Who::Agent));
    running.delivered(last).await;
    for _ in 0..3 {
        let last = host.seal(1);
        running.delivered(last).await;
    }
    let report = running.status.report();
    assert_eq!((report.batches, report.retries, &report.note, report.missed), (13, 0, &None, 0), "{report:?}");
    let objects = server.versions(PREFIX);
    assert_eq!(objects.len(), 4, "{objects:?}");
    let remarks = host.verified(&server, 13)["remarks"].clone();
    assert_eq!(remarks["count"], 0, "{remarks:#}");

    // who has the keys of the host can read nothing, and takes nothing away; nor does who may do everything
    let (first, version) = &objects[0];
    let (path, old) = (format!("/{BUCKET}/{first}"), format!("/{BUCKET}/{first}?versionId={version}"));
    assert_eq!(server.ask(Who::Agent, "GET", &path, &[], None).0, 403);
    for who in [Who::Agent, Who::Admin] {
        for headers in [&[][..], &["x-amz-bypass-governance-retention: true"]] {
            let (status, answer) = server.ask(who, "DELETE", &old, headers, None);
            assert_eq!(status, 403, "{who:?}: {answer}");
        }
    }
    // a newer version, the mark of a deletion, a name of his own: what was there first is what is read
    assert_eq!(server.ask(Who::Agent, "PUT", &path, &[], Some("nothing happened")).0, 200);
    let second = &objects[1].0;
    assert_eq!(server.ask(Who::Agent, "DELETE", &format!("/{BUCKET}/{second}"), &[], None).0, 204);
    assert_eq!(server.ask(Who::Auditor, "GET", &format!("/{BUCKET}/{second}"), &[], None).0, 404);
    assert_eq!(server.ask(Who::Agent, "PUT", &format!("/{BUCKET}/{PREFIX}/v1/x"), &[], Some("{}")).0, 200);
    let report = host.verified(&server, 13);
    let remarks: Vec<_> = report["remarks"]["list"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let expected = [
        format!("{first} was written over (1 newer version): its oldest version was read"),
        format!("{second} was marked as deleted: its oldest version was read"),
        format!("{PREFIX}/v1/x is no part of a log and was not read"),
    ];
    assert_eq!(remarks, expected);
    let ran = host.verify(&server, &[]);
    assert!(
        ran.code == Some(0) && ran.out.contains("VERIFIED") && expected.iter().all(|it| ran.out.contains(it)),
        "{ran:?}"
    );

    // the log goes on in it
    running.delivered(host.seal(1)).await;
    host.verified(&server, 14);
    let gone = server.versions(PREFIX).len();
    assert_eq!(gone, 7, "five objects, what was written over one of them, and the stranger");
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_one_object() {
    let mut host = Sealing::new();
    let server = Seaweed::start(&host.path("server"));
    host.seal(5);
    let batches = host.batches();
    let note = |outcome| match outcome {
        Outcome::Delivered { note, receipt: None } => note,
        other => panic!("{other:?}"),
    };
    // the identity of the agent may not look; another one may, and compares
    let mut agent = sink(&server, Who::Agent);
    assert_eq!(note(agent.send(&batches[..3]).await), None);
    assert!(note(agent.send(&batches[..3]).await).unwrap().contains("reading it is not allowed"));
    let mut admin = sink(&server, Who::Admin);
    assert_eq!(note(admin.send(&batches[..3]).await).unwrap(), "the bucket had these batches already");
    let objects = server.versions(PREFIX);
    assert_eq!(objects.len(), 1, "{objects:?}");

    // in other company, after a crash between object and cursor: another object, and the log is whole
    assert_eq!(note(agent.send(&batches).await), None);
    let report = host.verified(&server, 6);
    assert_eq!(report["duplicates"], 3, "{report:#}");

    // somebody made an object of the name before us, which takes the batches to know it
    let objects = server.versions(PREFIX);
    let later = host.seal(1);
    let batch = host.batches().swap_remove(later as usize);
    note(admin.send(std::slice::from_ref(&batch)).await);
    let all = server.versions(PREFIX);
    let name = &all.iter().find(|one| !objects.contains(one)).unwrap().0;
    let other = Seaweed::start(&host.path("other"));
    assert_eq!(other.ask(Who::Agent, "PUT", &format!("/{BUCKET}/{name}"), &[], Some("not this")).0, 200);
    match sink(&other, Who::Admin).send(std::slice::from_ref(&batch)).await {
        Outcome::Refused { status: 412, answer } => assert!(answer.contains(name.as_str()), "{answer}"),
        outcome => panic!("{outcome:?}"),
    }
    let ran = host.verify(&other, &["--json"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn a_list_of_two_pages_is_read_to_its_end() {
    let mut host = Sealing::new();
    let server = Seaweed::start(&host.path("server"));
    let last = host.seal(1020);
    let mut sink = sink(&server, Who::Agent);
    let mut names = Vec::new();
    for batch in host.batches() {
        let outcome = sink.send(std::slice::from_ref(&batch)).await;
        assert_eq!(outcome, Outcome::Delivered { note: None, receipt: None });
        if batch.number == 985 {
            names = server.versions(PREFIX);
        }
    }
    // the first page, of 1,000 versions, ends within these: after the newer version of one, or between two
    for (name, _) in &names[975..] {
        assert_eq!(server.ask(Who::Agent, "PUT", &format!("/{BUCKET}/{name}"), &[], Some("x")).0, 200);
    }
    let report = host.verified(&server, last + 1);
    assert_eq!(report["remarks"]["count"], names.len() - 975, "{report:#}");
}

#[tokio::test]
async fn trouble_costs_time_and_no_batch() {
    let mut host = Sealing::new();
    let mut server = Seaweed::start(&host.path("server"));
    let credentials = server.credentials(Who::Agent);
    let right = fs::read_to_string(&credentials).unwrap();
    fs::write(&credentials, right.replace("secret-AGENTKEY", "secret-stolen")).unwrap();
    let last = host.seal(3);
    let running = host.deliver(sink(&server, Who::Agent));
    let report = running.trouble("SignatureDoesNotMatch").await;
    assert!(
        report.needs_operator && report.cursor.is_none() && !format!("{report:?}").contains("stolen"),
        "{report:?}"
    );
    fs::remove_file(&credentials).unwrap();
    assert!(running.trouble("No such file").await.needs_operator);
    fs::write(&credentials, &right).unwrap();
    running.delivered(last).await;

    server.stop();
    let last = host.seal(4);
    let before = running.status.report().retries;
    let report = running.until("failing", |report| report.retries >= before + 3).await;
    assert!(!report.needs_operator && report.trouble.is_some() && report.cursor < Some(last), "{report:?}");
    server.resume();
    running.delivered(last).await;
    assert_eq!(running.status.report().missed, 0);
    host.verified(&server, last + 1);

    // an auditor who may not read is told so, and so is one whose server is not there
    fs::copy(&credentials, server.credentials(Who::Auditor)).unwrap();
    let ran = host.verify(&server, &[]);
    assert!(ran.code == Some(3) && ran.err.contains("cannot be listed") && ran.err.contains("AccessDenied"), "{ran:?}");
    server.stop();
    let ran = host.verify(&server, &[]);
    assert!(ran.code == Some(3) && ran.err.contains("cannot be listed"), "{ran:?}");
}

#[test]
fn an_agent_keeps_its_log_in_a_bucket() {
    let host = Host::new("");
    let server = Seaweed::start(&host.path("server"));
    host.configure(&format!(
        "sinks:\n  - {{ type: s3, name: archive, bucket: {BUCKET}, prefix: {PREFIX}, endpoint: \"{}\", path_style: true, \
         credentials_file: {}, ca_file: {} }}\n",
        server.endpoint(),
        server.credentials(Who::Agent).display(),
        server.ca_file().display(),
    ));
    let agent = host.start();
    for number in 0..3 {
        host.touch(&format!("file-{number}"));
        until("the sink to have it", || {
            let sinks = host.status()["sinks"].clone();
            (sinks[0]["batches"].as_u64()? > number).then_some(())
        });
    }
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    // of the spool, the beginning is gone: the sink has it
    let last = host.batches().pop().unwrap().header.batch;
    let report = verified(&verify(&server, &host.path("state/host.vkey"), &["--json"]), last + 1);
    assert_eq!(report["ends_with"], "stop", "{report:#}");
}
