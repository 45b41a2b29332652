//! As many events as this machine makes: none lost, or each lost one counted and signed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use serde_json::Value;
use tests::agent::{Agent, slow};

use crate::actor::{Watch, compile};

/// The agent, with a directory of its own.
struct Run {
    agent: Agent,
    dir: tempfile::TempDir,
}

impl Run {
    fn start(policy: Option<&str>) -> Self {
        Self::start_on(policy, None)
    }

    /// With the agent's state in a directory of choice.
    fn start_on(policy: Option<&str>, state: Option<&Path>) -> Self {
        Watch::end_unused();
        let dir = tempfile::Builder::new().prefix("load-").tempdir().unwrap();
        if let Some(state) = state {
            symlink(state, dir.path().join("state")).unwrap();
        }
        let mut more = String::new();
        if let Some(policy) = policy {
            let file = dir.path().join("policy.yaml");
            fs::write(&file, policy).unwrap();
            more = format!("policy: [{}]\n", file.display());
        }
        let agent = Agent::start(dir.path(), &more).unwrap();
        Self { agent, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends the agent. Returns the number of records of `kind` with this path, of all lost events, and the report.
    fn count(self, kind: &str, path: &Path) -> (u64, u64, Value) {
        let report = self.agent.stop().unwrap();
        let (kind, path) = (format!("\"kind\":\"{kind}\""), format!("\"path\":\"{}\"", path.display()));
        let mut count = 0;
        let told = |line: &str| match summarised(line) {
            Some(count) => count,
            None => u64::from(line.contains(&kind) && line.contains(&path)),
        };
        Agent::log(self.dir.path(), |line| count += told(line)).unwrap();
        (count, report["lost"].as_u64().unwrap(), report)
    }
}

/// A file system on a disk that can be told to stand still (fsfreeze(8)).
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
        let it = Self { dir };
        fs::create_dir(it.root()).unwrap();
        let image = it.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(it.root()));
        fs::create_dir(it.root().join("state")).unwrap();
        it
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Stands still while `work` goes on.
    fn stand_still(&self, work: impl FnOnce()) {
        struct Thaw(PathBuf);
        impl Drop for Thaw {
            fn drop(&mut self) {
                drop(Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).status());
            }
        }
        run(Command::new("fsfreeze").arg("--freeze").arg(self.root()));
        let _thaw = Thaw(self.root());
        work();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.root()).status());
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Opens of this process that may be of other files: a summary has but the first of its files.
const OTHER: u64 = 1000;

/// The events of this process that a line stands for, if it is a summary.
fn summarised(line: &str) -> Option<u64> {
    let record: Value = line.contains("\"kind\":\"summary\"").then(|| serde_json::from_str(line).unwrap())?;
    let is_ours = record["sample"]["pid"] == std::process::id();
    Some(if is_ours { record["count"].as_str().unwrap().parse().unwrap() } else { 0 })
}

/// Two workers at a time, each `times`.
fn both(times: u32, work: impl Fn() + Sync) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..times).for_each(|_| work()));
        }
    });
    f64::from(2 * times) / began.elapsed().as_secs_f64()
}

fn is_whole(report: &Value) {
    let findings = &report["findings"]["list"];
    let tampered = findings.as_array().unwrap().iter().any(|it| it["severity"] == "tampered");
    assert!(!tampered && report["gaps"]["count"] == 0 && report["missing"]["count"] == 0, "{report:#}");
}

#[test]
fn every_exec_of_twenty_thousand() {
    let each = 10_000 / slow();
    let run = Run::start(None);
    let nothing = run.path("nothing");
    compile("nothing", &nothing);
    let rate = both(each, || assert!(Command::new(&nothing).stdin(Stdio::null()).status().unwrap().success()));
    let (count, lost, report) = run.count("exec", &nothing);
    println!("exec: {count} recorded of {}, {lost} lost, {rate:.0} a second", 2 * each);
    assert_eq!((count, lost), (u64::from(2 * each), 0), "{report:#}");
    is_whole(&report);
}

#[test]
fn a_disk_that_stands_still_costs_no_exec() {
    // twice what the ring holds, and half of what may wait in memory
    let each = 4_000 / slow();
    let disk = Disk::new();
    let run = Run::start_on(None, Some(&disk.root().join("state")));
    let nothing = disk.dir.path().join("nothing");
    compile("nothing", &nothing);
    disk.stand_still(|| {
        both(each, || assert!(Command::new(&nothing).stdin(Stdio::null()).status().unwrap().success()));
    });
    let (count, lost, report) = run.count("exec", &nothing);
    assert_eq!((count, lost), (u64::from(2 * each), 0), "{report:#}");
    is_whole(&report);
}

/// Other programs of this host may lose events, too: so the account may be more than exact, never less.
fn opens(policy: Option<&str>, write: bool, each: u32) {
    let run = Run::start(policy);
    let file = run.path("opened");
    fs::write(&file, "").unwrap();
    // the first open is that of the line above
    let rate = both(each, || drop(fs::File::options().read(!write).write(write).open(&file).unwrap()));
    let status = run.agent.status().unwrap();
    let (count, lost, report) = run.count("open", &file);
    let made = u64::from(2 * each) + 1;
    println!("open: {count} recorded of {made}, {lost} lost, {rate:.0} a second; {}", status["counts"]);
    assert!(count <= made + OTHER && count + lost >= made, "{count} recorded and {lost} lost of {made}: {report:#}");
    is_whole(&report);
}

#[test]
fn every_open_for_writing_is_recorded_or_counted() {
    opens(None, true, 100_000 / slow());
}

#[test]
fn every_open_for_reading_is_recorded_or_counted() {
    opens(Some("version: 1\ndefault: keep\n"), false, 100_000 / slow());
}
