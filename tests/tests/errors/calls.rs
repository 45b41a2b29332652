//! Calls that cannot be done: the files, the command line, the exit code, the words.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use tests::host::{Host, run, sigtrail};

/// Files by name; `{dir}` in texts and arguments is their directory.
type Files<'a> = &'a [(&'a str, &'a str)];

fn check(files: Files<'_>, args: &str, code: i32, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let placed = |text: &str| text.replace("{dir}", dir.path().to_str().unwrap());
    for (name, text) in files {
        fs::write(dir.path().join(name), placed(text)).unwrap();
    }
    let ran = run(Command::new(sigtrail()).args(placed(args).split(' ')).current_dir(dir.path()));
    assert_eq!(ran.code, Some(code), "{args}: {ran:?}");
    for words in words {
        assert!(ran.err.contains(&placed(words)), "{args}: `{words}` is not in {}", ran.err);
    }
}

#[test]
fn a_call_that_makes_no_sense_ends_with_3() {
    check(&[], "dance", 3, &["unrecognized subcommand"]);
    check(&[], "run --loud", 3, &["--loud"]);
    check(&[], "tail --kind dance --for 1s", 3, &["`dance` is no kind; there are exec,"]);
    check(&[], "tail --for soon", 3, &["`soon` is no time"]);
    check(&[], "tail --replay {dir}/missing", 1, &["reading {dir}/missing"]);
    check(&[("s", "no stream")], "tail --replay {dir}/s", 1, &["{dir}/s is no recorded stream"]);
}

#[test]
fn a_configuration_that_makes_no_sense_ends_with_3_and_says_where() {
    let config = |text, words| {
        for verb in ["config --check {dir}/c.yaml", "run --config {dir}/c.yaml", "status --config {dir}/c.yaml"] {
            check(&[("c.yaml", text)], verb, 3, &["{dir}/c.yaml:", words]);
        }
    };
    config("state_dirs: /x\n", "unknown key \"state_dirs\"");
    config("state_dirs: /x\n", "did you mean \"state_dir\"?");
    config("state_dir: [a, b\n", "c.yaml:");
    config("state_dir: /x\nseal:\n  max_age:", "c.yaml:3:");
    config("seal: { max_age: soon }\n", "max_age must be a duration, not \"soon\"");
    config("kernel: 5\n", "kernel must be a map");
    config("seal: { max_events: many }\n", "max_events must be a number");
    config("spool: { sync: maybe }\n", "sync cannot be \"maybe\"");
    config("state_dir: relative\n", "state_dir must be an absolute path");
    config("sinks: [{ type: file, name: a }]\n", "has no dir");
    config("metrics: { listen: \"0.0.0.0:9473\" }\n", "no address of this host alone");
    config("metrics: { listen: 9473 }\n", "c.yaml:1:");
    config("sinks: [{ type: file, name: Web, dir: /x }]\n", "\"Web\" cannot name a sink");
    config("state_dir: /x\nstate_dir: /y\n", "c.yaml:2:");
    check(&[], "run --config {dir}/missing.yaml", 3, &["{dir}/missing.yaml"]);
    check(&[], "config --check {dir}/missing.yaml", 3, &["{dir}/missing.yaml"]);
}

#[test]
fn a_policy_that_makes_no_sense_ends_with_3_and_says_where() {
    let rule = |selection: &str| {
        format!(
            "version: 1\nrules:\n  - id: a\n    title: A\n    kinds: [open]\n    selection: {{ {selection} }}\n    \
             condition: selection\n    verdict: keep\ndefault: drop\n"
        )
    };
    let policy = |text: &str, words: &[&str]| {
        check(&[("p.yaml", text)], "policy check {dir}/p.yaml", 3, words);
        let files =
            [("p.yaml", text), ("c.yaml", "state_dir: {dir}/state\nruntime_dir: {dir}\npolicy: [{dir}/p.yaml]\n")];
        check(&files, "run --config {dir}/c.yaml", 3, words);
        check(&files, "tail --policy {dir}/p.yaml --for 1s", 3, words);
    };
    policy(&rule("pth: /etc"), &["p.yaml:6:", "pth", "did you mean \"path\"?"]);
    policy(&rule("mode: rw"), &["p.yaml:6:"]);
    policy("rules: []\n", &["p.yaml:", "version"]);
    policy("version: 1\nrules:\n  - id: a\n", &["p.yaml:3:"]);
    policy("version: 1\ndefault: ignore\n", &["p.yaml:2:", "ignore"]);
    check(&[], "policy check {dir}/missing.yaml", 3, &["{dir}/missing.yaml"]);
}

#[test]
fn a_reader_that_went_away_wants_no_message() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("c.yaml"),
        "state_dir: {dir}\nruntime_dir: {dir}\n".replace("{dir}", &dir.path().display().to_string()),
    )
    .unwrap();
    for args in [
        "config",
        "config --check c.yaml",
        "policy check",
        "policy default",
        "probe",
        "probe --json",
        "detach --config c.yaml",
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut call = Command::new(sigtrail());
        let ran =
            call.args(args.split(' ')).current_dir(dir.path()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((ran.status.code(), &*ran.stderr), (Some(141), &b""[..]), "{args}");
    }
}

#[test]
fn a_status_without_an_agent_says_so() {
    let files = [("c.yaml", "runtime_dir: {dir}\n")];
    check(&files, "status --config {dir}/c.yaml", 1, &["no agent answers at {dir}/control.sock", "is it running"]);
}

#[test]
fn keys_are_made_once() {
    let files: Files<'_> = &[("c.yaml", "state_dir: {dir}/state\nspool: { min_free: 0MiB }\n")];
    check(files, "enroll --config {dir}/c.yaml --origin bad+name", 3, &["`bad+name` cannot name a log"]);
    let host = Host::new("");
    let first = run(&mut host.command("enroll"));
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.out.contains("test.example.org/sigtrail"), "{first:?}");
    let key = fs::read(host.path("state/keys/host")).unwrap();
    let second = run(&mut host.command("enroll"));
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains("holds keys already"), "{second:?}");
    assert_eq!(fs::read(host.path("state/keys/host")).unwrap(), key);
    host.verified();
}

#[test]
fn without_rights_it_says_which_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| assert_eq!(run(Command::new("chmod").arg("0777").arg(path)).code, Some(0));
    open(dir.path());
    // the program may be below a directory that only root may enter
    let program = dir.path().join("sigtrail");
    fs::copy(sigtrail(), &program).unwrap();
    let config = dir.path().join("c.yaml");
    let below = dir.path().display();
    fs::write(&config, format!("state_dir: {below}/state\nruntime_dir: {below}\nspool: {{ min_free: 0MiB }}\n"))
        .unwrap();
    let nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).args(args);
        run(&mut command)
    };
    let check = |args: &[&str], expected: &str| {
        let ran = nobody(args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    };
    check(&["run", "--config", config.to_str().unwrap()], "CAP_BPF is missing: no eBPF program can be loaded");
    check(&["tail", "--for", "1s"], "run as root, or with CAP_BPF and CAP_PERFMON");
}
