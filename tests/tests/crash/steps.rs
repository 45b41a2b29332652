//! kill -9 at every step of sealing: before each system call that changes a file, of a process that enrols, seals,
//! exchanges its host key and stops (tests/src/bin/seal-log.rs). strace(1) kills it there, so the program is that which
//! is not killed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::libc::SIGKILL;
use seal::{Batch, frame, line::SealLine};
use serde_json::Value;
use tests::host::{run, verifier};

const SEAL_LOG: &str = env!("CARGO_BIN_EXE_seal-log");
/// The number of its last batch, a stop.
const END: u64 = 5;

/// The calls that change files, or open them. strace counts each of them apart.
const CHANGES: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "rename",
    "unlink",
    "mkdir",
    "chmod",
];

/// What was signed, by number: the text of the checkpoint.
type Signed = BTreeMap<u64, String>;

#[test]
fn a_kill_at_any_step_of_sealing_is_told_and_forks_nothing() {
    kill_before(CHANGES, 50);
}

#[test]
#[ignore = "a minute: most of them only read"]
fn a_kill_at_any_opening_of_a_file_is_told_and_forks_nothing() {
    kill_before(&["openat"], 30);
}

/// Kills the process before each of these calls, of which there are so many at least.
fn kill_before(calls: &[&str], least: usize) {
    let (mut steps, mut unclean) = (0, 0);
    for call in calls {
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("state");
            let killed = killed_at(call, number, &state);
            if killed.status.code() == Some(0) {
                break;
            }
            let step = format!("before {call} {number}");
            assert_eq!(killed.status.signal(), Some(SIGKILL), "{step}: {killed:?}");
            steps += 1;
            let mut signed = Signed::new();
            collect(&state.join("spool"), &mut signed);
            // a kill before the first batch of a run leaves a log that ended well, if it was begun at all
            let ended = signed.last_key_value().is_none_or(|(last, _)| [0, END].contains(last));
            let whole = run(seal_log(&mut Command::new(SEAL_LOG), &state));
            assert_eq!(whole.code, Some(0), "{step}: {whole:?}");
            collect(&state.join("spool"), &mut signed);
            assert_eq!(check(&step, &state, &signed), usize::from(!ended), "{step}");
            unclean += usize::from(!ended);
        }
    }
    assert!(steps > least && unclean > least / 4, "{unclean} unclean ends of {steps}");
}

/// Runs the process and kills it as it is about to do this call for this time, counted from 1.
fn killed_at(call: &str, number: usize, state: &Path) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:signal=KILL:when={number}")).arg(SEAL_LOG);
    seal_log(&mut strace, state).stdin(Stdio::null()).output().unwrap()
}

/// Without the search path of cargo: the loader opens a file in each folder of it.
fn seal_log<'c>(command: &'c mut Command, state: &Path) -> &'c mut Command {
    command.arg(state).env_remove("LD_LIBRARY_PATH")
}

/// The log is whole, goes on from what was on disk, and ends with a stop. How many ends without a stop it tells.
fn check(step: &str, state: &Path, signed: &Signed) -> usize {
    let mut verify = Command::new(verifier());
    verify.arg("--json").arg("--key").arg(state.join("host.vkey")).args(segments(&state.join("spool")));
    let verified = run(&mut verify);
    let report: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!((verified.code, &report["verdict"]), (Some(0), &"verified".into()), "{step}: {report:#}");
    assert_eq!(
        (&report["ends_with"], &report["batches"]),
        (&"stop".into(), &signed.len().into()),
        "{step}: {report:#}"
    );
    report["unclean"]["count"].as_u64().unwrap() as usize
}

/// Takes down what is signed in all files below, also in torn ones and in those that were put aside: of each number one
/// text only.
fn collect(spool: &Path, signed: &mut Signed) {
    for path in segments(spool) {
        let bytes = fs::read(&path).unwrap();
        let mut rest = bytes.as_slice();
        while let Ok((head, payload, behind)) = frame::read(rest) {
            rest = behind;
            let batch = zstd::stream::decode_all(payload).unwrap();
            let line = batch.split(|byte| *byte == b'\n').find(|line| SealLine::is_one(line)).unwrap();
            let text = Batch::parse(line).unwrap().proof.checkpoint.text();
            let before = signed.entry(head.batch).or_insert_with(|| text.clone());
            assert_eq!(*before, text, "two signatures for batch {}", head.batch);
        }
    }
}

/// The segments below, also those that were put aside.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let found = run(Command::new("find").arg(dir).args(["-type", "f", "-name", "*.stl*"]));
    let mut files: Vec<_> = found.out.lines().map(PathBuf::from).collect();
    files.sort();
    files
}
