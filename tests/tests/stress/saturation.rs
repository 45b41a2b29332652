//! More than the machine can do, on all cores: what matters is never lost, and what is lost is counted.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{account::Books, agent, time};

/// The name of a program that is removed before it runs.
const HIDDEN: &str = "hidden";

/// The workload's name of each kind, where it has another one.
const OPEN: (&str, &str) = ("open_w", "open");

/// Builds the workload of the benchmark: exec, file and network on every core, each operation counted.
fn workload(dir: &Path) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("overhead");
    let mut make = Command::new("make");
    make.args(["--silent", "-C"]).arg(dir).arg("-f").arg(source.join("Makefile"));
    assert!(make.arg(format!("SRC={}", source.display())).args(["wl", "nop"]).status().unwrap().success());
    let mut command = Command::new(dir.join("wl"));
    command.args(["multi", "700"]).arg(dir).arg(dir.join("nop")).stdout(Stdio::piped());
    command
}

/// Loads all cores until `late`; what happened, by kind.
fn load(mut workload: Command, late: Instant) -> BTreeMap<String, u64> {
    let mut happened = BTreeMap::new();
    while Instant::now() < late {
        let done = workload.output().unwrap();
        assert!(done.status.success(), "{}", done.status);
        let told: Value = serde_json::from_slice(&done.stdout).unwrap();
        for (kind, count) in told["expect"].as_object().unwrap() {
            let kind = if kind == OPEN.0 { OPEN.1 } else { kind };
            *happened.entry(kind.to_owned()).or_default() += count.as_u64().unwrap();
        }
    }
    happened
}

/// Runs a program that no directory holds any more, again and again until `stop`: an alert of the built-in policy.
/// Its file was made from `program`. Returns how often.
fn hide(program: &Path, stop: &AtomicBool) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = program.with_file_name(HIDDEN);
        fs::copy(program, &name).unwrap();
        let open = fs::File::open(&name).unwrap();
        fs::remove_file(&name).unwrap();
        match Command::new(format!("/proc/self/fd/{}", open.as_raw_fd())).status() {
            Ok(status) => times += u64::from(status.success()),
            // a child that another thread was starting still has the file open for writing
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ExecutableFileBusy),
        }
        thread::sleep(Duration::from_millis(100));
    }
    times
}

#[test]
#[ignore = "loads all cores for SIGTRAIL_STRESS_SECONDS"]
fn saturation() {
    // the workload on memory: it is to make events, not to wait for a disk
    let scratch = tempfile::Builder::new().prefix("saturation-").tempdir_in("/dev/shm").unwrap();
    let dir = tempfile::Builder::new().prefix("saturation-").tempdir().unwrap();
    let workload = workload(scratch.path());
    let agent = agent(dir.path());
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (happened, hidden) = thread::scope(|scope| {
        let hidden = scope.spawn(|| hide(&scratch.path().join("nop"), &stop));
        let happened = load(workload, began + time());
        stop.store(true, Ordering::Relaxed);
        (happened, hidden.join().unwrap())
    });
    let took = began.elapsed();
    let report = agent.stop().unwrap();

    let mut recorded: BTreeMap<String, u64> = happened.keys().map(|kind| (kind.clone(), 0)).collect();
    let mut alerts = 0;
    // others may run the same workload
    let place = format!("\"exe\":\"{}/", scratch.path().display());
    let books = Books::read(&dir.path().join("log"), |line| {
        // canonical JSON: these keys are at the top, and no text of an event can look like them
        let ours = line.contains(&place) && (line.contains(r#","comm":"wl","#) || line.contains(r#","comm":"nop","#));
        if ours && line.contains(r#","success":true,"#) {
            let kind = line.split_once(r#","kind":""#).and_then(|(_, rest)| rest.split_once('"'));
            if let Some(count) = kind.and_then(|(kind, _)| recorded.get_mut(kind)) {
                *count += 1;
            }
        }
        alerts += u64::from(
            line.contains(r#","kind":"exec","#) && line.contains(r#""verdict":"alert""#) && line.contains(&place),
        );
    });
    let total: u64 = happened.values().sum();
    println!("{:.0} s, {:.0} events/s, {} lost", took.as_secs_f64(), total as f64 / took.as_secs_f64(), books.lost);
    println!("happened {happened:?}\nrecorded {recorded:?}\nalerts {alerts} of {hidden}");
    books.add_up(&report);

    // what matters (`Lane::Critical`): the births, programs and ends of processes, and the alerts among them
    assert_eq!(alerts, hidden, "an alert is missing");
    for hook in ["sched_process_exec", "sched_process_fork", "sched_process_exit"] {
        assert_eq!(books.hooks[hook].lost, 0, "{hook} lost events");
    }
    assert_eq!(recorded["exec"], happened["exec"]);
    // the rest: recorded or counted as lost, and nothing is made up
    let mut missing = 0;
    for (kind, count) in &happened {
        missing += count.checked_sub(recorded[kind]).unwrap_or_else(|| panic!("{kind}: more records than acts"));
    }
    assert!(missing <= books.lost, "{missing} events are missing, {} are counted as lost", books.lost);
    assert!(books.lost > 0 || missing == 0);
}
