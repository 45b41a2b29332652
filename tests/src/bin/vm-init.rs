//! Process 1 of the guests of `cargo xtask vm`: mounts what a host has, runs the kernel tests, says on the console what
//! came of each, writes all results to the second serial line, and switches the machine off.
//!
//! On the kernel's command line: `vm.test=PART` for the tests whose name has this part, `vm.shell` for a shell in place
//! of the tests.
#![expect(clippy::unwrap_used, reason = "a panic here stops the machine, and is printed")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
    },
    unistd::{Pid, chdir, chroot, sync},
};
use tests::vm::{Outcome, Report, Run, Test, names};

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
    ("differential::", "its work needs the coreutils, the guest has busybox; `cases` compares with strace and audit"),
    ("flood::a_pressed", "an emulated machine does not make as many events as the test is about"),
    ("load::a_disk_that_stands_still_costs_no_exec", "the guest has no disk"),
    ("mounts::swap", "the guest has no disk, and a tmpfs holds no swap file"),
];
/// The start of a test's name, and the programs it runs that a host may lack.
const NEEDED: &[(&str, &[&str])] = &[
    ("cases::three", &["strace", "auditd", "auditctl"]),
    ("flood::", &["bash", "setpriv"]),
    ("guard::each_hand", &["bash", "setpriv"]),
    ("modify::", &["bash"]),
    ("privileges::no_lawful", &["python3"]),
    ("push::", &["bash"]),
];

/// Emulation without acceleration is about this much slower.
const SLOW: &str = "5";
/// What the agent said of this kernel.
const PROBED: &str = "/probe.json";
/// Longest wait for the end of a test.
const LIMIT: Duration = Duration::from_mins(10);

fn main() {
    root().unwrap();
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
    // a broadcast has somewhere to go, and is refused for what it is
    run("ip", &["route", "add", "255.255.255.255/32", "dev", "lo"]);
    if Path::new("/overlay.ko").exists() {
        run("insmod", &["/overlay.ko"]);
    }

    if word("vm.shell").is_some() {
        println!("the agent is /sigtrail, the tests are /kernel; leave with exit");
        run("sh", &[]);
    } else {
        let probe = probe();
        let family = probe["family"].as_str();
        println!("vm: family {}", family.unwrap_or("?"));
        let day = command("date").arg("+%F").output().unwrap().stdout;
        let day = String::from_utf8(day).unwrap().trim().to_owned();
        let results = Run { tests: tests(word("vm.test=").unwrap_or_default(), family), probe, release, day };
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
    command
        .env("SIGTRAIL_PROBED", PROBED)
        .env("SIGTRAIL_SLOW", SLOW)
        .env("SIGTRAIL_COMPILED", "/")
        .env("RUST_BACKTRACE", "0");
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
    let done = command("/sigtrail").args(["probe", "--json", "--families"]).output().unwrap();
    fs::write(PROBED, &done.stdout).unwrap();
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
        println!("vm: probe: {error}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::Value::Null
    })
}

/// Why a test is not run here, if it is not.
fn why_not(name: &str) -> Option<String> {
    let skipped = SKIPPED.iter().find(|(start, _)| name.starts_with(start)).map(|(_, why)| (*why).to_owned());
    skipped.or_else(|| {
        let (_, needed) = NEEDED.iter().find(|(start, _)| name.starts_with(start))?;
        let lacking = needed.iter().filter(|program| !Path::new("/bin").join(program).exists());
        let lacking: Vec<&str> = lacking.copied().collect();
        (!lacking.is_empty()).then(|| format!("the guest has no {}", lacking.join(" and no ")))
    })
}

/// Makes of the initramfs a root that pivot_root(2) can move, as switch_root(8) does.
fn root() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    mount(Some("/"), "/root", NONE, MsFlags::MS_BIND, NONE)?;
    chdir("/root")?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)?;
    chroot(".")
}

/// Runs the tests whose name has `part` in it, for the family that is used here.
fn tests(part: &str, family: Option<&str>) -> Vec<Test> {
    let list = command("/kernel").args(["--list", "--format", "terse"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let mut wanted: Vec<&str> = names(&list).into_iter().filter(|name| name.contains(part)).collect();
    let mut done = Vec::new();
    wanted.retain(|name| {
        let Some(why) = why_not(name) else { return true };
        done.push(Test::skipped(name, &why));
        println!("{}", done.last().unwrap().line());
        false
    });
    // one process for all, because the agent that one test starts serves the next; another one after a test that hangs
    let mut rest = &wanted[..];
    while !rest.is_empty() {
        let some = together(rest, family);
        rest = &rest[some.len()..];
        done.extend(some);
    }
    done
}

/// Runs tests in a process, up to the end or to one that does not end; what they leave behind is ended after it.
fn together(names: &[&str], family: Option<&str>) -> Vec<Test> {
    let mut command = command("/kernel");
    command.arg("--exact").args(names).args(["--test-threads=1", "--include-ignored"]);
    command.envs(family.map(|family| ("SIGTRAIL_FAMILY", family)));
    // process 1 has no process group that kill(2) could name
    let mut child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = read(child.stdout.take().unwrap());
    let mut report = Report::of(names);
    let mut began = Instant::now();
    let mut shown = 0;
    while let Ok(bytes) = output.recv_timeout(LIMIT.saturating_sub(began.elapsed())) {
        report.add(&bytes, began.elapsed().as_secs_f64());
        for test in &report.tests()[shown..] {
            println!("{}", test.line());
            began = Instant::now();
        }
        shown = report.tests().len();
    }
    let status = ended(&mut child);
    // as process 1: all processes but this one
    kill(Pid::from_raw(-1), Signal::SIGKILL).ok();
    while nix::sys::wait::wait().is_ok() {}
    let tests = report.end(&status, began.elapsed().as_secs_f64());
    tests[shown..].iter().for_each(|test| println!("{}", test.line()));
    tests.iter().filter(|it| it.outcome == Outcome::Fail).for_each(|test| println!("{}: {}", test.name, test.said));
    tests
}

/// What a process prints, as it comes.
fn read(mut output: ChildStdout) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = output.read(&mut bytes) {
            if send.send(bytes[..len].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

/// How a process ended that prints no more.
fn ended(child: &mut Child) -> String {
    for _ in 0..100 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.to_string();
        }
        thread::sleep(Duration::from_millis(20));
    }
    format!("still running after {LIMIT:?}")
}
