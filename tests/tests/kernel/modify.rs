//! modify: what a process wrote, told when it closes its last descriptor of the open file.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::Command,
    thread,
};

use nix::libc::{self, AT_FDCWD};
use serde_json::{Value, json};
use tests::agent::Agent;

use crate::{
    FAMILIES,
    actor::{Actor, Arg, Stage, args, compile, stat},
};

/// Numbers of i386 (`arch/x86/entry/syscalls/syscall_32.tbl`).
const WRITE_32: i64 = 4;
const CLOSE_32: i64 = 6;
const PWRITE64_32: i64 = 181;
/// Where the actor has memory whose address is known.
const MEMORY: i64 = 0x1000_0000;

fn open(it: &mut Stage, path: &Path, flags: i32) -> i64 {
    it.quiet(libc::SYS_openat, args![AT_FDCWD, path, flags, 0o600])
}

fn writes(it: &mut Stage, descriptor: i64, text: &str) {
    let len = i64::try_from(text.len()).unwrap();
    assert_eq!(it.quiet(libc::SYS_write, args![descriptor, text, len]), len);
}

/// The records of a kind about a file, of all processes, since the last look.
fn told(it: &mut Stage, path: &Path) -> Vec<Value> {
    let mut records = it.gather_all();
    records.retain(|it| it["kind"] == "modify" && it["path"] == path.to_str().unwrap());
    records
}

/// Demands one record about a file, with these fields.
#[track_caller]
fn check(it: &mut Stage, name: &str, path: &Path, expected: &Value) -> Value {
    let records = told(it, path);
    assert_eq!(records.len(), 1, "{name}: one record expected, not {records:#?}");
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&records[0][field], value, "{name}: {field} in {}", records[0]);
    }
    assert_eq!(records[0]["evidence"]["user_copy"], Value::Null, "{name}: all of it is the kernel's");
    records.into_iter().next().unwrap()
}

/// What io_uring(7) wrote is counted with what calls wrote, and told when calls close it, or its process ends.
#[test]
fn rings() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        compile("uring", &it.path("uring"));
        for mode in ["write", "wsqpoll"] {
            let dir = it.path(mode);
            fs::create_dir(&dir).unwrap();
            let out = Command::new(it.path("uring")).arg(&dir).arg(mode).output().unwrap();
            let said = String::from_utf8(out.stdout).unwrap();
            assert_eq!(said, "splice 6\nwritev 8\nfallocate 0\nwrite.denied -9\nwrite 3\nwrite.left 4\nwrite.slot 4\n");
            let mut records = it.gather_all();
            records.retain(|it| it["kind"] == "modify" && Path::new(it["path"].as_str().unwrap()).starts_with(&dir));
            let mut told: Vec<_> = records
                .iter()
                .map(|it| {
                    let name = Path::new(it["path"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
                    (name, &it["bytes"], &it["writes"], &it["size"], &it["call"], &it["evidence"]["hook"])
                })
                .collect();
            told.sort_by_key(|it| it.0);
            let (end, null) = (json!("sched_process_exit"), Value::Null);
            assert_eq!(
                told,
                [
                    ("left", &json!("8"), &json!(2), &json!("8"), &null, &end),
                    ("slot", &json!("4"), &json!(1), &json!("4"), &null, &end),
                    ("written", &json!("17"), &json!(4), &json!("100"), &json!("close"), &json!("sys_enter")),
                ],
                "{family}, {mode}"
            );
        }
    }
}

const WRITE: i32 = libc::O_WRONLY | libc::O_CREAT;

#[test]
fn calls_that_close() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");

        let fd = open(&mut it, &file, WRITE);
        for text in ["one", "two", "three"] {
            writes(&mut it, fd, text);
        }
        assert!(told(&mut it, &file).is_empty(), "{family}: no record of a write");
        let done = it.actor.call(libc::SYS_close, args![fd]);
        let (dev, inode, _) = stat(&file);
        let body = json!({
            "kind": "modify", "call": "close", "path": &file, "dev": dev, "inode": inode, "bytes": "11", "writes": 3,
            "size": "11", "deleted": false, "still_open": false, "hook": "sys_enter",
        });
        let mut records = it.records(done);
        let duration = records[0].as_object_mut().unwrap().remove("duration").unwrap();
        let duration: u64 = duration.as_str().unwrap().parse().unwrap();
        assert!(duration > 0 && duration < done.after, "{duration}");
        it.compare("sequential writes", done, records, body);

        // in the middle, and by the other ways to close
        let fd = open(&mut it, &file, WRITE);
        it.quiet(libc::SYS_pwrite64, args![fd, "hello", 5, 100]);
        let null = open(&mut it, Path::new("/dev/null"), libc::O_RDONLY);
        it.quiet(libc::SYS_dup2, args![null, fd]);
        check(&mut it, "dup2", &file, &json!({ "call": "dup2", "bytes": "5", "size": "105" }));
        it.quiet(libc::SYS_close, args![fd]);

        let fd = open(&mut it, &file, WRITE);
        writes(&mut it, fd, "x");
        it.quiet(libc::SYS_dup3, args![null, fd, libc::O_CLOEXEC]);
        check(&mut it, "dup3", &file, &json!({ "call": "dup3", "bytes": "1" }));

        let (low, other) = (open(&mut it, &file, WRITE), it.path("other"));
        let high = open(&mut it, &other, WRITE);
        writes(&mut it, low, "low");
        writes(&mut it, high, "high!");
        // since Linux 5.11
        assert!([0, -i64::from(libc::EINVAL)].contains(&it.actor.call(libc::SYS_close_range, args![low, high, 4]).ret));
        assert!(told(&mut it, &file).is_empty(), "{family}: CLOSE_RANGE_CLOEXEC closes nothing");
        it.quiet(libc::SYS_close_range, args![low, high, 0]);
        let records = it.gather();
        let closed: Vec<_> = records.iter().filter(|it| it["kind"] == "modify").collect();
        assert_eq!(closed.len(), 2, "{family}: {closed:#?}");
        for (path, bytes) in [(&file, "3"), (&other, "5")] {
            assert!(
                closed.iter().any(|it| it["path"] == path.to_str().unwrap()
                    && it["bytes"] == bytes
                    && it["call"] == "close_range")
            );
        }

        // calls that close nothing
        let fd = open(&mut it, &file, WRITE);
        writes(&mut it, fd, "abc");
        assert!(it.actor.call(libc::SYS_dup2, args![999, fd]).ret < 0);
        it.quiet(libc::SYS_dup2, args![fd, fd]);
        assert!(it.actor.call(libc::SYS_dup3, args![null, fd, 1]).ret < 0);
        assert!(it.actor.call(libc::SYS_close_range, args![fd, fd, 8]).ret < 0);
        assert!(told(&mut it, &file).is_empty(), "{family}: it is still open");
        it.quiet(libc::SYS_close, args![fd]);
        check(&mut it, "after calls that failed", &file, &json!({ "call": "close", "bytes": "3" }));
    }
}

#[test]
fn more_than_one_descriptor() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");
        let fd = open(&mut it, &file, WRITE);
        writes(&mut it, fd, "a");
        let second = it.quiet(libc::SYS_fcntl, args![fd, libc::F_DUPFD, 200]);
        it.quiet(libc::SYS_close, args![fd]);
        assert!(told(&mut it, &file).is_empty(), "{family}: another descriptor is open");
        writes(&mut it, second, "bc");
        it.quiet(libc::SYS_close, args![second]);
        check(&mut it, "two descriptors", &file, &json!({ "bytes": "3", "writes": 2, "still_open": false }));

        // a mapping holds it
        let fd = open(&mut it, &file, libc::O_RDWR);
        writes(&mut it, fd, "abc");
        it.quiet(libc::SYS_mmap, args![0, 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0]);
        it.quiet(libc::SYS_close, args![fd]);
        check(&mut it, "a mapping", &file, &json!({ "bytes": "3", "still_open": true }));

        // threads have one table of descriptors: one writes, the other closes
        let mut shared = File::create(&file).unwrap();
        let shared = thread::spawn(move || {
            shared.write_all(b"by a thread").unwrap();
            shared
        });
        drop(shared.join().unwrap());
        check(&mut it, "threads", &file, &json!({ "bytes": "11", "pid": std::process::id() }));

        // a child writes by what it inherits: each tells its own
        let script = "exec 9>\"$0\"; (echo child >&9); echo parent >&9";
        let mut shell = Command::new("bash").args(["-c", script]).arg(&file).spawn().unwrap();
        let pid = shell.id();
        shell.wait().unwrap();
        let records = told(&mut it, &file);
        let seen = |it: &Value| (it["pid"] == pid, it["bytes"].clone(), it["still_open"].clone());
        let seen: Vec<_> = records.iter().map(seen).collect();
        let expected = [(false, json!("6"), json!(true)), (true, json!("7"), json!(false))];
        assert_eq!(seen, expected, "{family}: {records:#?}");
    }
}

#[test]
fn ends_without_a_close() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");
        for signal in [false, true] {
            let mut other = Actor::start(&it.program);
            let fd = other.call(libc::SYS_open, args![&file, WRITE, 0o600]).ret;
            assert_eq!(other.call(libc::SYS_write, args![fd, "end", 3]).ret, 3);
            let pid = other.pid();
            if signal {
                other.last(libc::SYS_kill, args![i64::from(pid), libc::SIGKILL]);
            } else {
                other.last(libc::SYS_exit_group, args![0]);
            }
            let expected = json!({ "pid": pid, "bytes": "3", "still_open": false, "call": null });
            let record = check(&mut it, "exit", &file, &expected);
            assert_eq!(record["evidence"]["hook"], "sched_process_exit");
            assert!(record["process"]["exe"].as_str().unwrap().ends_with("/act"), "{record}");
        }

        // an exec that fails closes nothing
        let fd = open(&mut it, &file, WRITE | libc::O_CLOEXEC);
        let kept = it.path("kept");
        let stays = open(&mut it, &kept, WRITE);
        writes(&mut it, fd, "before");
        writes(&mut it, stays, "12");
        assert!(it.actor.call(libc::SYS_execve, args!["/no-such-place/program", 0, 0]).ret < 0);
        assert!(told(&mut it, &file).is_empty(), "{family}: a failed exec");
        let next = it.path("next");
        fs::copy(&it.program, &next).unwrap();
        let argv: &[&str] = &["next"];
        assert_eq!(it.actor.call(libc::SYS_execve, args![&next, argv, 0]).ret, 0);
        let all = it.gather();
        let about = |path: &Path| -> Vec<&Value> {
            all.iter().filter(|it| it["kind"] == "modify" && it["path"] == path.to_str().unwrap()).collect()
        };
        let closed = about(&file);
        assert_eq!(closed.len(), 1, "{family}: {closed:#?}");
        let record = closed[0];
        assert_eq!((&record["bytes"], &record["comm"]), (&json!("6"), &json!("act")), "{record}");
        assert_eq!(record["evidence"]["hook"], "sched_process_exec");
        assert!(record["process"]["exe"].as_str().unwrap().ends_with("/act"), "{record}");
        assert!(about(&kept).is_empty(), "{family}: it has no close-on-exec");
        writes(&mut it, stays, "345");
        it.quiet(libc::SYS_close, args![stays]);
        check(&mut it, "kept over an exec", &kept, &json!({ "bytes": "5", "writes": 2 }));
    }
}

#[test]
fn ways_to_write() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (file, source) = (it.path("file"), it.path("source"));
        // struct iovec { void *base; size_t len; }, and the text behind it
        let mut memory: Vec<u8> =
            [(MEMORY + 64) as u64, 6, (MEMORY + 64) as u64, 3].iter().flat_map(|it: &u64| it.to_ne_bytes()).collect();
        memory.resize(64, 0);
        memory.extend(b"vector");
        fs::write(&source, &memory).unwrap();
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        it.quiet(libc::SYS_mmap, args![MEMORY, 4096, libc::PROT_READ | libc::PROT_WRITE, anonymous, -1, 0]);
        let from = open(&mut it, &source, libc::O_RDONLY);
        it.quiet(libc::SYS_read, args![from, MEMORY, i64::try_from(memory.len()).unwrap()]);
        it.quiet(libc::SYS_pipe, args![Arg::Kept(0)]);
        let mut pipe = [0; 2];
        for (at, end) in pipe.iter_mut().enumerate() {
            // the descriptors of a new pipe are the next ones
            *end = from + 1 + i64::try_from(at).unwrap();
        }
        writes(&mut it, pipe[1], "splice");
        // each time it is the lowest one that is free
        let fd = open(&mut it, &file, libc::O_RDWR | libc::O_CREAT);
        it.quiet(libc::SYS_close, args![fd]);
        let ways: [(&str, i64, &[Arg], i64); 7] = [
            ("writev", libc::SYS_writev, args![fd, MEMORY, 2], 9),
            ("pwritev", libc::SYS_pwritev, args![fd, MEMORY, 2, 5, 0], 9),
            ("pwritev2", libc::SYS_pwritev2, args![fd, MEMORY, 1, 5, 0, 0], 6),
            ("sendfile", libc::SYS_sendfile, args![fd, from, Arg::Kept(8), 7], 7),
            ("copy_file_range", libc::SYS_copy_file_range, args![from, Arg::Kept(16), fd, 0, 8, 0], 8),
            ("splice", libc::SYS_splice, args![pipe[0], 0, fd, 0, 6, 0], 6),
            ("fallocate", libc::SYS_fallocate, args![fd, 0, 0, 4096], 0),
        ];
        for (name, number, args, bytes) in ways {
            assert_eq!(open(&mut it, &file, libc::O_RDWR), fd);
            assert_eq!(it.quiet(number, args), bytes, "{name}");
            it.quiet(libc::SYS_close, args![fd]);
            check(&mut it, name, &file, &json!({ "bytes": bytes.to_string(), "writes": 1, "call": "close" }));
        }

        // as a 32-bit program does it
        let fd = open(&mut it, &file, WRITE);
        assert_eq!(it.actor.compat(WRITE_32, args![fd, "narrow", 6]).ret, 6);
        assert_eq!(it.actor.compat(PWRITE64_32, args![fd, "narrow", 4, 0, 0]).ret, 4);
        assert_eq!(it.actor.compat(CLOSE_32, args![fd]).ret, 0);
        check(&mut it, "32 bits", &file, &json!({ "bytes": "10", "writes": 2, "call": "close" }));

        // removed, and renamed, before the close
        let fd = open(&mut it, &file, WRITE);
        writes(&mut it, fd, "gone");
        fs::remove_file(&file).unwrap();
        it.quiet(libc::SYS_close, args![fd]);
        check(&mut it, "removed", &file, &json!({ "bytes": "4", "deleted": true }));
        let (fd, renamed) = (open(&mut it, &file, WRITE), it.path("renamed"));
        writes(&mut it, fd, "elsewhere");
        fs::rename(&file, &renamed).unwrap();
        it.quiet(libc::SYS_close, args![fd]);
        check(&mut it, "renamed", &renamed, &json!({ "bytes": "9", "deleted": false }));

        // nothing: what is only read, a write that fails, a write of nothing, what is no regular file
        it.gather();
        let mut read = File::open(&source).unwrap();
        read.read_exact(&mut [0]).unwrap();
        read.rewind().unwrap();
        assert!(read.as_raw_fd() > 2);
        drop(read);
        let fd = open(&mut it, &source, libc::O_RDONLY);
        it.quiet(libc::SYS_read, args![fd, Arg::Kept(0), 4]);
        assert!(it.actor.call(libc::SYS_write, args![fd, "x", 1]).ret < 0);
        it.quiet(libc::SYS_close, args![fd]);
        let fd = open(&mut it, &source, libc::O_WRONLY);
        it.quiet(libc::SYS_write, args![fd, "", 0]);
        it.quiet(libc::SYS_close, args![fd]);
        writes(&mut it, pipe[1], "x");
        it.quiet(libc::SYS_close, args![pipe[1]]);
        let records = it.gather_all();
        let me = std::process::id();
        let ours = records.iter().filter(|one| one["pid"] == me || one["pid"] == it.actor.pid());
        assert_eq!(ours.filter(|it| it["kind"] == "modify").count(), 0, "{family}: {records:#?}");
    }
}

/// More files than the kernel half keeps for a process: what its end cannot tell is counted as lost.
#[test]
fn what_is_too_much_is_counted() {
    const MANY: u64 = 40;
    const SCRIPT: &str = "cd \"$0\"; for at in $(seq 40); do exec {fd}>many-$at; echo x >&$fd; done";
    let policy = "version: 1\nrules:\n  - { id: modified, kinds: [modify], selection: { path|contains: /many- }, verdict: keep }\ndefault: drop\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    fs::write(&file, policy).unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", file.display())).unwrap();
    let mut shell = Command::new("bash").args(["-c", SCRIPT]).arg(dir.path()).spawn().unwrap();
    assert!(shell.wait().unwrap().success());
    let report = agent.stop().unwrap();
    let mut told = 0;
    Agent::log(dir.path(), |line| told += u64::from(line.contains("/many-"))).unwrap();
    // others on this host may lose something, too
    let lost = report["lost"].as_u64().unwrap();
    assert!(told > 0 && told < MANY && told + lost >= MANY, "{told} told, {lost} lost");
    assert_eq!(report["findings"]["count"], 0, "{report:#}");
}
