//! Captures by a rule and by a signal.

use std::{fs, thread, time::Duration};

use nix::sys::signal::Signal;
use tests::host::{Host, until};

use super::{by_name, events, recorded, verify};

#[test]
fn a_rule_and_a_signal_capture_and_a_rule_not_too_often() {
    let host =
        Host::new("capture: { during: 200ms, with: [maps], keep: 2, rule_every: 1h }\nrecorder: { enabled: true }");
    let policy = fs::read_to_string(host.path("policy.yaml")).unwrap().replace("verdict: keep", "verdict: capture");
    host.write("policy.yaml", &policy);
    let agent = host.start();
    // three times: one is captured, one is told as left out, one is counted
    for name in ["a", "b", "c"] {
        host.touch(name);
    }
    let done = recorded(&host, "done", 1);
    let bundle =
        until("the bundle", || Some(done[0]["bundle"].as_str()?.to_owned()).filter(|it| fs::exists(it).unwrap()));
    assert_eq!((&done[0]["by"], &done[0]["rule"]), (&"rule".into(), &"load".into()));
    assert_eq!(done[0]["target"], format!("pid:{}", std::process::id()));
    assert_eq!(verify(bundle.as_ref(), &["--key", host.path("state/host.vkey").to_str().unwrap()]).0, 0);
    let trap = host.path("load/a").display().to_string();
    let cause = events(&by_name(bundle.as_ref())).into_iter().find(|it| it["path"] == trap.as_str()).unwrap();
    assert_eq!(cause["policy"]["verdict"], "capture");
    assert_eq!(recorded(&host, "left_out", 1).len(), 1);
    thread::sleep(Duration::from_millis(500));
    for count in 1..=2 {
        agent.signal(Signal::SIGUSR1);
        until("the bundle of a signal", || {
            let done: Vec<_> = recorded(&host, "done", 1).into_iter().filter(|it| it["by"] == "signal").collect();
            let bundle = done.get(count - 1)?["bundle"].as_str()?.to_owned();
            fs::exists(&bundle).unwrap().then_some(())
        });
        // the name is there a moment before the turn is over
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(agent.stop().0, Some(0));
    let kept = fs::read_dir(host.path("state/captures")).unwrap().count();
    assert_eq!(kept, 2, "no more than `keep` says");
    assert_eq!(host.verified()["lost"], 0);
}
