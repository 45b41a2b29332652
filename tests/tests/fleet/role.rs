//! The Ansible role.

use std::fs;

use seal::{Vkey, note::Note};
use serde_json::json;
use tests::host::{Ran, run, sigtrail, until};

use crate::{node::Node, repository, tool};

#[test]
fn the_role_is_clean() {
    let dir = repository("packaging/ansible");
    let home = tempfile::tempdir().unwrap();
    let path = std::env::join_paths(
        [repository("target/tools/fleet/bin")]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for (program, options) in
        [("yamllint", vec!["--strict", "."]), ("ansible-lint", vec!["--profile", "production", "roles"])]
    {
        let mut lint = tool(program);
        lint.args(options).current_dir(&dir).env("PATH", path.as_ref().unwrap());
        lint.env("ANSIBLE_HOME", home.path()).env("XDG_CACHE_HOME", home.path()).env("NO_COLOR", "1");
        let ran = run(&mut lint);
        assert_eq!(ran.code, Some(0), "{program}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_host_is_rolled_out_and_what_does_not_work_is_taken_back() {
    let mut node = Node::new();
    let policy = node.path("policy.yaml");
    fs::copy(repository("policies/default.yaml"), &policy).unwrap();
    let fleet = fleet_key(&node);
    let more = json!({
        "sigtrail_programs": node.path("programs"), "sigtrail_policies": [policy], "sigtrail_patience": 20,
        "sigtrail_notes": node.path("notes"), "sigtrail_fleet_key": node.path("fleet.key"),
        "sigtrail_fleet_program": sigtrail(),
        "sigtrail_config": Node::settings(),
    });
    node.variables = more;

    // a check of what would be done does nothing
    let before = node.traces();
    let (ran, counts) = node.play(&["--check"]);
    assert_eq!((ran.code, counts["failed"]), (Some(0), 0), "{}", ran.out);
    assert!(counts["changed"] > 3, "{}", ran.out);
    assert_eq!(node.traces().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(fs::read_dir(node.path("notes")).unwrap().count(), 0);

    let (ran, counts) = node.play(&[]);
    assert_eq!((ran.code, counts["failed"]), (Some(0), 0), "{}", ran.out);
    let status = node.status();
    assert_eq!(status["origin"], "web-1.example.org/sigtrail");
    let signed = fs::read_to_string(node.path("notes/localhost.note")).unwrap();
    assert!(seal::enrol::Enrolment::verify(&signed).unwrap().hostkey.to_string() == status["host_key"]);
    assert!(Note::parse(&signed).unwrap().verify(&fleet).is_ok(), "{signed}");
    let fact = run(&mut node.command("/etc/ansible/facts.d/sigtrail.fact"));
    let fact: serde_json::Value = serde_json::from_str(&fact.out).unwrap();
    assert_eq!((&fact["pid"], &fact["policy"]), (&status["pid"], &status["policy"]));

    // nothing is left to do
    let (ran, counts) = node.play(&[]);
    assert_eq!((ran.code, counts["failed"], counts["changed"]), (Some(0), 0, 0), "{}", ran.out);
    assert_eq!(node.status()["pid"], status["pid"]);

    let good = node.read("/etc/sigtrail/sigtrail.yaml");
    // makes no sense: refused before it is in its place
    node.variables["sigtrail_config"]["spool"]["max_bytes"] = json!("many");
    let ran = refused(&node);
    assert!(ran.out.contains("max_bytes") && ran.out.contains("Nothing was replaced."), "{}", ran.out);
    assert_eq!(node.read("/etc/sigtrail/sigtrail.yaml"), good);
    assert_eq!(node.status()["pid"], status["pid"]);

    // makes sense, and does not work: an agent that cannot be asked
    node.variables["sigtrail_config"] = Node::settings();
    node.variables["sigtrail_config"]["runtime_dir"] = json!("/proc/nowhere");
    node.variables["sigtrail_patience"] = json!(5);
    let ran = refused(&node);
    assert!(
        ran.out.contains("Wait until the agent answers") && ran.out.contains("and the agent answers."),
        "{}",
        ran.out
    );
    assert_eq!(node.read("/etc/sigtrail/sigtrail.yaml"), good);
    let restarted = node.status();
    assert_ne!(restarted["pid"], status["pid"]);
    let places = node.traces().into_keys();
    let copies: Vec<_> = places.filter(|path| path.to_string_lossy().ends_with('~')).collect();
    assert!(copies.is_empty(), "{copies:?}");

    // another policy takes a reload and no restart
    node.variables["sigtrail_config"] = Node::settings();
    node.variables["sigtrail_patience"] = json!(20);
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text + "# another text\n").unwrap();
    let (ran, counts) = node.play(&["--tags", "sigtrail_configure"]);
    assert_eq!((ran.code, counts["failed"]), (Some(0), 0), "{}", ran.out);
    until("the other policy", || (node.status()["policy"] != restarted["policy"]).then_some(()));
    assert_eq!(node.status()["pid"], restarted["pid"]);

    // a host that enrolled anew is not vouched for without a word of a person
    let known = node.path("notes/localhost.enrolment");
    fs::write(&known, "another").unwrap();
    let (ran, _) = node.play(&["--tags", "sigtrail_enrol"]);
    assert!(ran.code != Some(0) && ran.out.contains("shows another enrolment note"), "{}", ran.out);
    assert_eq!(fs::read_to_string(known).unwrap(), "another");
}

/// The configuration is not taken.
fn refused(node: &Node) -> Ran {
    let (ran, counts) = node.play(&["--tags", "sigtrail_configure"]);
    assert_eq!((ran.code, counts["failed"]), (Some(2), 1), "{}", ran.out);
    ran
}

/// Makes the key of the fleet.
fn fleet_key(node: &Node) -> Vkey {
    let mut command = std::process::Command::new(sigtrail());
    let ran = run(command.args(["fleet", "new", "audit.example.org/fleet"]).arg(node.path("fleet.key")));
    Vkey::parse(ran.out.trim()).unwrap()
}
