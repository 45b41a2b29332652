//! What a real run seals, and each of the agent's own records that a short run does not bring about.

use std::{collections::BTreeSet, fs, process::Command, sync::LazyLock};

use sigtrail::{
    source::{Capture, Made, Own},
    view::table::{About, ROWS},
};
use tests::host::{Host, Sealed};

use super::{Fields, golden, records as parsed};

const TIME: &str = "2026-05-28T20:26:40.000000001Z";
/// As `record::mismatch` writes it.
const MISMATCH: &str = r#"{"call":"unlink","cpu":1,"field":"path","kind":"mismatch","object":"/tmp/b","pid":8,"said":"/tmp/a","seq":"3","tid":8,"time":"2026-05-28T20:26:40Z"}"#;

/// All of them. The run is made once for all tests.
pub fn records() -> Vec<Fields> {
    static RUN: LazyLock<Vec<Fields>> = LazyLock::new(run);
    let all = [RUN.clone(), made()].concat();
    let kinds: BTreeSet<_> = all.iter().map(|fields| fields["kind"].as_str().unwrap()).collect();
    for row in ROWS.iter().filter(|row| row.about == About::Agent) {
        assert!(kinds.contains(row.kind), "there is no record of kind {}", row.kind);
    }
    all
}

/// An agent is killed, goes on and ends; an alert and a program in between.
fn run() -> Vec<Fields> {
    let host = Host::new("");
    let policy = host.path("policy.yaml");
    let rules = fs::read_to_string(&policy).unwrap().replace("verdict: keep", "verdict: alert");
    let exec = "  - id: programs\n    title: Programs\n    kinds: [exec, exit]\n    selection: { process.exe|endswith: /true }\n    \
                condition: selection\n    verdict: keep\ndefault: drop\n";
    fs::write(&policy, rules.replace("default: drop\n", exec)).unwrap();
    let act = || {
        host.touch("a");
        assert!(Command::new("/bin/true").status().unwrap().success());
        fs::remove_file(host.path("load/a")).unwrap();
    };
    let agent = host.start();
    act();
    agent.kill();
    let agent = host.start();
    act();
    assert_eq!(agent.stop().0, Some(0));
    let lines: Vec<Fields> = host.batches().iter().flat_map(lines).collect();
    let kinds: BTreeSet<_> = lines.iter().map(|fields| fields["kind"].as_str().unwrap().to_owned()).collect();
    for kind in ["enrol", "agent.start", "agent.policy", "agent.handover", "agent.recovered", "agent.stop", "exec"] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    assert!(lines.iter().any(|fields| fields.get("policy").is_some_and(|policy| policy["verdict"] == "alert")));
    lines
}

fn lines(batch: &Sealed) -> Vec<Fields> {
    batch.lines.iter().map(|line| line.as_object().unwrap().clone()).collect()
}

fn made() -> Vec<Fields> {
    let why = || "Connection refused (os error 111)".to_owned();
    let sample = |kind: &str| {
        let of_kind = golden().into_iter().find(|fields| fields["kind"] == kind).unwrap();
        serde_json::to_vec(&of_kind).unwrap()
    };
    let summary = |of, sample| Own::Summary { of, count: 4096, first: TIME.to_owned(), last: TIME.to_owned(), sample };
    let own = [
        Own::Degraded { program: "judge", kinds: vec!["open", "modify"], why: why() },
        Own::Hook { hook: "sys_exit".to_owned(), state: "restored", why: why() },
        Own::Sink { name: "http".to_owned(), since: Some(TIME.to_owned()), why: Some(why()) },
        Own::Sink { name: "http".to_owned(), since: None, why: None },
        Own::Lost { hook: "sys_exit", cause: "ring_full", count: u64::MAX },
        Own::ClockStep { nanoseconds: i64::MIN },
        Own::Capture(Box::new(Capture {
            result: "done",
            by: "command",
            target: "pid:17".to_owned(),
            with: vec!["exe", "maps"],
            rule: Some("trap".to_owned()),
            asker: Some((1000, 17)),
            exe: Some("/usr/bin/sigtrail".to_owned()),
            why: Some(why()),
            made: Some(Made { manifest: "00".repeat(32), members: (7, u64::MAX), ..Made::default() }),
        })),
        summary("open", sample("open")),
        summary("connect", sample("connect")),
        // a sample that found no room
        summary("exec", vec![b' '; seal::MAX_LINE]),
    ];
    let mut lines: Vec<String> = own.iter().map(|own| own.line(TIME)).collect();
    lines.push(MISMATCH.to_owned());
    parsed(&lines.join("\n"))
}
