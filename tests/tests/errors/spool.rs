//! `sigtrail spool` over the spool of an agent that ran: what it shows, prints, verifies and repairs.

use std::{fs, os::unix::fs::FileExt as _, process::Command};

use serde_json::Value;
use tests::host::{Host, Ran, bytes, run, sigtrail, until};

fn spool(host: &Host, args: &str) -> Ran {
    let mut words: Vec<_> = args.split(' ').map(str::to_owned).collect();
    words.splice(1..1, ["--config".to_owned(), host.path("sigtrail.yaml").display().to_string()]);
    run(Command::new(sigtrail()).arg("spool").args(words))
}

fn check(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    for words in words {
        assert!(ran.out.contains(words) || ran.err.contains(words), "`{words}` is not in {ran:?}");
    }
}

#[test]
fn a_spool_is_shown_printed_verified_and_repaired() {
    let host = Host::new("");
    // port 9 is closed: nothing leaves the spool
    host.configure("sinks: [{ type: http, name: web, url: http://127.0.0.1:9 }]");
    let agent = host.start();
    for number in 0..3 {
        host.touch(&format!("file-{number}"));
        let count = host.batches().len();
        until("another batch", || (host.batches().len() > count).then_some(()));
    }
    check(&spool(&host, "repair --apply"), 3, &["another agent uses"]);
    let listed: Value = serde_json::from_str(&spool(&host, "ls --json").out).unwrap();
    assert_eq!((&listed["segments"][0]["first"], &listed["sinks"][0]["name"]), (&0.into(), &"web".into()));
    agent.stop();

    let dir = host.path("state/spool");
    let batches = bytes(&dir);
    let last = batches.len() - 1;
    // the enrolment is in one of its own
    let segment = host.segments()[1].file_name().unwrap().to_string_lossy().into_owned();
    check(
        &spool(&host, "ls"),
        0,
        &[&format!("{segment}  batches 1 to {last}, "), &format!("sink web: delivered nothing, {} behind", last + 1)],
    );
    check(&spool(&host, "verify"), 0, &["VERIFIED"]);
    check(&spool(&host, "repair"), 0, &["every record is whole"]);

    let printed = spool(&host, "export --from 1 --to 2");
    assert_eq!(printed.out.as_bytes(), batches[1..=2].concat());
    host.write("log.ndjson", &spool(&host, "export").out);
    assert_eq!(host.verify(&[host.path("log.ndjson")]).0, 0);

    // a byte in the payload of the first record
    let file = fs::OpenOptions::new().read(true).write(true).open(&host.segments()[1]).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 60).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 60).unwrap();
    check(&spool(&host, "repair"), 2, &[": bytes 0 to ", "are no whole batch"]);
    check(&spool(&host, "export --to 0"), 0, &[]);
    check(&spool(&host, "export --from 1 --to 1"), 2, &["batches 1 to 1 are not in the spool"]);
    check(&spool(&host, "repair --apply"), 0, &[&format!("{segment}.0.damaged")]);
    check(&spool(&host, "repair"), 0, &["every record is whole"]);
    check(&spool(&host, "verify"), 2, &["INCOMPLETE"]);
    check(&spool(&host, "ls"), 0, &[&format!("quarantine/{segment}.0.damaged  ")]);
    // the log goes on
    host.start().stop();
    assert!(bytes(&dir).len() > last);
}

#[test]
fn what_was_refused_is_shown_and_marked() {
    let host = Host::new("");
    let quarantine = host.path("state/spool/quarantine/web");
    fs::create_dir_all(&quarantine).unwrap();
    fs::create_dir_all(host.path("state/spool/cursors")).unwrap();
    fs::write(host.path("state/spool/cursors/web"), "9\n").unwrap();
    for number in [3, 7] {
        fs::write(quarantine.join(format!("{number}.ndjson")), "{}\n").unwrap();
        fs::write(quarantine.join(format!("{number}.answer")), "422\nno such \u{1b}[31mfield\n").unwrap();
    }
    check(&spool(&host, "ls"), 0, &["sink web: batch 3 was refused: 422 no such  [31mfield"]);
    check(&spool(&host, "retry web 4"), 3, &["sink web refused no batch 4; in quarantine: 3, 7"]);
    check(&spool(&host, "retry www"), 0, &["0 batches"]);
    check(&spool(&host, "retry web 7"), 0, &["1 batches will be offered again: reload the agent"]);
    check(&spool(&host, "ls"), 0, &["batch 7 was refused, to be offered again: 422"]);
    check(&spool(&host, "retry web"), 0, &["1 batches"]);
    check(&spool(&host, "retry web"), 0, &["0 batches"]);
    let names = ["3.again", "3.answer", "7.again", "7.answer"];
    assert!(names.iter().all(|name| quarantine.join(name).exists()), "{:?}", fs::read_dir(&quarantine));
}
