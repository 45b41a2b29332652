//! `sigtrail doctor`: a set-up that is spoiled in one way, and what is found then.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use serde_json::Value;
use tests::host::{Host, run};

/// The findings, and the exit code.
fn doctor(host: &Host) -> (i32, Vec<Value>) {
    let ran = run(host.command("doctor").arg("--json"));
    let findings = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code.unwrap(), findings)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What spoils it; which check finds that, in these words, and what it says to do.
type Case = (fn(&Host), &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    (|it| mode(&it.path("state"), 0o755), "files", "has mode 0755", "chmod go= "),
    (|it| mode(&it.path("state/keys/host"), 0o640), "files", "state/keys/host has mode 0640", "chmod go= "),
    (|it| chown(it.path("state/chain"), Some(1), None).unwrap(), "files", "belongs to user 1", "chown 0: "),
    (|it| mode(&it.path("policy.yaml"), 0o666), "files", "policy.yaml may be written by others", "chmod go-w "),
    (|it| mode(&it.path("sigtrail.yaml"), 0o662), "files", "sigtrail.yaml may be written by others", "chmod go-w "),
    (|it| chown(it.path("policy.yaml"), Some(1), None).unwrap(), "files", "who may change it", "chown root "),
    (|it| fs::remove_file(it.path("policy.yaml")).unwrap(), "files", "policy.yaml: No such file", "make it"),
    (|it| it.write("policy.yaml", "version: 1\nrules: [{}]\n"), "policy", "policy.yaml:2", "policy check"),
    (|it| http(it, ""), "sinks", "cannot be reached at https://127.0.0.1:", "is the receiver there"),
    (|it| http(it, "token_file: /nowhere/token"), "files", "/nowhere/token: No such file", "make it"),
    (open_token, "files", "is a secret, and everybody may open it", "chmod o= "),
    (|it| it.configure("spool: { min_free: 1024TiB }"), "disk", "less than spool.min_free", "make room"),
];

/// A sink where nobody listens.
fn http(host: &Host, more: &str) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    host.configure(&format!("sinks:\n  - type: http\n    name: web\n    url: https://{free}/\n    {more}"));
}

fn open_token(host: &Host) {
    host.write("token", "secret");
    mode(&host.path("token"), 0o644);
    http(host, &format!("token_file: {}", host.path("token").display()));
}

fn enrolled() -> Host {
    let host = Host::new("");
    assert_eq!(run(&mut host.command("enroll")).code, Some(0));
    host
}

#[test]
fn what_is_spoiled_is_found() {
    for (spoil, check, found, todo) in CASES {
        let host = enrolled();
        spoil(&host);
        let (code, findings) = doctor(&host);
        let is = |it: &&Value, level: &str| {
            it["check"] == *check && it["level"] == level && it["found"].as_str().unwrap().contains(found)
        };
        let finding =
            findings.iter().find(|it| is(it, "problem")).unwrap_or_else(|| panic!("no {found}: {findings:#?}"));
        assert!(finding["todo"].as_str().unwrap().contains(todo), "{finding:#}");
        assert_eq!(code, 1);
    }
}

#[test]
fn what_is_well_is_no_problem() {
    let host = enrolled();
    let (code, findings) = doctor(&host);
    let problems: Vec<_> = findings.iter().filter(|it| it["level"] == "problem").collect();
    assert!(problems.is_empty() && code == 0, "{problems:#?}");
    assert!(findings.iter().any(|it| it["check"] == "agent"));
    // with a running agent its sinks are asked of it
    let agent = host.start();
    let (code, findings) = doctor(&host);
    assert!(code == 0 && !findings.iter().any(|it| it["check"] == "agent"), "{findings:#?}");
    assert_eq!(agent.stop().0, Some(0));
    let text = run(&mut host.command("doctor"));
    assert!(text.out.ends_with(" notes\n") && text.out.contains("0 problems, "), "{text:?}");
}
