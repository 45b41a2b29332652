//! More than can be worked on: files are summarised, everything else is told one by one, and the account holds.

use std::{fs, process::Command, thread, time::Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tests::agent::{Agent, patience, slow};

use crate::actor::Watch;

/// What a log says: events of files by kind as told and as merged, forks and execs, the sums of its accounts, and by
/// hook and cause what was lost.
#[derive(Debug, Default)]
struct Told {
    opens: u64,
    denied: u64,
    summaries: u64,
    merged: u64,
    execs: u64,
    account: std::collections::BTreeMap<String, u64>,
    lost: Vec<String>,
}

fn read(dir: &std::path::Path, mark: &str) -> Told {
    let mut told = Told::default();
    Agent::log(dir, |line| {
        let Ok(record) = serde_json::from_str::<Value>(line) else { return };
        let of = |record: &Value, kind: &str| record["kind"] == kind && record.to_string().contains(mark);
        // the sample of a summary is the first open of the process, which may be of any file
        let ours = |record: &Value| {
            record["kind"] == "open" && record["pid"] == std::process::id() && record["success"] == true
        };
        told.opens += u64::from(ours(&record));
        told.denied += u64::from(of(&record, "open") && record["errno"] == "EACCES");
        told.execs += u64::from(of(&record, "exec"));
        if record["kind"] == "agent.lost" {
            told.lost.push(format!("{} {} {}", record["hook"], record["cause"], record["count"]));
        }
        if record["kind"] == "summary" {
            let count: u64 = record["count"].as_str().unwrap().parse().unwrap();
            assert!(count > 1 && record["of"] == record["sample"]["kind"], "{record}");
            assert_ne!(record["sample"]["errno"], "EACCES", "{record}");
            if ours(&record["sample"]) {
                told.summaries += 1;
                told.merged += count;
            }
        }
        for account in line.split("\\n").filter_map(|it| it.strip_prefix("acct sys_exit ")) {
            for (name, count) in account.split(' ').filter_map(|it| it.split_once('=')) {
                *told.account.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
    })
    .unwrap();
    told
}

/// Opens of this process that belong to the tests themselves.
const OTHER: u64 = 1000;

const POLICY: &str = "version: 1
rules:
  - { id: seen, kinds: [open, exec], selection: { kind: [open, exec] }, verdict: keep }
default: drop
";

/// Opens, denied opens and program starts at once. Returns the log and what was done: opens, denied, starts.
fn flood(more: &str, each: u32, starts: u32) -> (Told, [u64; 3], Value) {
    let dir = tempfile::Builder::new().prefix("flood-").tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("policy.yaml"), POLICY).unwrap();
    fs::write(path("opened"), "").unwrap();
    fs::write(path("closed"), "").unwrap();
    fs::set_permissions(path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    let more = format!("policy: [{}]\n{more}", path("policy.yaml").display());
    Watch::end_unused();
    let agent = Agent::start(dir.path(), &more).unwrap();
    let denied = each / 100;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..each).for_each(|_| drop(fs::File::open(path("opened")).unwrap())));
        }
        scope.spawn(|| {
            let script = format!("for at in $(seq {denied}); do : 2>/dev/null < {}; done", path("closed").display());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--clear-groups", "bash", "-c", &script]);
            assert!(command.stderr(std::process::Stdio::null()).status().is_ok());
        });
        scope.spawn(|| {
            let argument = dir.path().display().to_string();
            (0..starts).for_each(|_| assert!(Command::new("/bin/true").arg(&argument).status().unwrap().success()));
        });
    });
    let late = Instant::now() + patience();
    let total = |name: &str| agent.status().unwrap()["total"][name].as_u64().unwrap();
    while total("received") < u64::from(2 * each) / 2 {
        assert!(Instant::now() < late, "{}", agent.status().unwrap());
    }
    let report = agent.stop().unwrap();
    let told = read(dir.path(), &format!("{}/", dir.path().display()));
    let execs = read(dir.path(), &dir.path().display().to_string()).execs;
    (Told { execs, ..told }, [2 * each, denied, starts].map(u64::from), report)
}

#[test]
fn a_pressed_bulk_lane_is_summarised() {
    let kernel = "kernel: { backlog_bytes: 1MiB, ring_bytes: 16MiB }\n";
    let (told, [opens, denied, starts], report) = flood(kernel, 60_000, 200);
    println!("{told:?}, of {opens} opens, {denied} denied, {starts} starts; {} lost", report["lost"]);
    let lost = report["lost"].as_u64().unwrap();
    assert_eq!(report["findings"]["count"], 0, "{report:#}");
    assert!(told.summaries > 0 && told.merged > 1000, "{told:?}");
    // each was told, merged or counted as lost; of the critical lane none is lost
    assert!(
        told.opens + told.merged <= opens + OTHER && told.opens + told.merged + lost >= opens,
        "{told:?}, {lost} lost"
    );
    assert!(told.denied + lost >= denied, "{told:?}");
    assert!(told.execs >= starts, "{told:?}");
    let sum = |names: &[&str]| names.iter().map(|name| told.account.get(*name).copied().unwrap_or(0)).sum::<u64>();
    assert_eq!(sum(&["seen"]), sum(&["kfilter", "lost", "recv"]));
    assert_eq!(sum(&["recv"]), sum(&["ufilter", "emit", "merge"]));
    assert!(sum(&["merge"]) >= told.merged);
}

#[test]
fn a_control_group_has_its_budget() {
    let budget = format!("kernel: {{ cgroup_events_per_second: {} }}\n", 100 / slow());
    let (told, [opens, ..], report) = flood(&budget, 5_000, 20);
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{told:?}, {report:#}");
    assert!((opens..=opens + OTHER).contains(&(told.opens + told.merged)), "{told:?}");
    assert!(told.opens < opens / 4 && told.denied == 50 && told.execs >= 20, "{told:?}");
}

/// The agent stands still, as when it is starved, while files are opened until their lane is full. An alert among them
/// and the programs that start are told; of too many alerts the critical lane takes half of its room.
#[test]
fn an_alert_finds_room_in_a_flood() {
    const ALERTS: u64 = 50;
    const STARTS: u64 = 20;
    let dir = tempfile::Builder::new().prefix("alert-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let policy = format!(
        "version: 1
rules:
  - {{ id: secret, kinds: [open], selection: {{ path: [{}, {}] }}, verdict: alert }}
  - {{ id: seen, kinds: [open, exec], selection: {{ kind: [open, exec] }}, verdict: keep }}
default: drop
",
        text("secret"),
        text("often")
    );
    fs::write(path("policy.yaml"), policy).unwrap();
    for name in ["opened", "secret", "often"] {
        fs::write(path(name), "").unwrap();
    }
    let more = format!("kernel: {{ ring_bytes: 1MiB }}\npolicy: [{}]\n", text("policy.yaml"));
    Watch::end_unused();
    let agent = Agent::start(dir.path(), &more).unwrap();
    let signal = |signal| kill(Pid::from_raw(agent.pid().cast_signed()), signal).unwrap();
    let open = |name: &str, times: u64| (0..times).for_each(|_| drop(fs::File::open(path(name)).unwrap()));
    signal(Signal::SIGSTOP);
    open("opened", 20_000);
    open("secret", ALERTS);
    open("often", 20_000);
    for _ in 0..STARTS {
        assert!(Command::new("/bin/true").arg(text("mark")).status().unwrap().success());
    }
    signal(Signal::SIGCONT);
    let report = agent.stop().unwrap();
    let mut told = std::collections::BTreeMap::new();
    Agent::log(dir.path(), |line| {
        let Ok(record) = serde_json::from_str::<Value>(line) else { return };
        for name in ["secret", "often", "opened"] {
            if record["kind"] == "open" && record["path"] == text(name).as_str() {
                *told.entry(name).or_insert(0) += 1;
            }
        }
        if record["kind"] == "exec" && record.to_string().contains(&text("mark")) {
            *told.entry("starts").or_insert(0) += 1;
        }
    })
    .unwrap();
    println!("{told:?}, {} lost", report["lost"]);
    assert_eq!(report["findings"]["count"], 0, "{report:#}");
    // the bulk lane was full, or the test shows nothing
    assert!(report["lost"].as_u64().unwrap() > 10_000 && told["opened"] < 20_000, "{told:?}");
    assert_eq!((told["secret"], told["starts"]), (ALERTS, STARTS), "{told:?}");
    assert!(told["often"] > 100 && told["often"] < 20_000, "{told:?}");
}
