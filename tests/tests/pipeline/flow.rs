//! The hot half as a whole: what it makes of a stream, how it cuts batches, how it accounts for them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use seal::{BatchKind, Trust, Verdict, Verifier};
use sigtrail::{
    batch::Limits,
    capture::recorder::{self, Recorder},
    clock::Now,
    enrich::Enrich,
    pipeline::{self, Front, Log, LogOptions, Shed, Status, Ties},
    policy::Policy,
    source::{Replay, Source},
    spool,
};
use tests::host::{PATIENCE, Sealed, batches, bytes};

use crate::stream;

pub const KEEP: &str = "version: 1\ndefault: keep\n";
const ALERT: &str = "version: 1\nrules:\n  - id: last\n    title: The last one\n    kinds: [send]\n    \
                     selection: { pid: 7 }\n    condition: selection\n    verdict: alert\ndefault: keep\n";
const LONG: Duration = Duration::from_hours(1);
/// Nothing but a full batch ends one.
const NEVER: Limits = Limits { age: LONG, alert_age: LONG, lines: 10_000, bytes: 1 << 20, heartbeat: LONG };

/// A run of the pipeline over a stream.
struct Play<'a> {
    events: Vec<Vec<u8>>,
    policy: &'a str,
    limits: Limits,
    /// It is told to stop when this batch is durable. Batch 0 is the enrolment, batch 1 the start.
    last: u64,
}

/// Plays it; what was sealed, all of it verified.
fn play(play: &Play<'_>) -> (Vec<Sealed>, Status) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recorded) = (dir.path().join("spool"), dir.path().join("events"));
    stream::write(&recorded, &play.events);
    let options = LogOptions {
        state_dir: dir.path().to_owned(),
        spool: spool::Options { min_free: 0, sync: spool::Sync::Never, ..spool::Options::new(spool.clone()) },
        limits: play.limits,
    };
    let now = Now::read().unwrap();
    Log::enrol(options.clone(), "test.example.org/sigtrail", false, now).unwrap();
    let log = Log::open(options, now).unwrap();
    let vkey = log.vkey().clone();
    let policy = Policy::parse(&[("test", play.policy)]).unwrap();
    let source = Source::Replay(Replay::open(&recorded).unwrap());
    let front = Front::new(source, Enrich::of_events().unwrap(), policy, now);
    let (stop, why, status) = (AtomicBool::new(false), Mutex::new("test"), Arc::default());
    let deadline = Instant::now() + PATIENCE;
    thread::scope(|threads| {
        let running = threads.spawn(|| {
            let ties = Ties {
                stop: &stop,
                why: &why,
                leave: &AtomicBool::new(false),
                scratch: std::path::Path::new("/nowhere"),
                announce: &mut |number| stop.store(number >= play.last, Ordering::Release),
                gaps: &mut Vec::new,
                receipts: &mut Vec::new,
                released: &mut || None,
                late: &mut |_| Vec::new(),
                told: &mut Vec::new,
                capture: &mut |_, _| {},
                recorder: Recorder::new(recorder::Options::default()).unwrap().0,
                policy: &mut || None,
                test: None,
                shed: Shed::new(Arc::default(), 0),
                show: None,
                status: &status,
            };
            pipeline::run(front, log, Duration::from_millis(1), ties).unwrap();
        });
        while !running.is_finished() {
            if Instant::now() > deadline {
                // a batch that never came: it is missed in what was sealed
                stop.store(true, Ordering::Release);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let mut verifier = Verifier::new(Trust { pins: vec![vkey], ..Trust::default() });
    verifier.read(bytes(&spool).concat().as_slice()).unwrap();
    let report = verifier.finish();
    assert_eq!(report.verdict(), Verdict::Verified, "{report:?}");
    let sealed = batches(&spool);
    for batch in &sealed {
        adds_up(batch);
    }
    let status = status.lock().unwrap().clone();
    (sealed, status)
}

/// Whether the kernel half sent what a line says: `cred_change` is made by the agent, as its own records are.
fn is_of_kernel(line: &serde_json::Value) -> bool {
    line.get("evidence").is_some() && line["kind"] != "cred_change"
}

/// What the header counts is what the lines are; the verifier has checked that accounts add up in themselves.
fn adds_up(batch: &Sealed) {
    let (facts, number) = (&batch.header.facts, batch.header.batch);
    let of_kernel = batch.lines.iter().filter(|line| is_of_kernel(line)).count() as u64;
    assert_eq!(facts.accounts.iter().map(|it| it.emit).sum::<u64>(), of_kernel, "batch {number}");
    let by_cpu = facts.cpus.iter().map(|cpu| cpu.last - cpu.first + 1 - cpu.lost).sum::<u64>();
    assert_eq!(facts.accounts.iter().map(|it| it.recv).sum::<u64>(), by_cpu, "batch {number}");
    assert_eq!(batch.header.events, batch.lines.len() as u64);
    let told = batch.of_kind("agent.lost").into_iter().map(|it| it["count"].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(facts.lost, told.fold(0, u64::saturating_add), "batch {number}");
}

/// The kind of each batch and how many lines of the kernel it has.
fn shape(sealed: &[Sealed]) -> Vec<(BatchKind, usize)> {
    let lines = |batch: &Sealed| batch.lines.iter().filter(|line| is_of_kernel(line)).count();
    sealed.iter().map(|batch| (batch.header.facts.kind, lines(batch))).collect()
}

use BatchKind::{Events, Genesis, Heartbeat, Start, Stop};

#[test]
fn all_events_of_a_stream_are_sealed_in_their_order() {
    let events = stream::all();
    let count = events.len();
    let (sealed, status) = play(&Play { events, policy: KEEP, limits: NEVER, last: 1 });
    assert_eq!(shape(&sealed), [(Genesis, 0), (Start, count), (Stop, 0)]);
    assert_eq!((status.total.received, status.total.kept, status.total.lost), (count as u64, count as u64, 0));
    let mut seen = std::collections::BTreeMap::new();
    for line in sealed[1].lines.iter().filter(|line| is_of_kernel(line)) {
        let next: &mut u64 = seen.entry(line["cpu"].as_u64().unwrap()).or_default();
        assert_eq!(line["seq"], next.to_string());
        *next += 1;
    }
    let [stop] = sealed[2].lines.as_slice() else { panic!("{:?}", sealed[2].lines) };
    assert_eq!((&stop["kind"], &stop["why"]), (&"agent.stop".into(), &"test".into()));
}

#[test]
fn a_full_batch_is_sealed_and_no_more_goes_in() {
    // credentials from nowhere are an alert, which closes a batch before it is full
    let events = stream::of(|kind| kind != common::Kind::CredChange);
    let (count, last) = (events.len(), events.len() as u64 / 10);
    let limits = Limits { lines: 10, ..NEVER };
    let mut expected = vec![(Genesis, 0), (Start, 10)];
    expected.extend((2..=last).map(|_| (Events, 10)));
    expected.push((Stop, count % 10));
    // full batches are sealed while it runs, and as well when all comes at the stop
    for last in [last, 1] {
        let (sealed, _) = play(&Play { events: events.clone(), policy: KEEP, limits, last });
        assert_eq!(shape(&sealed), expected);
    }
    let limits = Limits { bytes: 1, ..NEVER };
    let (sealed, _) = play(&Play { events: events[..5].to_vec(), policy: KEEP, limits, last: 1 });
    assert_eq!(
        shape(&sealed),
        [(Genesis, 0), (Start, 1), (Events, 1), (Events, 1), (Events, 1), (Events, 1), (Stop, 0)]
    );
}

#[test]
fn age_and_alert_seal_a_batch_that_is_not_full() {
    let mut events = stream::all();
    events.truncate(15);
    let mut alert = stream::read(&stream::golden(common::Kind::Send, "events")).pop().unwrap();
    stream::change(&mut alert, |header| (header.cpu, header.pid) = (0, 7));
    events.push(alert);
    stream::number(&mut events);
    let soon = Duration::from_millis(1);
    let check = |policy, limits: Limits, last, expected: &[(BatchKind, usize)]| {
        let limits = Limits { lines: 10, ..limits };
        let (sealed, _) = play(&Play { events: events.clone(), policy, limits, last });
        assert_eq!(shape(&sealed), expected);
    };
    let waits = [(Genesis, 0), (Start, 10), (Stop, 6)];
    let sealed = [(Genesis, 0), (Start, 10), (Events, 6), (Stop, 0)];
    check(KEEP, NEVER, 1, &waits);
    check(KEEP, Limits { alert_age: soon, ..NEVER }, 1, &waits);
    check(KEEP, Limits { age: soon, ..NEVER }, 2, &sealed);
    check(ALERT, NEVER, 1, &waits);
    check(ALERT, Limits { alert_age: soon, ..NEVER }, 2, &sealed);
}

#[test]
fn silence_is_sealed_too() {
    let limits = Limits { heartbeat: Duration::from_millis(1), ..NEVER };
    let (sealed, _) = play(&Play { events: Vec::new(), policy: KEEP, limits, last: 4 });
    assert_eq!(shape(&sealed), [(Genesis, 0), (Start, 0), (Heartbeat, 0), (Heartbeat, 0), (Heartbeat, 0), (Stop, 0)]);
}

#[test]
fn what_the_policy_drops_is_counted_and_not_written() {
    let events = stream::all();
    let count = events.len() as u64;
    let policy = "version: 1\ndefault: drop\n";
    let (sealed, status) = play(&Play { events, policy, limits: NEVER, last: 1 });
    assert_eq!(shape(&sealed), [(Genesis, 0), (Start, 0), (Stop, 0)]);
    let accounts = &sealed[1].header.facts.accounts;
    assert_eq!(accounts.iter().map(|it| (it.recv, it.ufilter, it.emit)).fold(0, |sum, it| sum + it.1), count);
    assert_eq!((status.total.received, status.total.kept, status.total.lost), (count, 0, 0));
}

#[test]
fn a_gap_in_the_numbers_is_a_loss_of_that_many() {
    let whole = stream::all();
    let of_cpu = |cpu: usize| whole.iter().enumerate().filter(move |(at, _)| usize::from(at % 3 == 0) == cpu);
    // from the start, from the middle, one and several; the end of a stream cannot be missed without a kernel
    let check = |missing: [&[usize]; 2]| {
        let gone: Vec<usize> = (0..2)
            .flat_map(|cpu| missing[cpu].iter().map(move |at| (cpu, *at)))
            .map(|(cpu, nth)| of_cpu(cpu).nth(nth).unwrap().0)
            .collect();
        let events = whole.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, event)| event.clone());
        let events: Vec<_> = events.collect();
        for lines in [10_000, 10] {
            let limits = Limits { lines, ..NEVER };
            let (sealed, status) = play(&Play { events: events.clone(), policy: KEEP, limits, last: 1 });
            let by_cpu = |id: u32| -> u64 {
                let cpus = sealed.iter().flat_map(|batch| &batch.header.facts.cpus);
                cpus.filter(|cpu| cpu.id == id).map(|cpu| cpu.lost).sum()
            };
            assert_eq!([by_cpu(0), by_cpu(1)], missing.map(|it| it.len() as u64), "{missing:?}");
            assert_eq!(status.total.lost, gone.len() as u64);
            let total: u64 = sealed.iter().map(|batch| batch.header.facts.lost).sum();
            assert_eq!(total, gone.len() as u64);
        }
    };
    check([&[], &[]]);
    check([&[0], &[]]);
    check([&[3, 4, 5, 11], &[1]]);
    check([&[0, 1, 2, 20, 30], &[0, 7, 8, 9]]);
}

#[test]
fn bytes_that_are_no_event_are_counted_where_they_came() {
    let mut events = stream::all();
    let count = events.len();
    // an unknown kind, an unknown hook, cut short, nothing at all
    events[3][12] = 0xff;
    events[7][15] = 0xff;
    let half = events[9].len() / 8;
    events[9].truncate(half);
    events.insert(20, Vec::new());
    let (sealed, status) = play(&Play { events, policy: KEEP, limits: NEVER, last: 1 });
    assert_eq!(shape(&sealed), [(Genesis, 0), (Start, count - 3), (Stop, 0)]);
    let lost = sealed[1].of_kind("agent.lost");
    let of_cause = |cause: &str| lost.iter().find(|it| it["cause"] == cause).map(|it| it["count"].clone());
    assert_eq!(of_cause("undecodable"), Some("4".into()), "{lost:?}");
    // three of them had a number
    assert_eq!(of_cause("uncounted"), Some("3".into()), "{lost:?}");
    assert_eq!((status.total.received, status.total.lost), (count as u64 - 3, 7));
}

#[test]
fn the_largest_numbers_do_not_stop_it() {
    let mut events = stream::all();
    events.truncate(1);
    stream::change(&mut events[0], |header| {
        (header.seq, header.cpu, header.ktime) = (u64::MAX, u32::MAX, u64::MAX);
    });
    let (sealed, status) = play(&Play { events, policy: KEEP, limits: NEVER, last: 1 });
    assert_eq!(shape(&sealed), [(Genesis, 0), (Start, 1), (Stop, 0)]);
    assert_eq!(status.total.lost, u64::MAX - 1);
}
