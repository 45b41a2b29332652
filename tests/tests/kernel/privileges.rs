//! Ids, capabilities, namespaces, restrictions, and one process that looks into another.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{self, Command},
};

use nix::{libc, unistd::gettid};
use serde_json::{Value, json};
use tests::host::until;

use crate::{
    FAMILIES,
    actor::{Actor, Stage, args},
};

const KILL: u32 = 1 << 5;
const NOBODY: i32 = 65534;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn longs(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn setid(call: &str, more: Value) -> Value {
    let mut fields = json!({ "kind": "setid", "call": call });
    merge(&mut fields, more);
    fields
}

pub fn merge(fields: &mut Value, more: Value) {
    let Value::Object(mut more) = more else { unreachable!() };
    fields.as_object_mut().unwrap().append(&mut more);
}

#[test]
fn ids() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let all = |real: i64, effective: i64, saved: i64| json!({ "asked_real": real, "asked_effective": effective, "asked_saved": saved });
        let expected = setid("setgroups", json!({ "groups": 2 }));
        it.check("setgroups", libc::SYS_setgroups, args![2, words(&[7, 8])], expected);
        it.check("setresgid", libc::SYS_setresgid, args![1, 2, 0], setid("setresgid", all(1, 2, 0)));
        let expected = setid("setregid", json!({ "asked_effective": 1 }));
        it.check("setregid", libc::SYS_setregid, args![-1, 1], expected);
        it.check("setgid", libc::SYS_setgid, args![3], setid("setgid", json!({ "asked_effective": 3 })));
        it.check("setfsgid", libc::SYS_setfsgid, args![1], setid("setfsgid", json!({ "asked_fs": 1 })));

        // the same by the two ways of 32-bit programs: ids of 16 bits, where 65535 means none, and of 32 bits
        let mut narrow = |name: &str, number: i64, list: &[crate::actor::Arg], expected: Value| {
            let done = it.actor.compat(number, list);
            let records = it.records(done);
            it.compare(name, done, records, expected);
        };
        narrow("setregid16", 71, args![0xffff, 2], setid("setregid", json!({ "asked_effective": 2 })));
        narrow("setregid32", 204, args![-1, 65536], setid("setregid", json!({ "asked_effective": 65536 })));
        narrow("setresuid16", 164, args![0xffff, 0xffff, 0x1_0005], setid("setresuid", json!({ "asked_saved": 5 })));
        narrow("setresuid32", 208, args![-1, -1, 0], setid("setresuid", json!({ "asked_saved": 0 })));
        narrow("setfsuid16", 138, args![4], setid("setfsuid", json!({ "asked_fs": 4 })));
        narrow("setgroups32", 206, args![1, words(&[9])], setid("setgroups", json!({ "groups": 1 })));

        let expected = setid("setresuid", json!({ "asked_effective": 5 }));
        it.check("setresuid", libc::SYS_setresuid, args![-1, 5, -1], expected);
        let back =
            it.check("setuid, back", libc::SYS_setuid, args![0], setid("setuid", json!({ "asked_effective": 0 })));
        assert_eq!(back["euid"], 0);
        let expected = setid("setreuid", json!({ "asked_real": 5 }));
        it.check("setreuid", libc::SYS_setreuid, args![5, -1], expected);
        it.check(
            "setuid, for good",
            libc::SYS_setuid,
            args![NOBODY],
            setid("setuid", json!({ "asked_effective": NOBODY })),
        );
        let done = it.check("denied", libc::SYS_setuid, args![0], setid("setuid", json!({ "asked_effective": 0 })));
        assert_eq!((&done["errno"], &done["euid"]), (&json!("EPERM"), &json!(NOBODY)));
        it.check("denied", libc::SYS_setgroups, args![0, 0], setid("setgroups", json!({ "groups": 0 })));
    }
}

#[test]
fn capabilities_and_sessions() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let header = words(&[0x2008_0522, 0]);
        let caps = |sets: &str| {
            json!({ "kind": "capset", "call": "capset", "effective": sets, "permitted": sets, "inheritable": "0",
                "target_tid": 0, "user_copy": ["target_tid"] })
        };
        it.check("capset", libc::SYS_capset, args![header.clone(), words(&[KILL, KILL, 0, 0, 0, 0])], caps("CAP_KILL"));
        let done = it.check("capset", libc::SYS_capset, args![header, words(&[1, 1, 0, 0, 0, 0])], caps("CAP_KILL"));
        assert_eq!(done["errno"], "EPERM");
        let expected = json!({ "kind": "setsid", "call": "setsid" });
        it.check("setsid of a leader", libc::SYS_setsid, args![], expected);

        let prctl = |option: &str, argument: &str, more: Value| {
            let mut fields = json!({ "kind": "prctl", "call": "prctl", "option": option, "argument": argument });
            merge(&mut fields, more);
            fields
        };
        let expected = prctl("PR_CAPBSET_DROP", "13", json!({ "capability": "CAP_NET_RAW" }));
        it.check("CAPBSET_DROP, denied", libc::SYS_prctl, args![24, 13, 0, 0, 0], expected);
        let expected = prctl("PR_CAP_AMBIENT", "2", json!({ "capability": "CAP_KILL" }));
        it.check("CAP_AMBIENT, denied", libc::SYS_prctl, args![47, 2, 5, 0, 0], expected);
        it.check("NO_NEW_PRIVS", libc::SYS_prctl, args![38, 1, 0, 0, 0], prctl("PR_SET_NO_NEW_PRIVS", "1", json!({})));
        let done = it.actor.compat(172, args![4, 0, 0, 0, 0]);
        let records = it.records(done);
        it.compare("DUMPABLE, 32 bits", done, records, prctl("PR_SET_DUMPABLE", "0", json!({})));
        let (_, records) = it.act(libc::SYS_prctl, args![15, "other", 0, 0, 0]);
        assert_eq!(records, [] as [Value; 0], "PR_SET_NAME is no matter of security");
    }
}

#[test]
fn namespaces() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let space = |call: &str, flags: &str, more: Value| {
            let mut fields = json!({ "kind": "namespace", "call": call, "flags": flags });
            merge(&mut fields, more);
            fields
        };
        let uts = it.quiet(libc::SYS_open, args!["/proc/self/ns/uts", 0, 0]);
        let inode = std::fs::metadata("/proc/self/ns/uts").unwrap().ino().to_string();
        it.check("unshare", libc::SYS_unshare, args![libc::CLONE_NEWUTS], space("unshare", "CLONE_NEWUTS", json!({})));
        // a host of its own: this name is nobody else's
        let name = |call: &str, name: &str, more: Value| {
            let mut fields = json!({ "kind": "hostname", "call": call, "name": name });
            merge(&mut fields, more);
            fields
        };
        let more = || json!({ "user_copy": ["name"] });
        it.check("sethostname", libc::SYS_sethostname, args!["otherwise", 5], name("sethostname", "other", json!({})));
        it.check("setdomainname", libc::SYS_setdomainname, args!["a.b", 3], name("setdomainname", "a.b", json!({})));
        it.check(
            "too long",
            libc::SYS_sethostname,
            args!["x".repeat(65).as_str(), 65],
            name("sethostname", &"x".repeat(65), more()),
        );
        let expected = space("setns", "0", json!({ "inode": inode, "ns_type": "uts" }));
        it.check("setns", libc::SYS_setns, args![uts, 0], expected);
        let expected = space("setns", "CLONE_NEWNET", json!({ "inode": inode, "ns_type": "uts" }));
        it.check("setns, another type", libc::SYS_setns, args![uts, libc::CLONE_NEWNET], expected);
        let pidfd = it.quiet(libc::SYS_pidfd_open, args![std::process::id(), 0]);
        let expected = space("setns", "CLONE_NEWUTS", json!({ "target_pid": std::process::id() }));
        it.check("setns of a process", libc::SYS_setns, args![pidfd, libc::CLONE_NEWUTS], expected);

        let done = it.actor.fork(libc::CLONE_NEWUSER | libc::SIGCHLD, 0);
        let mut records = it.records(done);
        records.retain(|it| it["kind"] != "fork");
        let expected = space("clone", "CLONE_NEWUSER", json!({ "child_pid": done.ret }));
        it.compare("clone", done, records, expected);
        let done = it.actor.fork(libc::SIGCHLD, 0);
        assert!(it.records(done).iter().all(|it| it["kind"] == "fork"), "a clone without namespaces is a fork alone");
        it.check(
            "unshare, a user",
            libc::SYS_unshare,
            args![libc::CLONE_NEWUSER],
            space("unshare", "CLONE_NEWUSER", json!({})),
        );
        it.check("denied", libc::SYS_sethostname, args!["x", 1], name("sethostname", "x", more()));
        assert!(it.gather_all().iter().all(|it| it["kind"] != "cred_change"));
    }
}

#[test]
fn restrictions() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let name = json!({ "kind": "memfd_create", "call": "memfd_create", "name": "a b", "flags": "MFD_CLOEXEC", "user_copy": ["name"] });
        it.check("memfd_create", libc::SYS_memfd_create, args!["a b", 1], name);
        let flags = json!({ "kind": "userfaultfd", "call": "userfaultfd", "flags": "UFFD_USER_MODE_ONLY|O_CLOEXEC" });
        it.check("userfaultfd", libc::SYS_userfaultfd, args![libc::O_CLOEXEC | 1], flags);
        let ring = json!({ "kind": "io_uring", "call": "io_uring_setup", "entries": 4, "flags": "IORING_SETUP_CLAMP", "user_copy": ["flags"] });
        let params = [words(&[0, 0, 16]), vec![0; 108]].concat();
        it.check("io_uring_setup", libc::SYS_io_uring_setup, args![4, params], ring);
        let domain = json!({ "kind": "personality", "call": "personality", "domain": "PER_LINUX", "flags": "ADDR_NO_RANDOMIZE" });
        it.check("personality", libc::SYS_personality, args![0x4_0000], domain);
        let (_, records) = it.act(libc::SYS_personality, args![0xffff_ffff_u32]);
        assert_eq!(records, [] as [Value; 0], "a question");

        let landlock = |call: &str, more: Value| {
            let mut fields = json!({ "kind": "landlock", "call": call, "flags": 0 });
            merge(&mut fields, more);
            fields
        };
        let more = json!({ "access": "13", "user_copy": ["access"] });
        let ruleset = it.check(
            "ruleset",
            libc::SYS_landlock_create_ruleset,
            args![longs(&[13]), 8, 0],
            landlock("landlock_create_ruleset", more),
        );
        let ruleset = ruleset["ret"].as_i64().unwrap();
        let more = json!({ "access": "4", "rule_type": "LANDLOCK_RULE_PATH_BENEATH", "user_copy": ["access"] });
        it.check(
            "rule",
            libc::SYS_landlock_add_rule,
            args![ruleset, 1, longs(&[4, 0]), 0],
            landlock("landlock_add_rule", more),
        );
        // since Linux 5.13
        let (done, records) = it.act(libc::SYS_landlock_create_ruleset, args![0, 0, 1]);
        assert!(done.ret == -i64::from(libc::ENOSYS) || records.is_empty(), "a question: {records:#?}");

        let keys = |call: &str, more: Value| {
            let mut fields = json!({ "kind": "keyctl", "call": call });
            merge(&mut fields, more);
            fields
        };
        let more = json!({ "operation": "KEYCTL_JOIN_SESSION_KEYRING", "key": 0, "description": "ours", "user_copy": ["description"] });
        it.check("keyring", libc::SYS_keyctl, args![1, "ours"], keys("keyctl", more));
        let more =
            json!({ "key": -3, "key_type": "user", "description": "a:b", "user_copy": ["key_type", "description"] });
        it.check("add_key", libc::SYS_add_key, args!["user", "a:b", "secret", 6, -3], keys("add_key", more.clone()));
        it.check("request_key", libc::SYS_request_key, args!["user", "a:b", 0, -3], keys("request_key", more));

        let context = [longs(&[104, 0, 37, 5]), b"other".to_vec()].concat();
        let more = json!({ "kind": "lsm", "call": "lsm_set_self_attr", "attribute": "LSM_ATTR_CURRENT", "module": "apparmor",
            "content": "other", "user_copy": ["module", "content"] });
        it.check("lsm_set_self_attr", 460, args![100, context, 37, 0], more);

        let memory = |call: &str, more: Value| {
            let mut fields = json!({ "kind": "mprotect", "call": call, "length": "4096" });
            merge(&mut fields, more);
            fields
        };
        let (done, records) = it.act(libc::SYS_mmap, args![0, 4096, 7, 0x22, -1, 0]);
        let at = done.ret.to_string();
        let more = json!({ "address": at, "protection": "PROT_READ|PROT_WRITE|PROT_EXEC", "flags": "MAP_PRIVATE|MAP_ANONYMOUS" });
        it.compare("mmap", done, records, memory("mmap", more));
        let more = json!({ "address": at, "protection": "PROT_READ|PROT_EXEC", "flags": "0" });
        it.check("mprotect", libc::SYS_mprotect, args![done.ret, 4096, 5], memory("mprotect", more));
        assert_eq!(it.act(libc::SYS_mprotect, args![done.ret, 4096, 3]).1, [] as [Value; 0]);

        let seccomp = json!({ "kind": "seccomp", "call": "seccomp", "operation": "SECCOMP_SET_MODE_STRICT",
            "flags": "SECCOMP_FILTER_FLAG_TSYNC" });
        it.check("seccomp", libc::SYS_seccomp, args![0, 1, 0], seccomp);
    }
}

/// What records tell of a process that somebody acts on, from proc(5).
fn target(pid: u32) -> Value {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let stat = read("stat");
    let after_name = stat.rsplit_once(") ").unwrap().1;
    json!({
        "target_host_pid": pid, "target_start": after_name.split(' ').nth(19), "target_comm": read("comm").trim_end(),
        "target_exe": fs::read_link(format!("/proc/{pid}/exe")).unwrap(),
    })
}

#[test]
fn other_processes() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let mut victim = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = victim.id();
        let ptrace = |request: &str, address: &str| {
            let mut fields = target(pid);
            merge(
                &mut fields,
                json!({ "kind": "ptrace", "call": "ptrace", "request": request, "target_pid": pid, "address": address }),
            );
            fields
        };
        it.check("seize", libc::SYS_ptrace, args![0x4206, pid, 0, 0], ptrace("PTRACE_SEIZE", "0"));
        it.check("poke", libc::SYS_ptrace, args![4, pid, 4096, 0], ptrace("PTRACE_POKETEXT", "4096"));
        assert_eq!(it.act(libc::SYS_ptrace, args![1, pid, 4096, 0]).1, [] as [Value; 0], "PTRACE_PEEKTEXT asks");

        let memory = |call: &str| {
            let mut fields = target(pid);
            let more = json!({ "kind": "process_vm", "call": call, "target_pid": pid, "address": "4096", "length": "8",
                "user_copy": ["address", "length"] });
            merge(&mut fields, more);
            fields
        };
        let iov = longs(&[4096, 8]);
        it.check(
            "read",
            libc::SYS_process_vm_readv,
            args![pid, iov.clone(), 1, iov.clone(), 1, 0],
            memory("process_vm_readv"),
        );
        it.check(
            "write",
            libc::SYS_process_vm_writev,
            args![pid, iov.clone(), 1, iov, 1, 0],
            memory("process_vm_writev"),
        );

        let pidfd = |call: &str, more: Value| {
            let mut fields = target(pid);
            merge(&mut fields, json!({ "kind": "pidfd", "call": call, "target_pid": pid, "flags": "0" }));
            merge(&mut fields, more);
            fields
        };
        let opened = it.check("open", libc::SYS_pidfd_open, args![pid, 0], pidfd("pidfd_open", json!({})));
        let fd = opened["ret"].as_i64().unwrap();
        let input = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
        if input.starts_with("/") && Path::new(&input).exists() {
            let expected = pidfd("pidfd_getfd", json!({ "target_fd": 0, "path": input }));
            it.check("getfd", libc::SYS_pidfd_getfd, args![fd, 0, 0], expected);
        }
        let limit = |resource: &str, soft: &str| {
            let mut fields = target(pid);
            let more = json!({ "kind": "prlimit", "call": "prlimit64", "target_pid": pid, "resource": resource, "soft": soft,
                "hard": null, "user_copy": ["soft"] });
            merge(&mut fields, more);
            fields
        };
        let limits = longs(&[5, u64::MAX]);
        it.check("limit", libc::SYS_prlimit64, args![pid, 4, limits.clone(), 0], limit("RLIMIT_CORE", "5"));
        let own = it.actor.pid();
        for (whose, new) in [(pid, vec![]), (0, limits.clone()), (own, limits.clone())] {
            let asked = if new.is_empty() { args![whose, 4, 0, vec![0; 16]] } else { args![whose, 4, new, 0] };
            assert_eq!(it.act(libc::SYS_prlimit64, asked).1, [] as [Value; 0], "questions, and what is its own");
        }
        let done = it.actor.compat(340, args![pid, 0, limits, 0]);
        let records = it.records(done);
        it.compare("limit, 32 bits", done, records, limit("RLIMIT_CPU", "5"));

        let kill = |call: &str, signal: &str, more: Value| {
            let mut fields = target(pid);
            merge(&mut fields, json!({ "kind": "kill", "call": call, "signal": signal, "target_pid": pid }));
            merge(&mut fields, more);
            fields
        };
        it.check("kill", libc::SYS_kill, args![pid, 18], kill("kill", "SIGCONT", json!({})));
        it.check(
            "tgkill",
            libc::SYS_tgkill,
            args![pid, pid, 18],
            kill("tgkill", "SIGCONT", json!({ "target_tid": pid })),
        );
        let more = json!({ "target_pid": 0, "target_tid": pid });
        it.check("tkill", libc::SYS_tkill, args![pid, 18], kill("tkill", "SIGCONT", more));
        assert_eq!(it.act(libc::SYS_kill, args![pid, 0]).1, [] as [Value; 0], "signal 0 asks");
        let own = it.actor.pid();
        assert_eq!(it.act(libc::SYS_kill, args![own, 18]).1, [] as [Value; 0], "its own matter");
        it.quiet(libc::SYS_setresuid, args![NOBODY, NOBODY, NOBODY]);
        let done = it.actor.compat(37, args![pid, 9]);
        let records = it.records(done);
        let denied = it.compare("denied, 32 bits", done, records, kill("kill", "SIGKILL", json!({})));
        assert_eq!(denied["errno"], "EPERM");
        it.check(
            "denied",
            libc::SYS_pidfd_send_signal,
            args![fd, 9, 0, 0],
            kill("pidfd_send_signal", "SIGKILL", json!({})),
        );
        drop(it);
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
}

/// A process is found by its number in the pid namespace of the caller, by that of a thread, and when it has ended but was
/// not waited for. Of groups, and of a number that nobody has, nothing is told.
#[test]
fn who_is_meant() {
    let told = |family: &str, it: &mut Stage, caller: u32, expected: Value| {
        let records = it.gather_all();
        let told = records.iter().rfind(|it| it["kind"] == "kill" && it["pid"] == caller);
        let told = told.unwrap_or_else(|| panic!("{family}: no signal of {caller} among {records:#?}"));
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(told.get(name).unwrap_or(&Value::Null), value, "{family}: {name} of {told}");
        }
    };
    let nobody = || json!({ "target_host_pid": null, "target_start": null, "target_comm": null, "target_exe": null });
    let only_child = |pid: u32| -> u32 {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().parse().unwrap()
    };
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let caller = it.actor.pid();
        it.quiet(libc::SYS_kill, args![gettid().as_raw(), 18]);
        told(family, &mut it, caller, target(process::id()));
        assert!(it.actor.call(libc::SYS_kill, args![4_194_303, 18]).ret < 0);
        told(family, &mut it, caller, nobody());
        it.quiet(libc::SYS_kill, args![0, 18]);
        told(family, &mut it, caller, nobody());

        // the first process of a pid namespace, and the second one beside it
        let line = "sleep 100 & exec $0";
        let mut inner = Actor::start_by(Command::new("unshare").args(["-f", "-p", "sh", "-c", line]).arg(&it.program));
        let caller = only_child(inner.pid());
        let second = only_child(caller);
        // it was a copy of the shell before
        let known = until("the second process to be sleep", || {
            let known = target(second);
            (known["target_comm"] == "sleep").then_some(known)
        });
        assert_eq!(inner.call(libc::SYS_kill, args![2, 18]).ret, 0);
        told(family, &mut it, caller, known.clone());
        assert_eq!(inner.call(libc::SYS_kill, args![2, 9]).ret, 0);
        until("the end of a process", || {
            fs::read_to_string(format!("/proc/{second}/stat")).unwrap().contains(") Z ").then_some(())
        });
        assert_eq!(inner.call(libc::SYS_kill, args![2, 18]).ret, 0);
        let mut ended = known;
        ended["target_exe"] = Value::Null;
        told(family, &mut it, caller, ended);
    }
}

/// What changes credentials in a lawful way, each by the program that people use for it.
const LAWFUL: &str = r#"
import os, threading, ctypes, subprocess, sys
call = ctypes.CDLL(None).syscall
def thread(number, *args):
    it = threading.Thread(target=lambda: (call(number, *args), os.close(os.memfd_create("x"))))
    it.start()
    it.join()
# threads with credentials of their own: raw calls, which the library would spread to all
thread(117, -1, 65534, -1)
thread(122, 1)
thread(119, 7, 7, 7)
os.close(os.memfd_create("main"))
def maker():
    call(117, -1, 65534, -1)
    threading.Thread(target=lambda: os.close(os.memfd_create("heir"))).start()
    os.close(os.memfd_create("maker"))
it = threading.Thread(target=maker); it.start(); it.join()
if os.fork() == 0:
    os.setresuid(65534, 65534, 0)
    os.setuid(0)
    os.seteuid(65534)
    os.execv(sys.argv[1], [sys.argv[1], "-c", "exit"])
os.wait()
if os.fork() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    os.execv(sys.argv[1], [sys.argv[1], "-p", "-c", "/bin/true; exec /bin/true"])
os.wait()
for command in (["unshare", "-U", "/bin/true"], ["unshare", "-Ur", "/bin/sh", "-c", "/bin/true"],
        ["unshare", "-fp", "/bin/true"], ["su", "nobody", "-s", "/bin/sh", "-c", "/bin/true"],
        ["setpriv", "--reuid", "1", "--clear-groups", "/bin/true"]):
    try: subprocess.run(command)
    except FileNotFoundError: pass
"#;

#[test]
fn no_lawful_change_of_credentials_is_an_alarm() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        // a shell that gives its caller root rights, as sudo does
        let shell = it.path("shell");
        std::fs::copy("/bin/sh", &shell).unwrap();
        std::fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o6755)).unwrap();
        let worked = Command::new("python3").args(["-c", LAWFUL]).arg(&shell).status().unwrap();
        assert!(worked.success());
        let records = it.gather_all();
        let gained = |it: &&Value| it["kind"] == "exec" && it["euid"] == 0 && it["old_euid"] == NOBODY;
        assert!(records.iter().filter(gained).count() >= 1, "the setuid program gave rights");
        assert!(records.iter().filter(|it| it["kind"] == "setid").count() > 8);
        let alarms: Vec<_> = records.iter().filter(|it| it["kind"] == "cred_change").collect();
        assert!(alarms.is_empty(), "{family}: {alarms:#?}");
    }
}
