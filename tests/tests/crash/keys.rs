//! The keys of a log are exchanged, carried to another machine, made anew.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use seal::BatchKind;
use tests::host::{Agent, Host, Sealed, run, until};

/// Waits for a batch in which the host key changes.
fn rotated(host: &Host) -> Sealed {
    until("the rotation", || host.batches().into_iter().find(|batch| batch.header.facts.kind == BatchKind::Rotate))
}

fn stop(agent: Agent) {
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn another_host_key_goes_on_with_the_log() {
    let host = Host::new("");
    let agent = host.start();
    let first = fs::read_to_string(host.path("state/host.vkey")).unwrap();
    let asked = run(host.command("enroll").arg("--rotate"));
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let batch = rotated(&host);
    assert_eq!(batch.header.hostkey.unwrap().to_string(), asked.out.trim_end());
    // the public keys follow when the batch is durable
    let both = first.clone() + &asked.out;
    until("the public key", || (fs::read_to_string(host.path("state/host.vkey")).unwrap() == both).then_some(()));
    host.touch("a");
    stop(agent);
    host.verified();
    stop(host.start());

    // whoever knows the first key alone follows the log to the end
    let text = host.verified();
    host.write("state/host.vkey", &first);
    assert_eq!(host.verified()["batches"], text["batches"]);
    // the key that signs the end is not that of the beginning
    host.write("state/host.vkey", &asked.out);
    assert_eq!(host.verify(&host.segments()).0, 1);
}

#[test]
fn a_rotation_that_was_cut_off_is_ended() {
    let host = Host::new("");
    stop(host.start());
    let old = fs::read(host.path("state/keys/host")).unwrap();
    // asked for while no agent runs: the next one does it
    assert_eq!(run(host.command("enroll").arg("--rotate")).code, Some(0));
    let again = run(host.command("enroll").arg("--rotate"));
    assert!(again.code == Some(3) && again.err.contains("waits already"), "{again:?}");
    let agent = host.start();
    rotated(&host);
    stop(agent);
    // as if it had ended between the batch and the exchange of the files
    fs::rename(host.path("state/keys/host"), host.path("state/keys/host.next")).unwrap();
    fs::write(host.path("state/keys/host"), &old).unwrap();
    stop(host.start());
    assert!(!host.path("state/keys/host.next").exists());
    assert_ne!(fs::read(host.path("state/keys/host")).unwrap(), old);
    host.verified();
}

#[test]
fn the_host_key_can_be_a_credential_of_the_service() {
    let host = Host::new("");
    stop(host.start());
    // as systemd.exec(5) has it: a directory of the unit, and in it a file of that name, both for reading only
    let dir = host.path("credentials/sigtrail.service");
    fs::create_dir_all(&dir).unwrap();
    fs::rename(host.path("state/keys/host"), dir.join("sigtrail.host")).unwrap();
    fs::set_permissions(dir.join("sigtrail.host"), Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o500)).unwrap();
    host.write("state/keys/host", "credential sigtrail.host\n");
    let with = |dir: &Path| {
        let mut command = host.command("run");
        command.env("CREDENTIALS_DIRECTORY", dir);
        command
    };
    stop(host.start_as(with(&dir)));
    let batches = host.verified()["batches"].as_u64().unwrap();

    let refused = |command: &mut Command, words: &str| {
        let ran = run(command);
        assert!(ran.code != Some(0) && ran.err.contains(words), "{ran:?}");
    };
    refused(host.command("run").env_remove("CREDENTIALS_DIRECTORY"), "$CREDENTIALS_DIRECTORY is not set");
    refused(&mut with(&host.path("load")), "load/sigtrail.host");
    host.write("state/keys/host", "credential ../sigtrail.host\n");
    refused(&mut with(&dir), "is no host key");
    host.write("state/keys/host", "credential sigtrail.host\n");
    fs::write(host.path("load/sigtrail.host"), "AAAA\n").unwrap();
    refused(&mut with(&host.path("load")), "is no host key");
    assert_eq!(host.verified()["batches"], batches, "a log that cannot be signed was begun anew");
}

#[test]
fn another_log_names_the_head_of_the_one_before() {
    let host = Host::new("");
    let agent = host.start();
    let refused = run(host.command("enroll").arg("--again"));
    assert!(refused.code == Some(3) && refused.err.contains("another agent uses"), "{refused:?}");
    stop(agent);
    let head = host.verified()["last"]["line"].as_str().unwrap().to_owned();
    let made = run(host.command("enroll").arg("--again"));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.out.contains(&format!("\nfact previous {head}\n")), "{head}: {made:?}");
    assert!(made.out.contains("\norigin test.example.org/sigtrail/e2\n"), "{made:?}");
    stop(host.start());
    let report = host.verified();
    assert_eq!((&report["origin"], &report["ends_with"]), (&"test.example.org/sigtrail/e2".into(), &"stop".into()));
    // what was sealed before is where it says, and as it was
    let spool = host.path("state/spool.1");
    let key = host.path("state/host.vkey.1");
    let old = run(Command::new(tests::host::verifier()).arg("--key").arg(key).arg(spool));
    assert_eq!(old.code, Some(0), "{old:?}");
}

/// kill -9 before each call that changes a file: the note of the log that is begun at last leads to the head of the first.
#[test]
fn another_log_that_was_cut_off_names_the_head_of_the_first() {
    let host = Host::new("");
    stop(host.start());
    let head = host.verified()["last"]["line"].as_str().unwrap().to_owned();
    let (state, first) = (host.path("state"), host.path("first"));
    let copy = |from: &Path, to: &Path| {
        let done = run(Command::new("cp").arg("-a").args([from, to]));
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    copy(&state, &first);
    let mut steps = 0;
    for call in ["openat", "write", "pwrite64", "fsync", "rename", "unlink", "fallocate"] {
        for number in 1.. {
            fs::remove_dir_all(&state).unwrap();
            copy(&first, &state);
            let mut strace = Command::new("strace");
            // the files of the state alone: what the loader opens is no step
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={number}")]);
            strace.args(["-e", &format!("trace={call}"), "-P"]).arg(&state);
            for name in [
                "chain",
                "origin",
                "host.vkey",
                "enrolment",
                "previous.tmp",
                "keys",
                "keys/host.tmp",
                "spool",
                "spool/seg-00000000000000000000.stl",
            ] {
                strace.arg("-P").arg(state.join(name));
            }
            let enroll = host.command("enroll");
            let killed = run(strace.arg(enroll.get_program()).args(enroll.get_args()).arg("--again"));
            if killed.code == Some(0) {
                break;
            }
            steps += 1;
            let made = run(host.command("enroll").arg("--again"));
            assert_eq!(made.code, Some(0), "{call} {number}: {made:?}");
            let cut = fs::read_to_string(host.path("state/enrolment.2")).unwrap_or_default();
            let names = |note: &str| note.contains(&format!("\nfact previous {head}\n"));
            let follows = made.out.contains("\nfact previous test.example.org/sigtrail/e2 1 ");
            assert!(names(&made.out) || (follows && names(&cut)), "{call} {number}: {made:?}\n{cut}");
            let old = run(Command::new(tests::host::verifier())
                .args(["--json", "--key"])
                .args([host.path("state/host.vkey.1"), host.path("state/spool.1")]));
            assert!(old.code == Some(0) && old.out.contains(&head), "{call} {number}: {old:?}");
        }
    }
    assert!(steps > 15, "{steps}");
    stop(host.start());
    host.verified();
}

#[test]
fn the_state_of_another_machine_is_refused() {
    let host = Host::new("");
    stop(host.start());
    host.write("machine-id", "0123456789abcdef0123456789abcdef\n");
    // in a mount namespace where this is the id of the machine
    let there = |verb: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/machine-id && exec "$@""#]);
        let inner = host.command(verb);
        command.arg(host.path("machine-id")).arg(inner.get_program()).args(inner.get_args());
        command
    };
    let refused = run(&mut there("run"));
    assert!(refused.code != Some(0) && refused.err.contains("was enrolled on another machine"), "{refused:?}");
    assert!(refused.err.contains("sigtrail enroll --again"), "{refused:?}");
    let made = run(there("enroll").arg("--again"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let agent = host.start_as(there("run"));
    stop(agent);
    host.verified();
}
