//! Process 1 of the guests of `cargo xtask vm`: mounts what a host has, runs the kernel tests one by one, says on the
//! console what came of each, writes all results to the second serial line, and switches the machine off.
//!
//! On the kernel's command line: `vm.test=PART` for the tests whose name has this part, `vm.shell` for a shell in place
//! of the tests.
#![expect(clippy::unwrap_used, reason = "a panic here stops the machine, and is printed")]

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
    },
    unistd::{Pid, sync},
};
use tests::vm::{Outcome, Run, Test, names};

/// Target, type, options. In this order: some lie in others.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("/proc", "proc", ""),
    ("/sys", "sysfs", ""),
    ("/dev", "devtmpfs", ""),
    ("/dev/pts", "devpts", "ptmxmode=0666"),
    ("/dev/shm", "tmpfs", ""),
    ("/tmp", "tmpfs", "mode=1777"),
    ("/run", "tmpfs", "mode=0755"),
    ("/sys/fs/cgroup", "cgroup2", ""),
    ("/sys/fs/bpf", "bpf", ""),
    ("/sys/kernel/tracing", "tracefs", ""),
    ("/sys/kernel/security", "securityfs", ""),
];

/// The start of a test's name, and why it is not run here.
const SKIPPED: &[(&str, &str)] = &[
    ("cases::three", "needs strace and auditd, which the guest has not; it runs on the host's kernel"),
    ("differential::", "needs strace and perl, which the guest has not; it runs on the host's kernel"),
];

/// Emulation without acceleration is about this much slower.
const SLOW: &str = "5";
/// Longest run of one test.
const LIMIT: Duration = Duration::from_mins(5);
/// How much of what a failed test printed is kept, from its end.
const KEPT: usize = 8 << 10;

fn main() {
    for (target, kind, options) in MOUNTS {
        fs::create_dir_all(target).ok();
        if let Err(error) = mount(Some(*kind), *target, Some(*kind), MsFlags::empty(), Some(*options)) {
            println!("vm: cannot mount {target}: {error}");
        }
    }
    let words = fs::read_to_string("/proc/cmdline").unwrap();
    let word = |name: &str| words.split_whitespace().find_map(|word| word.strip_prefix(name));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned();
    println!("vm: boot {release}");
    // getpwuid(3) fails without these, and does not say that there is no such user
    fs::create_dir_all("/etc").unwrap();
    fs::write("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n").unwrap();
    fs::write("/etc/group", "root:x:0:\n").unwrap();
    run("ip", &["link", "set", "lo", "up"]);

    if word("vm.shell").is_some() {
        println!("the agent is /sigtrail, the tests are /kernel; leave with exit");
        run("sh", &[]);
    } else {
        let probe = probe();
        let family = probe["family"].as_str();
        println!("vm: family {}", family.unwrap_or("?"));
        let results = Run { tests: tests(word("vm.test=").unwrap_or_default(), family), probe, release };
        // closing a serial line waits until all has left
        let mut line = File::options().write(true).open("/dev/ttyS1").unwrap();
        line.write_all(&serde_json::to_vec(&results).unwrap()).unwrap();
        line.write_all(b"\n").unwrap();
        drop(line);
        println!("vm: end");
    }
    sync();
    // the last lines leave the console
    thread::sleep(Duration::from_millis(200));
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("vm: cannot power off: {error}");
}

/// The environment of everything that runs here.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/bin").current_dir("/");
    command.env("SIGTRAIL", "/sigtrail").env("SIGTRAIL_VERIFY", "/sigtrail-verify");
    command.env("SIGTRAIL_SLOW", SLOW).env("SIGTRAIL_COMPILED", "/").env("RUST_BACKTRACE", "0");
    command
}

fn run(program: &str, words: &[&str]) {
    match command(program).args(words).status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("vm: {program}: {status}"),
        Err(error) => println!("vm: {program}: {error}"),
    }
}

/// What the agent says of this kernel.
fn probe() -> serde_json::Value {
    let done = command("/sigtrail").args(["probe", "--json"]).output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
        println!("vm: probe: {error}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::Value::Null
    })
}

/// Runs the tests whose name has `part` in it, for the family that is used here.
fn tests(part: &str, family: Option<&str>) -> Vec<Test> {
    let list = command("/kernel").args(["--list", "--format", "terse"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let wanted = names(&list).into_iter().filter(|name| name.contains(part));
    let done = |name: &str| {
        let skipped = SKIPPED.iter().find(|(start, _)| name.starts_with(start));
        let test = match skipped {
            Some((_, why)) => {
                Test { name: name.to_owned(), outcome: Outcome::Skip, seconds: 0.0, said: (*why).to_owned() }
            }
            None => test(name, family),
        };
        println!("{}", test.line());
        if test.outcome == Outcome::Fail {
            println!("{}", test.said);
        }
        test
    };
    wanted.map(done).collect()
}

/// Runs one test in a process of its own; what it leaves behind is ended after it.
fn test(name: &str, family: Option<&str>) -> Test {
    let said = Path::new("/tmp/said");
    let mut output = File::options().read(true).write(true).create(true).truncate(true).open(said).unwrap();
    let began = Instant::now();
    let mut command = command("/kernel");
    command.args(["--exact", name, "--test-threads=1", "--nocapture", "--include-ignored"]).process_group(0);
    command.envs(family.map(|family| ("SIGTRAIL_FAMILY", family)));
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > LIMIT {
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let seconds = began.elapsed().as_secs_f64();
    // as process 1: all processes but this one
    kill(Pid::from_raw(-1), Signal::SIGKILL).ok();
    while nix::sys::wait::wait().is_ok() {}

    let mut text = Vec::new();
    output.rewind().unwrap();
    output.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(KEPT)..]).into_owned();
    let (outcome, said) = match status {
        Some(status) if status.success() => (Outcome::Pass, String::new()),
        Some(status) if status.code().is_none() => (Outcome::Fail, format!("{text}\nsignal {:?}", status.signal())),
        Some(_) => (Outcome::Fail, text),
        None => (Outcome::Fail, format!("{text}\nstill running after {LIMIT:?}")),
    };
    Test { name: name.to_owned(), outcome, seconds, said }
}
