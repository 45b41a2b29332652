//! Who touches the agent makes an alert that is sealed at once, whatever the policy says.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::libc;
use serde_json::Value;
use tests::agent::{Agent, patience};

use crate::actor::{Actor, args, compile};

/// Longest time from the touch until its record is in the sealed log: the reader looks every 50 ms, the batch is sealed
/// 10 ms later; the rest is a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// The alert of a rule about a path, once it is delivered.
fn alert(dir: &Path, rule: &str, path: &Path) -> Option<Value> {
    let mut found = None;
    Agent::log(dir, |line| {
        if let Ok(record) = serde_json::from_str::<Value>(line)
            && record["policy"]["rule"] == rule
            && (record["path"] == path.to_str().unwrap() || record["target"] == path.to_str().unwrap())
        {
            found = Some(record);
        }
    })
    .unwrap();
    found
}

/// Kind and rule of the alert, what is touched, and how.
type Touch<'a> = (&'a str, &'a str, PathBuf, Box<dyn Fn() + 'a>);

#[test]
fn whoever_touches_the_agent_is_told_at_once() {
    let dir = tempfile::Builder::new().prefix("guard-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // a policy that wants nothing
    fs::write(path("policy.yaml"), "version: 1\ndefault: drop\n").unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    thread::sleep(Duration::from_millis(200));

    let secret = path("state/intruder");
    let outside = path("outside");
    fs::write(&outside, "").unwrap();
    let mode = fs::metadata(path("config.yaml")).unwrap().permissions().mode();
    let touches: Vec<Touch<'_>> = vec![
        ("open", "self.written", secret.clone(), Box::new(|| fs::write(&secret, "").unwrap())),
        (
            "chmod",
            "self.changed",
            path("config.yaml"),
            Box::new(|| {
                fs::set_permissions(path("config.yaml"), fs::Permissions::from_mode(mode)).unwrap();
            }),
        ),
        ("chown", "self.changed", path("policy.yaml"), Box::new(|| chown(path("policy.yaml"), Some(0), None).unwrap())),
        (
            "open",
            "self.written",
            path("policy.yaml"),
            Box::new(|| {
                drop(fs::File::options().append(true).open(path("policy.yaml")).unwrap());
            }),
        ),
        (
            "link",
            "self.replaced",
            path("state/linked"),
            Box::new(|| fs::hard_link(&outside, path("state/linked")).unwrap()),
        ),
        (
            "rename",
            "self.changed",
            path("state/linked"),
            Box::new(|| fs::rename(path("state/linked"), path("out")).unwrap()),
        ),
        (
            "rename",
            "self.replaced",
            path("state/back"),
            Box::new(|| fs::rename(path("out"), path("state/back")).unwrap()),
        ),
        ("unlink", "self.changed", path("state/back"), Box::new(|| fs::remove_file(path("state/back")).unwrap())),
        ("unlink", "self.changed", secret.clone(), Box::new(|| fs::remove_file(&secret).unwrap())),
    ];
    for (kind, rule, touched, touch) in &touches {
        let began = Instant::now();
        touch();
        let record = loop {
            if let Some(record) = alert(dir.path(), rule, touched) {
                break record;
            }
            assert!(began.elapsed() < 10 * SOON, "no {rule} about {} ({kind})", touched.display());
            thread::sleep(Duration::from_millis(5));
        };
        println!("{kind} {rule}: in the sealed log after {:?}", began.elapsed());
        assert_eq!((&record["kind"], &record["policy"]["verdict"]), (&(*kind).into(), &"alert".into()), "{record}");
        assert_eq!(record["pid"], std::process::id());
        assert!(began.elapsed() < SOON, "{kind} {rule}: {:?}", began.elapsed());
    }
    drop(touches);

    let pid = agent.pid();
    let report = agent.stop().unwrap();
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{report:#}");
    // what the agent does to its own files makes no alarm
    let mut alarms = 0;
    Agent::log(dir.path(), |line| {
        if let Ok(record) = serde_json::from_str::<Value>(line)
            && record["policy"]["rule"].as_str().is_some_and(|rule| rule.starts_with("self."))
        {
            assert!(record["pid"] != pid && record["pid"] == std::process::id(), "{line}");
            // the signal that ends it is one more
            alarms += u32::from(record["kind"] != "kill");
        }
    })
    .unwrap();
    assert_eq!(alarms, 9);
}

/// What the alerts of a process say: rule, kind, and what was done with which result. All are critical, and of the file
/// that it runs.
fn alerts(dir: &Path, pid: u32, exe: &str) -> Vec<String> {
    let mut found = Vec::new();
    Agent::log(dir, |line| {
        let Ok(record) = serde_json::from_str::<Value>(line) else { return };
        let Some(rule) = record["policy"]["rule"].as_str().and_then(|it| it.strip_prefix("self.")) else { return };
        if record["pid"] == pid {
            assert_eq!(record["policy"]["verdict"], "alert", "{line}");
            assert!(record["process"]["exe"].as_str().is_some_and(|it| it.ends_with(exe)), "{line}");
            let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            let more = ["call", "request", "command", "errno"].map(word).join(" ");
            found.push(format!("{rule}: {}", more.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    })
    .unwrap();
    found
}

/// The number of an eBPF object that a process has open, by the words of its fdinfo; one of several.
fn number(pid: u32, name: &str, kind: &str) -> u32 {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let mut texts = infos.filter_map(|info| fs::read_to_string(info.unwrap().path()).ok());
    let text = texts.find(|text| text.contains(name) && text.contains(kind)).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn wait_for(dir: &Path, pid: u32, exe: &str, expected: &[&str]) {
    let late = Instant::now() + patience();
    while alerts(dir, pid, exe).len() < expected.len() && Instant::now() < late {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(alerts(dir, pid, exe), expected);
}

/// Its process, its programs, maps and links, and the places where its files are: each touch is told once.
#[test]
fn each_hand_on_the_agent_is_told_once() {
    let dir = tempfile::Builder::new().prefix("hands-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("policy.yaml"), "version: 1\ndefault: drop\n").unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    let pid = agent.pid();
    compile("act", &path("act"));
    let mut actor = Actor::start(&path("act"));
    let mut act = |number: i64, list: &[crate::actor::Arg]| actor.call(number, list).ret;

    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid.cast_signed()))).unwrap();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = threads.map(|it| it.unwrap().file_name().to_str().unwrap().parse::<u32>().unwrap());
    let thread = threads.filter(|it| *it != pid).min().unwrap();
    assert_eq!(act(libc::SYS_kill, args![pid, 18]), 0);
    assert_eq!(act(libc::SYS_kill, args![-group.as_raw(), 18]), 0);
    // no signal: nobody on this host gets it
    assert_eq!(act(libc::SYS_kill, args![-1, 99]), -22);
    assert_eq!(act(libc::SYS_tkill, args![thread, 18]), 0);
    let pidfd = act(libc::SYS_pidfd_open, args![pid, 0]);
    assert_eq!(act(libc::SYS_pidfd_send_signal, args![pidfd, 18, 0, 0]), 0);
    assert!(act(libc::SYS_pidfd_getfd, args![pidfd, 0, 0]) >= 0);
    // a page of its own, of which is said that it will not be needed soon (MADV_COLD: Linux 5.10 takes hardly another)
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let page = u64::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();
    let page = [page.to_ne_bytes(), 4096_u64.to_ne_bytes()].concat();
    assert_eq!(act(libc::SYS_process_madvise, args![pidfd, page, 1, 20, 0]), 4096);
    let iov = words(&[4096, 0, 8, 0]);
    act(libc::SYS_process_vm_writev, args![pid, iov.clone(), 1, iov, 1, 0]);
    assert_eq!(act(libc::SYS_ptrace, args![0x4206, thread, 0, 0]), 0);
    let limits = [0_u64.to_ne_bytes(); 2].concat();
    assert_eq!(act(libc::SYS_prlimit64, args![thread, 4, limits, 0]), 0);
    let memory = format!("/proc/{pid}/mem");
    assert!(act(libc::SYS_open, args![memory.as_str(), libc::O_RDWR]) >= 0);
    let mut expected = vec![
        "signalled: kill",
        "signalled: kill",
        "signalled: kill EINVAL",
        "signalled: tkill",
        "process: pidfd_open",
        "signalled: pidfd_send_signal",
        "process: pidfd_getfd",
        "process: process_madvise",
        "process: process_vm_writev EFAULT",
        "process: ptrace PTRACE_SEIZE",
        "process: prlimit64",
        "written: open",
    ];

    let program = number(pid, "prog_id:", "prog_jited");
    // OWN, which is always in use: a BPF_MAP_TYPE_HASH
    let map = number(pid, "map_id:", "map_type:\t1\nkey_size:\t8\nvalue_size:\t4\nmax_entries:\t1024\n");
    let link = number(pid, "link_id:", "");
    assert!(act(libc::SYS_bpf, args![13, words(&[program, 0, 0]), 12]) >= 0);
    let map = act(libc::SYS_bpf, args![14, words(&[map, 0, 0]), 12]);
    let link = act(libc::SYS_bpf, args![30, words(&[link, 0, 0]), 12]);
    assert!(map >= 0 && link >= 0);
    let fd = |fd: i64| u32::try_from(fd).unwrap();
    // links of these types are not detached by hand
    assert_eq!(act(libc::SYS_bpf, args![34, words(&[fd(link)]), 4]), -95);
    assert!(act(libc::SYS_bpf, args![29, words(&[fd(link), 0, 0, 0]), 16]) < 0);
    assert!(act(libc::SYS_bpf, args![3, words(&[fd(map), 0, 0, 0, 0, 0, 0, 0]), 32]) < 0);
    // what only looks is no touch
    act(libc::SYS_bpf, args![15, words(&[fd(map), 0, 0, 0]), 16]);
    act(libc::SYS_bpf, args![11, words(&[0, 0]), 8]);
    expected.extend([
        "bpf: bpf BPF_PROG_GET_FD_BY_ID",
        "bpf: bpf BPF_MAP_GET_FD_BY_ID",
        "bpf: bpf BPF_LINK_GET_FD_BY_ID",
        "bpf: bpf BPF_LINK_DETACH EOPNOTSUPP",
        "bpf: bpf BPF_LINK_UPDATE EINVAL",
        "bpf: bpf BPF_MAP_DELETE_ELEM EFAULT",
    ]);

    for name in ["state", "run", "."] {
        let place = path(name).canonicalize().unwrap();
        let (none, bind) = (0, libc::MS_BIND.cast_signed());
        assert_eq!(act(libc::SYS_mount, args![&place, &place, none, bind, none]), 0);
        assert_eq!(act(libc::SYS_umount2, args![&place, libc::MNT_DETACH]), 0);
    }
    expected.extend(["changed: mount", "changed: umount2", "changed: mount", "changed: umount2"]);
    expected.extend(["covered: mount", "covered: umount2"]);
    wait_for(dir.path(), actor.pid(), "/act", &expected);

    // who cannot reach the agent does not alarm it by a signal to everyone
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65533", "--clear-groups", "bash", "-c", "kill -CONT -1 2> /dev/null; exec true"]);
    assert!(nobody.status().unwrap().success());
    let other = actor.pid();
    drop(actor);
    let report = agent.stop().unwrap();
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{report:#}");
    Agent::log(dir.path(), |line| {
        if let Ok(record) = serde_json::from_str::<Value>(line)
            && record["policy"]["rule"].as_str().is_some_and(|rule| rule.starts_with("self.sign"))
        {
            // the signal that ends it comes from here
            assert!(record["pid"] == other || record["pid"] == std::process::id(), "{line}");
        }
    })
    .unwrap();
}

/// The program that the agent runs: it is moved away, another one takes its place, and that is removed.
#[test]
fn who_replaces_the_program_is_told() {
    let dir = tempfile::Builder::new().prefix("program-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("policy.yaml"), "version: 1\ndefault: drop\n").unwrap();
    let program = std::env::var_os("SIGTRAIL").unwrap();
    fs::copy(&program, path("sigtrail")).unwrap();
    fs::write(path("new"), "").unwrap();
    let policy = format!("policy: [{}]\n", path("policy.yaml").display());
    let agent = Agent::start_copy(&path("sigtrail"), dir.path(), &policy).unwrap();
    compile("act", &path("act"));
    let mut actor = Actor::start(&path("act"));
    let (here, there, new) = (path("sigtrail"), path("old"), path("new"));
    assert_eq!(actor.call(libc::SYS_rename, args![&here, &there]).ret, 0);
    assert_eq!(actor.call(libc::SYS_rename, args![&new, &here]).ret, 0);
    assert_eq!(actor.call(libc::SYS_unlink, args![&here]).ret, 0);
    wait_for(dir.path(), actor.pid(), "/act", &["changed: rename", "replaced: rename", "changed: unlink"]);
    drop(actor);
    agent.stop().unwrap();
}
