//! A real run: what an agent has written of this host, while it runs.

use std::process::Command;

use serde_json::Value;
use tests::host::{Host, run, sigtrail, until};

#[test]
fn a_running_agent_is_looked_at() {
    let host = Host::new("");
    let sink = host.file_sink("log");
    host.configure(&format!("sinks: [{sink}]"));
    let agent = host.start();
    host.touch("a file");
    let path = host.path("load/a file").display().to_string();

    // without a log: what the configuration says that the agent writes
    let found = until("the record to be in the file", || {
        let ran = run(host.command("search").args(["--path", &path, "--since", "10 min ago"]));
        (ran.code == Some(0)).then_some(ran)
    });
    assert!(found.out.contains("open ") && found.out.contains(&format!("'{path}' write, created")), "{found:?}");
    assert!(found.err.contains(&format!("reading {}", host.path("log").display())), "{found:?}");
    assert_eq!(run(host.command("search").args(["--path", &path, "--until", "boot"])).code, Some(1));

    // its place in the log is where the event is
    let json = run(host.command("search").args(["--path", &path, "--json"]));
    let record: Value = serde_json::from_str(json.out.lines().next().unwrap()).unwrap();
    let batch = host.batches().into_iter().find(|batch| record["sigtrail"]["batch"] == batch.header.batch).unwrap();
    let index = usize::try_from(record["sigtrail"]["index"].as_u64().unwrap()).unwrap();
    assert_eq!(batch.lines[index]["seq"], record["seq"]);

    // who did it is this test
    let pid = std::process::id().to_string();
    let tree = run(host.command("tree").args(["--pid", &pid]));
    assert!(tree.out.contains(&format!(" {pid} ")) && tree.out.contains(&path), "{tree:?}");
    // file and spool have the same batches: each counts once
    let report = run(Command::new(sigtrail())
        .args(["report", "files", "--json"])
        .args([host.path("log"), host.path("state/spool")]));
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let rows = report["tables"][0]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["file"] == format!("'{path}'")).unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((&row["count"], &row["kind"]), (&1.into(), &"open".into()), "{report:#}");

    let frame = run(host.command("top").arg("--once"));
    for text in
        [format!("pid {}", agent.pid()), "test.example.org/sigtrail".into(), "sys_exit".into(), " 0 lost".into()]
    {
        assert!(frame.out.contains(&text), "{text}: {frame:?}");
    }
    let drawn = frame.out.lines().find(|line| line.starts_with("open ")).unwrap_or_else(|| panic!("{}", frame.out));
    let records: u64 = drawn.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(records > 0, "records of the kind are counted: {}", frame.out);
    // a pipe is no terminal
    assert_eq!(run(&mut host.command("top")).code, Some(3));
    let screen = in_a_terminal(&host);
    assert!(
        screen.contains("\x1b[?1049h") && screen.contains("\x1b[?1049l"),
        "it leaves the screen as it was: {screen:?}"
    );
    assert!(screen.contains("test.example.org/sigtrail") && screen.contains("sys_exit"), "{screen:?}");

    assert_eq!(agent.stop().0, Some(0));
    assert_eq!(run(host.command("top").arg("--once")).code, Some(1), "no agent");
}

/// What `top` draws in a terminal of script(1), until `q` is typed.
fn in_a_terminal(host: &Host) -> String {
    let command = format!(
        "stty rows 30 cols 100; exec {} top --config {}",
        sigtrail().display(),
        host.path("sigtrail.yaml").display()
    );
    let typed = format!("(sleep 2; printf q) | script --quiet --return --command '{command}' /dev/null");
    let ran = run(Command::new("bash").args(["-c", &typed]).env("TERM", "xterm-256color"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}
