//! Sequences of events against the contexts that they must give.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use common::{
    Event, Header, Kind,
    event::{Exec, Exit, Fork, Unlink},
    wire::{Id, Path as WirePath, Prefix, mark},
};
use tempfile::TempDir;
use zerocopy::{FromZeros, IntoBytes};

use super::{Enrich, EnrichError, Options};
use crate::record::{Process, json, sample};

const BOOT: &str = "4fae6c36-c319-4d06-af4d-55c3c83b02d9";
const TICK: u64 = 10_000_000;
const SECOND: u64 = 1_000_000_000;

/// Process id, start in ticks, process id of the parent.
type Who = (u32, u64, u32);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Caller, child, start of the child, parent of the child.
    Fork(Who, u32, u64, u32),
    Exec(Who, &'static str),
    ExecFails(Who, &'static str),
    ExecCut(Who, &'static str),
    Exit(Who),
    Unlink(Who),
}
use Step::{Exec as Execs, ExecCut, ExecFails, Exit as Exits, Fork as Forks, Unlink as Unlinks};

/// The bytes of an event of a process that started at this tick.
fn wire(kind: Kind, ticks: u64, header: &Header, body: &[u8], tail: &[u8]) -> Vec<u64> {
    // not at the edge of a tick: nanoseconds are cut, not rounded
    let start = ticks * TICK + TICK - 1;
    sample::event(Prefix { start, ..sample::prefix(kind) }, header, body, tail)
}

fn step_wire(step: Step, ktime: u64) -> Vec<u64> {
    let header = |(pid, _, ppid): Who| Header { ktime, pid, tid: pid, ppid, ..Header::default() };
    let exec = |who: Who, ret: i64, path: &str, marks: u32| {
        let tail: Vec<u8> =
            path.split('/').rev().filter(|it| !it.is_empty()).flat_map(|it| [it.as_bytes(), b"\0"].concat()).collect();
        let path = WirePath { len: tail.len() as u32, marks, ..WirePath::default() };
        let body = Exec { path, ..Exec::new_zeroed() };
        wire(Kind::Exec, who.1, &Header { ret, ..header(who) }, body.as_bytes(), &tail)
    };
    match step {
        Forks(who, child_pid, start, parent) => {
            let body = Fork { child_start: start * TICK, child_pid, child_ppid: parent };
            wire(Kind::Fork, who.1, &header(who), body.as_bytes(), &[])
        }
        Execs(who, path) => exec(who, 0, path, 0),
        ExecFails(who, path) => exec(who, -2, path, mark::USER),
        ExecCut(who, path) => exec(who, 0, path, mark::TRUNCATED),
        Exits(who) => wire(Kind::Exit, who.1, &header(who), Exit::default().as_bytes(), &[]),
        Unlinks(who) => wire(Kind::Unlink, who.1, &header(who), Unlink::default().as_bytes(), &[]),
    }
}

/// A procfs as it looks to a reader: `(pid, ticks, ppid, program, lines of cgroup)`.
fn write_proc(root: &Path, processes: &[(u32, u64, u32, &str, &str)]) {
    for (pid, ticks, ppid, exe, cgroup) in processes {
        let dir = root.join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let flags = if exe.is_empty() { 0x0020_8040 } else { 0x0040_0100 };
        let stat = format!("{pid} (a) b) S {ppid} 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0\n");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        if !exe.is_empty() {
            symlink(exe, dir.join("exe")).unwrap();
        }
    }
}

fn prime(proc: &TempDir, processes: usize) -> Enrich {
    let root = proc.path().to_owned();
    Enrich::prime(Options { proc: root.clone(), root, processes, ..Options::new(BOOT) }).unwrap()
}

/// `PID-TICKS program < ancestors`, with `?` for what is unknown, and `partly` when not complete.
fn summary(process: &Process) -> String {
    assert_eq!(process.json, json::process(process), "the JSON is that of the parts");
    let name = |name: &[u8]| if name.is_empty() { "?".to_owned() } else { String::from_utf8(name.to_vec()).unwrap() };
    let id = process.id.strip_prefix("4fae6c36-").unwrap();
    let exe = name(process.exe.as_deref().unwrap_or_default());
    let mut words = vec![id.to_owned(), exe, "<".to_owned()];
    words.extend(process.ancestors.split_inclusive(|byte| *byte == 0).map(|it| name(it.strip_suffix(b"\0").unwrap())));
    if let Some(parent) = &process.parent {
        assert!(parent.id.starts_with(&format!("4fae6c36-{}-", parent.pid)));
        let first = process.ancestors.split(|byte| *byte == 0).next().unwrap();
        assert_eq!(parent.exe.as_deref().unwrap_or_default(), first, "the parent is the first ancestor");
    }
    if !process.complete {
        words.push("partly".to_owned());
    }
    words.join(" ")
}

const INIT: Who = (1, 1, 0);
const SHELL: Who = (10, 100, 1);

/// Starts with init and a shell (and a thread of the kernel), and gives each event a millisecond.
fn check(name: &str, steps: &[(Step, &str)]) {
    let proc = tempfile::tempdir().unwrap();
    write_proc(proc.path(), &[(1, 1, 0, "/sbin/init", ""), (2, 1, 0, "", ""), (10, 100, 1, "/bin/sh", "")]);
    let mut enrich = prime(&proc, 1000);
    assert_eq!(enrich.processes(), 3);
    // seen from now on: late, alive, with a hidden program; its parent was not there either
    write_proc(proc.path(), &[(60, 600, 10, "/bin/late", ""), (61, 610, 60, "/bin/later", "")]);
    for (at, (step, expected)) in steps.iter().enumerate() {
        let words = step_wire(*step, at as u64 * 1_000_000);
        let event = Event::decode(words.as_bytes()).unwrap();
        let context = enrich.context(&event);
        assert_eq!(summary(context.process.unwrap()), *expected, "{name}, step {at}: {step:?}");
    }
}

#[test]
fn the_way_of_a_process() {
    let (a, b): (Who, Who) = ((20, 200, 10), (21, 210, 20));
    check(
        "fork, exec, exit",
        &[
            (Forks(SHELL, 20, 200, 10), "10-100 /bin/sh < /sbin/init partly"),
            (Unlinks(a), "20-200 /bin/sh < /bin/sh /sbin/init"),
            (ExecFails(a, "/bin/nothing"), "20-200 /bin/sh < /bin/sh /sbin/init"),
            (Execs(a, "/usr/bin/make"), "20-200 /usr/bin/make < /bin/sh /sbin/init"),
            (Forks(a, 21, 210, 20), "20-200 /usr/bin/make < /bin/sh /sbin/init"),
            (Execs(b, "/usr/bin/cc"), "21-210 /usr/bin/cc < /usr/bin/make /bin/sh /sbin/init"),
            (Exits(a), "20-200 /usr/bin/make < /bin/sh /sbin/init"),
            // the parent is init now; the ancestors are who they were
            (Unlinks((21, 210, 1)), "21-210 /usr/bin/cc < /usr/bin/make /bin/sh /sbin/init"),
            (Unlinks(a), "20-200 /usr/bin/make < /bin/sh /sbin/init"),
        ],
    );
    check(
        "the parent runs another program after the fork",
        &[
            (Forks(SHELL, 20, 200, 10), "10-100 /bin/sh < /sbin/init partly"),
            (Execs(SHELL, "/bin/zsh"), "10-100 /bin/zsh < /sbin/init partly"),
            (Forks(SHELL, 21, 210, 10), "10-100 /bin/zsh < /sbin/init partly"),
            (Unlinks(a), "20-200 /bin/sh < /bin/sh /sbin/init"),
            (Unlinks((21, 210, 10)), "21-210 /bin/zsh < /bin/zsh /sbin/init"),
        ],
    );
    check(
        "CLONE_PARENT: the parent is the caller's",
        &[
            (Forks(SHELL, 20, 200, 1), "10-100 /bin/sh < /sbin/init partly"),
            (Unlinks((20, 200, 1)), "20-200 /bin/sh < /sbin/init"),
            (Forks(SHELL, 21, 210, 99), "10-100 /bin/sh < /sbin/init partly"),
            (Unlinks((21, 210, 99)), "21-210 /bin/sh < partly"),
        ],
    );
    check("a cut path", &[(ExecCut(SHELL, "/bin/long"), "10-100 /bin/long < /sbin/init partly")]);
    check("a thread of the kernel", &[(Unlinks((2, 1, 0)), "2-1 ? < partly")]);
}

#[test]
fn process_ids_come_again() {
    check(
        "another process by the same id",
        &[
            (Forks(SHELL, 20, 200, 10), "10-100 /bin/sh < /sbin/init partly"),
            (Execs((20, 200, 10), "/bin/a"), "20-200 /bin/a < /bin/sh /sbin/init"),
            (Exits((20, 200, 10)), "20-200 /bin/a < /bin/sh /sbin/init"),
            (Forks(INIT, 20, 300, 1), "1-1 /sbin/init < partly"),
            (Unlinks((20, 300, 1)), "20-300 /sbin/init < /sbin/init"),
            // a late event of the first: it has its id, and nothing of the second
            (Unlinks((20, 200, 10)), "20-200 ? < partly"),
            (Exits((20, 200, 10)), "20-200 ? < partly"),
            (Unlinks((20, 300, 1)), "20-300 /sbin/init < /sbin/init"),
        ],
    );
}

#[test]
fn lost_events_are_said() {
    check(
        "the fork was lost and the process is gone",
        &[
            (Unlinks((50, 500, 10)), "50-500 ? < /bin/sh /sbin/init partly"),
            (Execs((50, 500, 10), "/bin/x"), "50-500 /bin/x < /bin/sh /sbin/init partly"),
            (Forks((50, 500, 10), 51, 510, 50), "50-500 /bin/x < /bin/sh /sbin/init partly"),
            (Unlinks((51, 510, 50)), "51-510 /bin/x < /bin/x /bin/sh /sbin/init partly"),
        ],
    );
    check(
        "the parent is unknown, too young, or nobody",
        &[
            (Unlinks((50, 500, 49)), "50-500 ? < partly"),
            (Unlinks((51, 99, 10)), "51-99 ? < partly"),
            (Unlinks((52, 500, 0)), "52-500 ? < partly"),
        ],
    );
    check(
        "/proc has it, and its parent, which was lost too",
        &[(Unlinks((61, 610, 60)), "61-610 /bin/later < /bin/late /bin/sh /sbin/init partly")],
    );
    check(
        "/proc has another one by that id",
        &[(Unlinks((61, 605, 60)), "61-605 ? < /bin/late /bin/sh /sbin/init partly")],
    );
    check(
        "the exec came before the fork, from another CPU",
        &[
            (Execs((20, 200, 10), "/bin/x"), "20-200 /bin/x < /bin/sh /sbin/init partly"),
            (Forks(SHELL, 20, 200, 10), "10-100 /bin/sh < /sbin/init partly"),
            (Unlinks((20, 200, 10)), "20-200 /bin/x < /bin/sh /sbin/init"),
        ],
    );
    check(
        "the fork is older than who has the id now",
        &[
            (Forks(SHELL, 20, 300, 10), "10-100 /bin/sh < /sbin/init partly"),
            (Forks(INIT, 20, 200, 1), "1-1 /sbin/init < partly"),
            (Unlinks((20, 300, 10)), "20-300 /bin/sh < /bin/sh /sbin/init"),
        ],
    );
}

#[test]
fn ancestors_end_after_sixteen_levels() {
    let proc = tempfile::tempdir().unwrap();
    write_proc(proc.path(), &[(1, 1, 0, "/sbin/init", "")]);
    let mut enrich = prime(&proc, 1000);
    for pid in 1..40 {
        let who = (pid, u64::from(pid), pid - 1);
        let words = step_wire(Forks(who, pid + 1, u64::from(pid) + 1, pid), 0);
        enrich.context(&Event::decode(words.as_bytes()).unwrap());
    }
    let words = step_wire(Unlinks((40, 40, 39)), 0);
    let context = enrich.context(&Event::decode(words.as_bytes()).unwrap());
    assert_eq!(context.process.unwrap().ancestors, b"/sbin/init\0".repeat(16));
}

#[test]
fn the_exited_leave_a_while_later() {
    let proc = tempfile::tempdir().unwrap();
    write_proc(proc.path(), &[(1, 1, 0, "/sbin/init", "")]);
    let mut enrich = prime(&proc, 1000);
    let mut counts = Vec::new();
    let mut feed = |step, ktime| {
        let words = step_wire(step, ktime);
        enrich.context(&Event::decode(words.as_bytes()).unwrap());
        counts.push(enrich.processes());
    };
    feed(Forks(INIT, 20, 200, 1), 0);
    feed(Exits((20, 200, 1)), SECOND);
    feed(Unlinks(INIT), 6 * SECOND);
    feed(Unlinks(INIT), 6 * SECOND + 1);
    // its late events do not stay either
    feed(Unlinks((20, 200, 1)), 7 * SECOND);
    feed(Unlinks(INIT), 12 * SECOND + 1);
    assert_eq!(counts, [2, 2, 2, 1, 2, 1]);
}

#[test]
fn a_fork_bomb_stays_below_the_limit() {
    for (births, exits) in [(200_000, false), (100_000, true)] {
        let proc = tempfile::tempdir().unwrap();
        write_proc(proc.path(), &[(1, 1, 0, "/sbin/init", "")]);
        let mut enrich = prime(&proc, 65_536);
        // each process forks a thousand births after its own
        let who = |pid: u32| (pid, u64::from(pid), pid.saturating_sub(1000).max(1));
        for pid in 2..births {
            let caller = who(who(pid).2);
            let words = step_wire(Forks(caller, pid, pid.into(), caller.0), 0);
            enrich.context(&Event::decode(words.as_bytes()).unwrap());
            if exits {
                let words = step_wire(Exits(who(pid)), 0);
                enrich.context(&Event::decode(words.as_bytes()).unwrap());
            }
            assert!(enrich.processes() <= 65_536);
        }
        let words = step_wire(Unlinks(who(births - 1)), 0);
        let process = enrich.context(&Event::decode(words.as_bytes()).unwrap()).process.unwrap();
        assert!(process.complete && process.exe.is_some(), "the last ones are known as ever");
        let words = step_wire(Unlinks(who(1500)), 0);
        let process = enrich.context(&Event::decode(words.as_bytes()).unwrap()).process.unwrap();
        assert!(!process.complete, "of the first ones nothing is left");
    }
}

#[test]
fn control_groups_are_followed() {
    let id = "3f1e0c5b7a9d4e2f8c6b5a4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f";
    let proc = tempfile::tempdir().unwrap();
    let groups = tempfile::tempdir().unwrap();
    let scope = format!("system.slice/docker-{id}.scope");
    for group in ["init.scope", "system.slice/cron.service", &scope] {
        fs::create_dir_all(groups.path().join(group)).unwrap();
    }
    let inode = |group: &str| fs::metadata(groups.path().join(group)).unwrap().ino();
    fs::create_dir(proc.path().join("self")).unwrap();
    let mounts = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", groups.path().display());
    fs::write(proc.path().join("self/mountinfo"), mounts).unwrap();
    fs::write(proc.path().join("self/cgroup"), "0::/\n").unwrap();
    write_proc(
        proc.path(),
        &[
            (1, 1, 0, "/sbin/init", "0::/init.scope\n"),
            (10, 100, 1, "/usr/sbin/cron", "0::/system.slice/cron.service\n"),
        ],
    );
    let mut enrich = prime(&proc, 1000);

    let cases = [
        (INIT, inode("init.scope"), "/init.scope", None, Some("init.scope")),
        ((10, 100, 1), inode("system.slice/cron.service"), "/system.slice/cron.service", None, Some("cron.service")),
        // /proc still has the old group, or a new one already: the id decides
        ((10, 100, 1), inode(&scope), &format!("/{scope}"), Some(id), Some(&format!("docker-{id}.scope"))),
        // the kernel half could not tell
        ((10, 100, 1), 0, &format!("/{scope}"), Some(id), Some(&format!("docker-{id}.scope"))),
        ((10, 100, 1), inode("init.scope"), "/init.scope", None, Some("init.scope")),
        // gone, fork lost
        ((77, 700, 10), inode(&scope), &format!("/{scope}"), Some(id), Some(&format!("docker-{id}.scope"))),
    ];
    for ((pid, ticks, ppid), cgroup_id, path, container, unit) in cases {
        let header = Header { ktime: SECOND, cgroup_id, pid, ppid, ..Header::default() };
        let words = wire(Kind::Unlink, ticks, &header, Unlink::default().as_bytes(), &[]);
        let process = enrich.context(&Event::decode(words.as_bytes()).unwrap()).process.unwrap();
        assert_eq!(process.cgroup.as_deref(), Some(path));
        assert_eq!(
            process.container.as_ref().map(|it| (it.id.as_str(), it.runtime)),
            container.map(|id| (id, "docker"))
        );
        assert_eq!(process.unit.as_deref(), unit);
        assert_eq!(process.json, json::process(process));
    }
}

#[test]
fn users_are_named() {
    let proc = tempfile::tempdir().unwrap();
    fs::create_dir(proc.path().join("etc")).unwrap();
    fs::write(proc.path().join("etc/passwd"), "root:x:0:0::/:\nann:x:1000:50::/:\n").unwrap();
    fs::write(proc.path().join("etc/group"), "staff:x:50:\n").unwrap();
    let mut enrich = prime(&proc, 1000);
    let ids = Header { uid: Id(1000), euid: Id(0), auid: Id(u32::MAX), gid: Id(50), ..Header::default() };
    let words = wire(Kind::Unlink, 1, &ids, Unlink::default().as_bytes(), &[]);
    let context = enrich.context(&Event::decode(words.as_bytes()).unwrap());
    assert_eq!(
        (context.user, context.euser, context.auser, context.group),
        (Some("ann"), Some("root"), None, Some("staff"))
    );
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    for bad in ["", "4fae6c3", "4fae6c3-", "x"] {
        assert!(matches!(Enrich::prime(Options::new(bad)), Err(EnrichError::BootId(it)) if it == bad));
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options { proc: dir.path().join("none"), ..Options::new(BOOT) };
    assert!(matches!(Enrich::prime(options), Err(EnrichError::Proc { .. })));
}

/// Start of a real process in ticks, read another way than the code does.
fn real_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

fn real_prime() -> (Enrich, String) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    (Enrich::prime(Options::new(boot.trim_end())).unwrap(), boot[..8].to_owned())
}

#[test]
fn this_process_is_found_in_proc() {
    let (mut enrich, boot) = real_prime();
    let (pid, above) = (std::process::id(), std::os::unix::process::parent_id());
    let words = step_wire(Unlinks((pid, real_ticks(pid), above)), 0);
    let process = enrich.context(&Event::decode(words.as_bytes()).unwrap()).process.unwrap();
    assert_eq!(process.id, format!("{boot}-{pid}-{}", real_ticks(pid)));
    assert_eq!(process.exe.as_deref(), Some(std::env::current_exe().unwrap().as_os_str().as_encoded_bytes()));
    let parent = process.parent.as_ref().unwrap();
    assert_eq!((parent.pid, parent.id.clone()), (above, format!("{boot}-{above}-{}", real_ticks(above))));
    assert!(process.cgroup.as_ref().unwrap().starts_with('/'));
}

#[test]
fn a_child_is_found_by_its_event() {
    let (mut enrich, boot) = real_prime();
    // it reads until its input ends, which is when the test ends
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let words = step_wire(Unlinks((pid, real_ticks(pid), std::process::id())), 0);
    let process = enrich.context(&Event::decode(words.as_bytes()).unwrap()).process.unwrap();
    let expected = (format!("{boot}-{pid}-{}", real_ticks(pid)), Some(exe.as_os_str().as_encoded_bytes()), false);
    assert_eq!((process.id.clone(), process.exe.as_deref(), process.complete), expected);
    let own = std::env::current_exe().unwrap();
    assert!(process.ancestors.starts_with(&[own.as_os_str().as_encoded_bytes(), b"\0"].concat()));
    drop(child.stdin.take());
    child.wait().unwrap();
}
