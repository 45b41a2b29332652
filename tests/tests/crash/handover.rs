//! No blind window: what happens while no agent runs, or while one takes over from another, is in the log once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use seal::BatchKind;
use serde_json::Value;
use sigtrail::source::pin::Pins;
use tests::host::{Host, Sealed, run, until};

/// A host whose policy keeps the runs of one program, and what happens to files beside it.
pub fn host(more: &str) -> Host {
    let host = Host::new(more);
    fs::copy("/bin/true", host.path("load/prog")).unwrap();
    let load = host.path("load");
    host.write(
        "policy.yaml",
        &format!(
            "version: 1\nrules:\n  - id: load\n    title: What the test does\n    kinds: [exec, open, unlink]\n    \
             selection: {{ path|startswith: {}/ }}\n    condition: selection\n    verdict: keep\ndefault: drop\n",
            load.display()
        ),
    );
    host
}

/// The names of the host's programs, whole generations only.
pub fn generations(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(Pins::of(&host.path("state")).dir()).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Runs numbered programs and makes numbered files while `and` goes on. Up to which number.
fn under_load<T>(host: &Host, from: u64, and: impl FnOnce() -> T) -> (u64, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let load = threads.spawn(|| {
            let mut number = from;
            while !stop.load(Ordering::Relaxed) {
                let ran = Command::new(host.path("load/prog")).arg(number.to_string()).status();
                assert!(ran.unwrap().success());
                for part in 0..4 {
                    let file = host.path(&format!("load/{number}-{part}"));
                    fs::write(&file, "").unwrap();
                    fs::remove_file(&file).unwrap();
                }
                number += 1;
            }
            number
        });
        // a test that fails must end, too
        let done = catch_unwind(AssertUnwindSafe(and));
        stop.store(true, Ordering::Relaxed);
        (load.join().unwrap(), done.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn last(host: &Host) -> u64 {
    host.status()["last_batch"].as_u64().unwrap()
}

fn some_batches(host: &Host, count: u64) {
    let from = last(host);
    until("batches under load", || (last(host) > from + count).then_some(()));
}

/// The numbers of the runs and the files, each as often as it is in the log, in its order.
fn numbers(sealed: &[Sealed], host: &Host, kind: &str) -> Vec<String> {
    let program = host.path("load/prog").display().to_string();
    let prefix = format!("{}/", host.path("load").display());
    let lines = sealed.iter().flat_map(|batch| batch.of_kind(kind));
    let number = |line: &Value| match kind {
        "exec" if line["path"] == program.as_str() => Some(line["argv"][1].as_str().unwrap().to_owned()),
        "exec" => None,
        // what touches the agent's own files is told too
        _ => Some(line["path"].as_str()?.strip_prefix(&prefix)?.to_owned()),
    };
    lines.filter_map(number).collect()
}

/// What must hold for every log here: it verifies, the books are right to the one, each run is there once and in its
/// order, each file at most once, and what is not there is told as lost.
fn check(host: &Host, runs: u64) -> Vec<Sealed> {
    host.verified();
    let sealed = host.batches();
    let mut numbered: BTreeMap<(u64, u32), (u64, u64)> = BTreeMap::new();
    let (mut received, mut lost, mut made) = (0, 0, 0);
    for facts in sealed.iter().map(|batch| &batch.header.facts) {
        received += facts.accounts.iter().map(|account| account.recv).sum::<u64>();
        lost += facts.cpus.iter().map(|cpu| cpu.lost).sum::<u64>();
        for cpu in &facts.cpus {
            made += cpu.last + 1 - cpu.first;
            let (next, _) = numbered.entry((facts.load.unwrap(), cpu.id)).or_insert((0, 0));
            assert_eq!(cpu.first, *next, "batch of load {:?}, cpu {}", facts.load, cpu.id);
            *next = cpu.last + 1;
        }
    }
    assert_eq!(made, received + lost, "each number is received or lost");
    let told = sealed.iter().flat_map(|batch| batch.of_kind("agent.lost"));
    let told: u64 = told.map(|lost| lost["count"].as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(told, lost);
    assert_eq!(sealed.iter().map(|batch| batch.header.facts.lost).sum::<u64>(), lost);

    let mut seen = BTreeSet::new();
    for batch in &sealed {
        for line in ["exec", "open", "unlink"].iter().flat_map(|kind| batch.of_kind(kind)) {
            let number = (batch.header.facts.load, line["cpu"].as_u64(), line["seq"].as_str().unwrap().to_owned());
            assert!(seen.insert(number), "twice: {line}");
        }
    }
    let expected: Vec<_> = (0..runs).map(|number| number.to_string()).collect();
    let execs = numbers(&sealed, host, "exec");
    let doubled: Vec<_> = execs.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    let missing: Vec<_> = expected.iter().filter(|number| !execs.contains(number)).collect();
    assert!(execs == expected, "of {runs} runs {} are told; missing {missing:?}, doubled {doubled:?}", execs.len());
    for kind in ["open", "unlink"] {
        let files = numbers(&sealed, host, kind);
        let once: BTreeSet<_> = files.iter().collect();
        assert_eq!(once.len(), files.len(), "{kind}: a file is told twice");
        let missing = 4 * runs - files.len() as u64;
        assert!(missing <= lost, "{kind}: {missing} are missing, {lost} are told as lost");
    }
    sealed
}

fn handovers(sealed: &[Sealed]) -> Vec<&Value> {
    sealed.iter().flat_map(|batch| batch.of_kind("agent.handover")).collect()
}

#[test]
fn a_kill_makes_no_gap() {
    kills(3);
}

#[test]
#[ignore = "a minute"]
fn twenty_kills_make_no_gap() {
    kills(20);
}

fn kills(count: u64) {
    let host = host("");
    let mut runs = 0;
    let mut agent = host.start();
    for round in 0..count {
        (runs, agent) = under_load(&host, runs, || {
            some_batches(&host, round % 3);
            agent.kill();
            thread::sleep(Duration::from_millis(100 * (round % 3)));
            let agent = host.start();
            some_batches(&host, 1);
            agent
        });
    }
    assert_eq!(agent.stop().0, Some(0));
    let sealed = check(&host, runs);
    let told = handovers(&sealed);
    assert_eq!(told.len() as u64, count);
    assert!(told.iter().all(|told| told["how"] == "adopted" && told["waiting"] != "0"), "{told:?}");
    let recovered = sealed.iter().filter(|batch| batch.header.facts.kind == BatchKind::Recovered);
    assert_eq!(recovered.count() as u64, count);
    assert_eq!(sealed.iter().filter_map(|batch| batch.header.facts.load).collect::<BTreeSet<_>>().len(), 1);
    assert!(generations(&host).is_empty(), "a stop leaves nothing in the kernel");
    let left = fs::read_dir(host.path("run")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.filter(|name| name.to_string_lossy().starts_with("journal")).count() == 0);
}

/// A restart with SIGUSR2: the programs stay, and go on for the next run.
#[test]
fn a_restart_makes_no_gap() {
    let host = host("");
    let agent = host.start();
    let (runs, agent) = under_load(&host, 0, || {
        some_batches(&host, 1);
        agent.signal(Signal::SIGUSR2);
        assert_eq!(agent.end().0, Some(0));
        assert_eq!(generations(&host).len(), 1);
        thread::sleep(Duration::from_millis(300));
        let agent = host.start();
        some_batches(&host, 1);
        agent
    });
    assert_eq!(agent.stop().0, Some(0));
    let sealed = check(&host, runs);
    // others may fill the rings meanwhile; the restart itself costs nothing
    let lost = sealed.iter().flat_map(|batch| batch.of_kind("agent.lost"));
    assert!(lost.clone().all(|lost| lost["cause"] == "ring_full"), "{:?}", lost.collect::<Vec<_>>());
    let told = handovers(&sealed);
    assert!(told.len() == 1 && told[0]["how"] == "adopted", "{told:?}");
    let stops: Vec<_> = sealed.iter().flat_map(|batch| batch.of_kind("agent.stop")).collect();
    assert_eq!((&stops[0]["why"], &stops[0]["pinned"]), (&"SIGUSR2".into(), &true.into()));
    assert_eq!((&stops[1]["why"], &stops[1]["pinned"]), (&"SIGTERM".into(), &false.into()));
}

/// What is fixed at load changes: other programs take over, each event is made by one of both.
#[test]
fn an_upgrade_makes_no_gap() {
    for ending in [Signal::SIGUSR2, Signal::SIGKILL] {
        let host = host("");
        let mut agent = host.start();
        let (runs, agent) = under_load(&host, 0, || {
            some_batches(&host, 1);
            for size in ["4MiB", "16MiB", "4MiB"] {
                agent.signal(ending);
                agent.end();
                let text = fs::read_to_string(host.path("sigtrail.yaml")).unwrap();
                let kept: String =
                    text.lines().filter(|line| !line.contains("ring_bytes")).flat_map(|line| [line, "\n"]).collect();
                host.write("sigtrail.yaml", &kept);
                host.configure(&format!("kernel: {{ ring_bytes: {size} }}"));
                agent = host.start();
                some_batches(&host, 1);
                until("the end of the old programs", || (generations(&host).len() == 1).then_some(()));
            }
            agent
        });
        assert_eq!(agent.stop().0, Some(0));
        let sealed = check(&host, runs);
        let told = handovers(&sealed);
        assert!(told.len() == 3 && told.iter().all(|told| told["how"] == "replaced"), "{told:?}");
        assert_eq!(sealed.iter().filter_map(|batch| batch.header.facts.load).collect::<BTreeSet<_>>().len(), 4);
        assert!(generations(&host).is_empty());
    }
}

/// What cannot be gone on with is told, and does not stop the agent.
#[test]
fn a_journal_that_is_gone_is_told() {
    let host = host("");
    host.start().kill();
    for entry in fs::read_dir(host.path("run")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_string_lossy().starts_with("journal") {
            fs::write(&entry, "not a journal").unwrap();
        }
    }
    assert_eq!(host.start().stop().0, Some(0));
    host.verified();
    let sealed = host.batches();
    let told = handovers(&sealed);
    assert!(told.len() == 1 && told[0]["how"] == "abandoned" && told[0]["why"].is_string(), "{told:?}");
}

/// One agent at a time; the way to be rid of what a dead one left.
#[test]
fn programs_left_behind_can_be_removed() {
    let host = host("");
    let agent = host.start();
    assert_eq!(generations(&host).len(), 1);
    let (code, said) = host.launch().end();
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("another agent uses"), "{said}");
    assert_ne!(run(&mut host.command("detach")).code, Some(0));
    assert_eq!(generations(&host).len(), 1);
    agent.kill();
    assert_eq!(generations(&host).len(), 1);
    assert_eq!(run(&mut host.command("detach")).out, "detached\n");
    assert!(generations(&host).is_empty());
    assert_eq!(run(&mut host.command("detach")).out, "nothing was pinned\n");
}

/// Without names all is as it was: the programs end with the agent.
#[test]
fn an_agent_may_be_told_not_to_pin() {
    let host = host("kernel: { pin: no }");
    host.start().kill();
    assert!(generations(&host).is_empty());
    let agent = host.start();
    agent.signal(Signal::SIGUSR2);
    assert_eq!(agent.end().0, Some(0));
    host.verified();
    let sealed = host.batches();
    assert!(handovers(&sealed).is_empty());
    let starts: Vec<_> = sealed.iter().flat_map(|batch| batch.of_kind("agent.start")).collect();
    assert!(starts.iter().all(|start| start["pinned"] == false), "{starts:?}");
}
