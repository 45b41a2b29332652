//! As a service: the unit, what the service manager is told, the watchdog, and a user with four capabilities.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::host::{Host, run, sigtrail, until};

/// Who runs the service in these tests: nobody.
const USER: u32 = 65534;
const CAPABILITIES: [&str; 4] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/sigtrail.service")
}

/// systemd looks at the unit: it makes sense, and leaves little to an intruder (2.4 of 10; auditd has 9.4).
#[test]
fn the_unit_is_hardened() {
    let exposure =
        run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=24"]).arg(unit()));
    assert_eq!(exposure.code, Some(0), "{}", exposure.out);
    assert!(exposure.out.contains("Overall exposure level for sigtrail.service: 2."), "{}", exposure.out);

    // a program that is not installed would be all that it finds
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(unit()).unwrap().replace("/usr/bin/sigtrail", sigtrail().to_str().unwrap());
    fs::write(dir.path().join("sigtrail.service"), text).unwrap();
    let verified =
        run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(dir.path().join("sigtrail.service")));
    assert_eq!((verified.code, verified.err.as_str()), (Some(0), ""), "{}", verified.out);
}

/// The service manager's end of the socket, and what came there.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    /// Listens in the directory of a host.
    fn of(host: &Host) -> Self {
        let socket = UnixDatagram::bind(host.path("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, told: Vec::new() }
    }

    /// How many messages of this word came until now.
    fn count(&mut self, word: &str) -> usize {
        let mut message = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut message) {
            self.told.push(String::from_utf8(message[..len].to_vec()).unwrap());
        }
        self.told.iter().filter(|it| it.lines().any(|line| line == word)).count()
    }
}

/// An agent as the service manager starts it: it waits so many seconds for a sign of life.
fn service(host: &Host, watchdog: u32) -> Command {
    let mut command = host.command("run");
    command.env("NOTIFY_SOCKET", host.path("notify")).env("WATCHDOG_USEC", (watchdog * 1_000_000).to_string());
    command
}

#[test]
fn the_watchdog_is_fed_by_an_event_that_came_into_the_log() {
    // a policy that keeps nothing of the kind
    let host = Host::new("");
    let mut manager = Manager::of(&host);
    let start = Instant::now();
    let agent = host.start_as(service(&host, 2));
    until("READY=1", || (manager.count("READY=1") == 1).then_some(()));
    until("the third sign of life", || (manager.count("WATCHDOG=1") >= 3).then_some(()));
    let status = host.status();
    assert!(status["selftest"].as_u64().is_some(), "{status:#}");
    let metrics = run(Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(host.path("run/metrics.sock"))
        .arg("http://localhost/metrics"));
    assert!(metrics.out.contains("\nsigtrail_selftest_success_timestamp_seconds "), "{metrics:?}");

    // another policy
    host.write("policy.yaml", "version: 1\ndefault: drop\n");
    agent.signal(Signal::SIGHUP);
    until("the end of the reload", || (manager.count("READY=1") == 2).then_some(()));
    assert_eq!(manager.count("RELOADING=1"), 1);
    let before = manager.count("WATCHDOG=1");
    until("life with the other policy", || (manager.count("WATCHDOG=1") >= before + 2).then_some(()));

    assert_eq!(agent.stop().0, Some(0));
    assert_eq!(manager.count("STOPPING=1"), 1, "{:?}", manager.told);
    let tests = host.batches().iter().flat_map(|it| it.lines.clone()).filter(is_test).count();
    let most = start.elapsed().as_secs() as usize + 1;
    assert!(tests >= manager.count("WATCHDOG=1") && tests <= most, "{tests} records in {most} halves of the time");
    host.verified();
}

fn is_test(record: &Value) -> bool {
    record["policy"]["rule"] == "self.test"
}

#[test]
fn without_a_watchdog_nothing_of_it_is_there() {
    let host = Host::new("");
    let agent = host.start();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(host.status()["selftest"], Value::Null);
    assert_eq!(agent.stop().0, Some(0));
    let batches = host.batches();
    assert!(batches.iter().all(|it| !it.lines.iter().any(|it| is_test(it) || it.to_string().contains("self.test"))));
}

/// Takes the program out of the table of calls again and again, faster than it is put back.
const BLIND: &str = r#"
import ctypes, glob, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attr):
    it = ctypes.create_string_buffer(attr)
    return libc.syscall(321, command, it, len(attr))
path = ctypes.create_string_buffer(glob.glob(sys.argv[1] + "/*/map_" + sys.argv[2])[0].encode())
table = bpf(7, struct.pack("=QII", ctypes.addressof(path), 0, 0))
assert table >= 0, ctypes.get_errno()
key = ctypes.create_string_buffer(4)
print("ready", flush=True)
while True:
    for slot in range(128):
        ctypes.memmove(key, struct.pack("=I", slot), 4)
        bpf(3, struct.pack("=IIQQQ", table, 0, ctypes.addressof(key), 0, 0))
    time.sleep(0.001)
"#;

#[test]
fn a_blind_agent_does_not_feed_the_watchdog() {
    let host = Host::new("");
    let mut manager = Manager::of(&host);
    let agent = host.start_as(service(&host, 2));
    until("a sign of life", || (manager.count("WATCHDOG=1") >= 1).then_some(()));
    let pins = sigtrail::source::pin::Pins::of(&host.path("state"));
    let mut blinder = Command::new("python3")
        .args(["-c", BLIND])
        .arg(pins.dir())
        .arg("PROGRAMS")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(blinder.stdout.as_mut().unwrap(), &mut ready).unwrap();
    // what was on its way
    thread::sleep(Duration::from_secs(2));
    let before = manager.count("WATCHDOG=1");
    thread::sleep(Duration::from_secs(5));
    let blind = manager.count("WATCHDOG=1") - before;
    blinder.kill().unwrap();
    blinder.wait().unwrap();
    // of five: it is put back every 5 s, and for a moment it sees
    assert!(blind <= 1, "a blind agent said {blind} times that it sees");
    // it mends itself when nobody hinders it
    until("a sign of life again", || (manager.count("WATCHDOG=1") > before).then_some(()));
    assert_eq!(agent.stop().0, Some(0));
}

/// A mount namespace with a BPF file system as systemd leaves it, and the directory that the unit makes there.
struct Space {
    holder: Child,
}

impl Space {
    fn new() -> Self {
        let script = format!(
            "mount -t bpf -o mode=700 bpf /sys/fs/bpf && install -d -m 0700 -o {USER} -g {USER} /sys/fs/bpf/sigtrail && \
             echo ready && exec sleep 600"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self { holder }
    }

    /// The agent in there, as the user of the service with these capabilities.
    fn command(&self, host: &Host, capabilities: &[&str]) -> Command {
        let all: Vec<_> =
            ["-all"].into_iter().map(str::to_owned).chain(capabilities.iter().map(|it| format!("+{it}"))).collect();
        let all = all.join(",");
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.holder.id().to_string(), "setpriv"]);
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
        command.arg(format!("--inh-caps={all}")).arg(format!("--ambient-caps={all}"));
        command.arg(format!("--bounding-set={all}"));
        command.arg(host.path("sigtrail")).args(["run", "--config"]).arg(host.path("sigtrail.yaml"));
        command
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.holder.kill().is_ok() && self.holder.wait().is_err() {
            eprintln!("cannot end {}", self.holder.id());
        }
    }
}

/// A host whose files are the service's.
fn owned() -> Host {
    let host = Host::new("");
    host.configure(&format!("sinks: [{}]", host.file_sink("log")));
    if fs::hard_link(sigtrail(), host.path("sigtrail")).is_err() {
        fs::copy(sigtrail(), host.path("sigtrail")).unwrap();
    }
    let dir = host.path("");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&dir, Some(USER), Some(USER)).unwrap();
    host
}

/// The lines `Cap…` of a thread of the agent with this name.
fn held(pid: u32, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|it| it.unwrap().path());
    let text = threads.map(|it| fs::read_to_string(it.join("status")).unwrap());
    let text = text.into_iter().find(|it| it.starts_with(&format!("Name:\t{name}\n"))).unwrap();
    text.lines()
        .filter(|it| it.starts_with("Cap") || it.starts_with("Seccomp:") || it.starts_with("NoNewPrivs"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_user_of_the_service_needs_four_capabilities() {
    let host = owned();
    let space = Space::new();
    let agent = host.start_as(space.command(&host, &CAPABILITIES));
    let status = host.status();
    assert!(status["hooks"].as_array().unwrap().iter().all(|it| it["degraded"] == Value::Null), "{status:#}");

    // the hot half keeps the four, the delivery none; nothing is handed down to a program
    let four = format!("{:016x}", (1_u64 << 39) | (1 << 38) | (1 << 19) | (1 << 2));
    let none = "0".repeat(16);
    let sets = |kept: &str| {
        [
            ("CapInh", &*none),
            ("CapPrm", kept),
            ("CapEff", kept),
            ("CapBnd", &four),
            ("CapAmb", &none),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ]
        .map(|(name, value)| format!("{name}:\t{value}"))
    };
    assert_eq!(held(agent.pid(), "sigtrail"), sets(&four));
    assert_eq!(held(agent.pid(), "delivery"), sets(&none));

    host.touch("one");
    until("the event at the sink", || delivered(&host).contains("load/one").then_some(()));
    // a policy that wants programs that were not needed before
    host.write("policy.yaml", "version: 1\nrules:\n  - id: all\n    title: t\n    kinds: [mkdir]\n    condition: all\n    verdict: keep\ndefault: drop\n".replace("condition: all", "selection: { path|contains: load }\n    condition: selection").as_str());
    agent.signal(Signal::SIGHUP);
    until("the other policy", || agent.said().contains("another policy holds").then_some(()));
    fs::create_dir(host.path("load/two")).unwrap();
    until("the event of the other policy", || delivered(&host).contains("load/two").then_some(()));

    // killed: the programs go on, and the next run takes up what happened meanwhile
    agent.kill();
    fs::create_dir(host.path("load/meanwhile")).unwrap();
    let agent = host.start_as(space.command(&host, &CAPABILITIES));
    until("the event of the time between", || delivered(&host).contains("load/meanwhile").then_some(()));
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    let batches = host.batches();
    let of = |kind: &str| batches.iter().flat_map(|it| it.of_kind(kind)).cloned().collect::<Vec<_>>();
    assert!(of("agent.start").iter().all(|it| it["pinned"] == true), "{:#?}", of("agent.start"));
    assert_eq!(of("agent.handover")[0]["how"], "replaced");
    assert!(of("agent.degraded").is_empty() && of("agent.lost").is_empty());
    // of the spool, what the sink has is gone
    let files = fs::read_dir(host.path("log")).unwrap().map(|it| it.unwrap().path()).collect::<Vec<_>>();
    let (code, report) = host.verify(&files);
    assert_eq!((code, &report["lost"]), (0, &Value::from(0)), "{report:#}");
}

fn delivered(host: &Host) -> String {
    let Ok(files) = fs::read_dir(host.path("log")) else { return String::new() };
    files.map(|it| fs::read_to_string(it.unwrap().path()).unwrap_or_default()).collect()
}

/// Each capability that is taken away, by what is said then.
#[test]
fn a_capability_that_is_missing_is_named() {
    for (missing, starts) in [("bpf", false), ("perfmon", true), ("sys_ptrace", true), ("dac_read_search", true)] {
        let host = owned();
        let space = Space::new();
        let left: Vec<_> = CAPABILITIES.into_iter().filter(|it| *it != missing).collect();
        let name = format!("CAP_{} is missing: ", missing.to_uppercase());
        let mut command = space.command(&host, &left);
        if !starts {
            let ran = run(&mut command);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(ran.err.contains(&name) && ran.err.contains("nothing is collected"), "{ran:?}");
            continue;
        }
        let agent = host.start_as(command);
        let sees = missing != "perfmon";
        host.touch("one");
        if sees {
            until("the event at the sink", || delivered(&host).contains("load/one").then_some(()));
        }
        let (code, said) = agent.stop();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&name), "{said}");
        let batches = host.batches();
        let degraded: Vec<_> = batches.iter().flat_map(|it| it.of_kind("agent.degraded")).collect();
        assert!(degraded.iter().any(|it| it["why"].as_str().unwrap().starts_with(&name)), "{degraded:#?}");
        if !sees {
            assert!(degraded.len() > 10, "{degraded:#?}");
            continue;
        }
        let pinned =
            &batches.iter().find_map(|it| it.of_kind("agent.start").first().copied().cloned()).unwrap()["pinned"];
        assert_eq!(*pinned, missing != "dac_read_search", "{missing}");
    }
}
