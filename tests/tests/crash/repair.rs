//! Somebody with the rights for it takes the kernel half apart: the agent says so and mends it.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tests::host::{Host, run, until};

use crate::handover::{generations, host};

/// Words of `bpftool map`, for a map of the kernel half.
fn bpftool(verb: &str, map: &Path, words: &[&str]) {
    let ran = run(Command::new("bpftool").args(["map", verb, "pinned"]).arg(map).args(words));
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

fn told(host: &Host, hook: &str) -> Option<Value> {
    let told = host.batches().into_iter().flat_map(|batch| batch.lines).filter(|line| line["kind"] == "agent.hook");
    told.into_iter().find(|line| line["hook"] == hook)
}

/// Alerts about a command of bpf(2) that touches what is the agent's.
fn touches(host: &Host, command: &str) -> Vec<Value> {
    let lines = host.batches().into_iter().flat_map(|batch| batch.lines);
    lines.filter(|line| line["policy"]["rule"] == "self.bpf" && line["command"] == command).collect()
}

fn is_seen(host: &Host, name: &str) -> bool {
    let path = host.path("load").join(name).display().to_string();
    host.batches().iter().any(|batch| batch.of_kind("open").iter().any(|line| line["path"] == path.as_str()))
}

#[test]
fn what_is_taken_away_is_mended_and_told() {
    let host = host("");
    let agent = host.start();
    let generation = generations(&host).remove(0);
    let path = |name: &str| generation.join(name);
    host.touch("before");
    until("an event", || is_seen(&host, "before").then_some(()));

    // no link of ours can be detached by hand (Linux has no such operation for links of tracing, raw tracepoints and perf
    // events): who tries is told, and the hooks go on
    for name in ["link_sys_exit", "link_exec"] {
        let ran = run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(path(name)));
        assert_ne!(ran.code, Some(0), "{ran:?}");
    }
    until("the alerts about both", || (touches(&host, "BPF_LINK_DETACH").len() == 2).then_some(()));
    host.touch("attached");
    until("an event after that", || is_seen(&host, "attached").then_some(()));

    // kind 4 is open: its entry is looked up by what the record of the agent says
    let kind = (common::Kind::Open as u8).to_string();
    bpftool("delete", &path("map_PROGRAMS"), &["key", &kind, "0", "0", "0"]);
    host.touch("blind");
    let record = until("the record of the jump", || told(&host, "open"));
    assert_eq!(record["state"], "restored", "{record}");
    host.touch("jump");
    until("an event after the jump is mended", || is_seen(&host, "jump").then_some(()));
    assert!(!is_seen(&host, "blind"), "the test took nothing away");

    let zeros = vec!["0"; size_of::<common::filter::Control>()];
    bpftool("update", &path("map_bss"), &[&["key", "0", "0", "0", "0", "value"], &zeros[..]].concat());
    let record = until("the record of the control", || told(&host, "control"));
    assert_eq!(record["state"], "restored", "{record}");
    host.touch("control");
    until("an event after the control is mended", || is_seen(&host, "control").then_some(()));

    fs::remove_file(path("link_sys_exit")).unwrap();
    let record = until("the record of the names", || told(&host, "names"));
    assert_eq!(record["state"], "restored", "{record}");
    assert!(path("link_sys_exit").exists());

    // who did it was told; the write to the control itself blinded the kernel half, the hand on it before did not
    let deleted = touches(&host, "BPF_MAP_DELETE_ELEM");
    assert!(deleted.len() == 1 && deleted[0]["touches"] == "map", "{deleted:#?}");
    let control = path("map_bss").display().to_string();
    assert!(touches(&host, "BPF_OBJ_GET").iter().any(|line| line["place"] == control.as_str()));

    // and what was named again is taken up by the next run
    let pids = [agent.pid()];
    agent.kill();
    host.touch("alone");
    let agent = host.start();
    until("an event of the time without an agent", || is_seen(&host, "alone").then_some(()));
    let pids = [pids[0], agent.pid()];
    assert_eq!(agent.stop().0, Some(0));
    host.verified();
    // what the agents do to their own makes no alarm, not even before the programs know the second one
    let lines: Vec<_> = host.batches().into_iter().flat_map(|batch| batch.lines).collect();
    let alarms = lines.iter().filter(|line| line["policy"]["rule"].as_str().is_some_and(|it| it.starts_with("self.")));
    let own: Vec<_> = alarms.filter(|line| pids.iter().any(|pid| line["pid"] == *pid)).collect();
    assert!(own.is_empty(), "{own:#?}");
}
