//! Who may have a capture, by what the kernel says of who asks; and that each question is in the log.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, thread, time::Duration};

use tests::host::{Host, Ran, run, sigtrail};

use super::{Idle, capture, open_to_all, recorded, verify};

/// Asks as a user without any right of root, of this first group.
fn ask(host: &Host, gid: u32, options: &[&str]) -> Ran {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", &format!("--regid={gid}"), "--clear-groups", "--"]).arg(host.path("sigtrail"));
    command.args(["capture", "--config"]).arg(host.path("sigtrail.yaml")).args(options);
    run(command.current_dir("/"))
}

/// The group `nogroup` of Debian, and another one.
const INSIDE: u32 = 65534;
const OUTSIDE: u32 = 1;

#[test]
fn an_operator_of_the_group_may_and_others_may_not_and_both_are_in_the_log() {
    let host = Host::new("capture: { group: nogroup, during: 0s }");
    open_to_all(&host);
    fs::copy(sigtrail(), host.path("sigtrail")).unwrap();
    fs::create_dir(host.path("out")).unwrap();
    fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    let idle = Idle::start();
    let agent = host.start();
    let out = |name: &str| host.path("out").join(name).display().to_string();
    let ran = ask(&host, INSIDE, &["--pid", &idle.pid(), "-o", &out("may")]);
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", agent.said());
    assert_eq!(verify(&host.path("out/may"), &[]).0, 0);
    let done = recorded(&host, "done", 1);
    assert_eq!((&done[0]["asker_uid"], &done[0]["target"]), (&65534.into(), &format!("pid:{}", idle.pid()).into()));
    assert!(done[0]["asker_exe"].as_str().unwrap().ends_with("/sigtrail"), "{done:?}");
    // a member sees what the group may see, and no more
    for (options, word) in [
        (&["--with", "memory"][..], "may not see memory"),
        (&["--with", "maps,environ"], "may not see environ"),
        (&["--file", "/etc/shadow"], "may not see files"),
    ] {
        let ran = ask(&host, INSIDE, &[&["--pid", &idle.pid(), "-o", &out("no")], options].concat());
        assert!(ran.code == Some(1) && ran.err.contains(word), "{ran:?}");
    }
    let ran = ask(&host, OUTSIDE, &["--pid", &idle.pid(), "-o", &out("no")]);
    assert!(ran.code == Some(1) && ran.err.contains("members of the group nogroup"), "{ran:?}");
    let refused = recorded(&host, "refused", 4);
    assert!(refused.iter().all(|record| record["asker_uid"] == 65534), "{refused:?}");
    assert!(!host.path("out/no").exists());
    // where the caller may not write, nothing is written, and the log says that he did not take it or that he did
    fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = ask(&host, INSIDE, &["--pid", &idle.pid(), "-o", &out("unwritable")]);
    assert!(ran.code == Some(3) && ran.err.contains("Permission denied"), "{ran:?}");
    assert_eq!(agent.stop().0, Some(0));
}

#[test]
fn one_capture_runs_at_a_time_and_without_an_agent_there_is_a_clear_word() {
    let host = Host::new("");
    let case = host.path("case").display().to_string();
    let ran = capture(&host, &["--all", "-o", &case]);
    assert!(ran.code == Some(1) && ran.err.contains("no agent answers"), "{ran:?}");
    let idle = Idle::start();
    let agent = host.start();
    let usage = capture(&host, &["-o", &case]);
    assert_eq!(usage.code, Some(3), "{usage:?}");
    let mut first = host.command("capture").args(["--pid", &idle.pid(), "--for", "4s", "-o", &case]).spawn().unwrap();
    recorded(&host, "begun", 1);
    let second = capture(&host, &["--all", "-o", &format!("{case}2")]);
    assert!(second.code == Some(1) && second.err.contains("another capture runs"), "{second:?}");
    assert!(first.wait().unwrap().success());
    // who goes away ends the capture
    let mut gone = host
        .command("capture")
        .args(["--pid", &idle.pid(), "--for", "60s", "-o", &format!("{case}3")])
        .spawn()
        .unwrap();
    recorded(&host, "begun", 2);
    gone.kill().unwrap();
    gone.wait().unwrap();
    let failed = recorded(&host, "failed", 1);
    assert!(failed[0]["why"].as_str().unwrap().contains("went away"), "{failed:?}");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(fs::read_dir(host.path("state/captures")).unwrap().count(), 0);
    let there = capture(&host, &["--all", "-o", &case]);
    assert!(there.code == Some(3) && there.err.contains("exists"), "{there:?}");
    assert_eq!(agent.stop().0, Some(0));
}
