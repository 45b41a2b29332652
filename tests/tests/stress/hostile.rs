//! An ordinary user who calls everything with anything (stress-ng, trinity), in namespaces of its own.

use std::{
    fs,
    io::Write as _,
    process::{self, Command, Output},
    thread,
};

use crate::{account::Books, agent, time};

const SCRIPT: &str = include_str!("hostile.sh");

/// What a kernel that is hurt says (Documentation/admin-guide/bug-hunting.rst). A program that dies is not among it.
const HURT: [&str; 7] =
    ["BUG:", "WARNING:", "Oops", "Call Trace:", "soft lockup", "blocked for more than", "rcu: INFO:"];

/// The lines of the kernel's log after a mark that this makes.
struct KernelLog(String);

impl KernelLog {
    fn begin() -> Self {
        let mark = format!("sigtrail: the test {} begins", process::id());
        let mut log = fs::OpenOptions::new().write(true).open("/dev/kmsg").unwrap();
        log.write_all(mark.as_bytes()).unwrap();
        Self(mark)
    }

    fn since(&self) -> Vec<String> {
        let said = Command::new("dmesg").output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        let (_, since) = text.split_once(&self.0).expect("so much was said that the begin of the test is gone");
        since.lines().map(str::to_owned).collect()
    }
}

fn run(what: &str) -> Output {
    let seconds = time().as_secs().to_string();
    let mut command = Command::new("prlimit");
    command.args(["--nproc=1000", "--fsize=67108864", "--as=4294967296", "--core=0"]);
    command.args([
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--map-root-user",
    ]);
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts", "sh", "-c", SCRIPT]);
    command.args(["hostile.sh", what, &seconds]).current_dir("/").output().unwrap()
}

#[test]
#[ignore = "loads all cores for SIGTRAIL_STRESS_SECONDS"]
fn hostile_calls() {
    let dir = tempfile::Builder::new().prefix("hostile-").tempdir().unwrap();
    let kernel = KernelLog::begin();
    let agent = agent(dir.path());
    let pid = agent.pid();
    let (stress, trinity) = thread::scope(|scope| {
        let stress = scope.spawn(|| run("stress-ng"));
        let trinity = run("trinity");
        (stress.join().unwrap(), trinity)
    });
    let status = agent.status().unwrap();
    let report = agent.stop().unwrap();
    let (mut records, mut of_trinity) = (0_u64, 0_u64);
    let books = Books::read(&dir.path().join("log"), |line| {
        records += 1;
        of_trinity += u64::from(line.contains(r#","comm":"trinity"#));
    });

    let text = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let (stress, trinity) = (text(&stress), text(&trinity));
    let calls = |line: &str| line.split_once("Ran ")?.1.split(' ').next()?.parse::<u64>().ok();
    let calls: u64 = trinity.lines().filter_map(calls).sum();
    println!("{stress}\ntrinity: {calls} calls; {records} records, {of_trinity} of trinity; {} lost", books.lost);
    assert_eq!(status["pid"], pid, "it is the agent that was started");

    // the load was one: a line of each stressor tells what it did
    assert!(stress.lines().filter(|line| line.contains("metrc")).count() > 15, "{stress}");
    assert!(calls > 1000 && of_trinity > 0, "{trinity}");
    books.add_up(&report);
    let said = kernel.since();
    let hurt: Vec<_> = said.iter().filter(|line| HURT.iter().any(|word| line.contains(word))).collect();
    assert!(hurt.is_empty(), "{said:#?}");
}
