//! `tests/vectors/cases.txt`, line by line, by the two programs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cases::{OTHER, Vector, every, revoked, vectors};
use crate::common::{ORIGIN, golden, log, vector, verify};

const HEAD: &str = "\
# One log a line: cases/<name>.ndjson, the verdict, the batch of the first finding that makes the verdict, the options
# of the verifier, and words of that finding as sigtrail-verify puts it.
";

#[test]
fn the_vectors_are_made_to_the_byte() {
    let head = verify(log(ORIGIN, 1).trust(), &log(ORIGIN, 1).bytes()).last.unwrap();
    golden("head", format!("{head}\n").as_bytes());
    golden("other.vkey", format!("{}\n", log(ORIGIN, 9).key).as_bytes());
    let (fleet, note) = revoked();
    golden("fleet.vkey", format!("{}\n", fleet.vkey()).as_bytes());
    golden("revoked.note", note.as_bytes());
    let mut table = HEAD.to_owned();
    for Vector { name, verdict, batch, options, words, bytes } in vectors() {
        golden(&format!("cases/{name}.ndjson"), &bytes);
        let batch = batch.map_or("-".to_owned(), |batch| batch.to_string());
        table += format!("{name:<52} {verdict:<10} {batch:<2} {options:<38} {words}").trim_end();
        table.push('\n');
    }
    golden("cases.txt", table.as_bytes());
    assert_ne!(every().key.name(), OTHER);
}

/// What a program says of a vector: the exit code and its report.
fn ask(program: &mut Command, file: &str, options: &[&str]) -> (Option<i32>, serde_json::Value) {
    let ran = program.arg("--json").args(options).arg(file).current_dir(vector("")).output().unwrap();
    let report = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{file}: {error}: {ran:?}"));
    (ran.status.code(), report)
}

fn check(line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    let [name, verdict, batch, rest @ ..] = words.as_slice() else { panic!("{line}") };
    let options = rest
        .iter()
        .position(|word| !word.starts_with("--"))
        .map_or(0, |_| rest.iter().enumerate().take_while(|(at, word)| at % 2 == 1 || word.starts_with("--")).count());
    let (options, words) = rest.split_at(options);
    let code = ["verified", "tampered", "incomplete"].iter().position(|one| one == verdict).unwrap();
    let batch = batch.parse::<u64>().ok();
    let file = format!("cases/{name}.ndjson");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tools/verify.py");
    let (ours, report) = ask(&mut Command::new(env!("CARGO_BIN_EXE_sigtrail-verify")), &file, options);
    let (theirs, second) = ask(Command::new("python3").arg(script), &file, options);
    for (code_of, report, findings) in
        [(ours, &report, &report["findings"]["list"]), (theirs, &second, &second["findings"])]
    {
        assert_eq!(code_of, i32::try_from(code).ok(), "{name}: {report:#}");
        assert_eq!(report["verdict"], *verdict, "{name}: {report:#}");
        let first = findings.as_array().unwrap().iter().find(|one| one["severity"] == *verdict);
        assert_eq!(first.and_then(|one| one["batch"].as_u64()), batch, "{name}: {report:#}");
    }
    let first = report["findings"]["list"].as_array().unwrap().iter().find(|one| one["severity"] == *verdict);
    let what = first.map_or("", |one| one["what"].as_str().unwrap());
    assert!(what.contains(&words.join(" ")), "{name}: {what}");
    for fact in ["origin", "from", "to", "batches", "events", "lost", "pinned"] {
        if *verdict != "tampered" {
            assert_eq!(report[fact], second[fact], "{name}: {fact}");
        }
    }
    if let Some(head) = second["head"].as_str() {
        assert_eq!(report["last"]["line"], head, "{name}");
    }
}

fn lines() -> Vec<String> {
    let table = fs::read_to_string(vector("cases.txt")).unwrap();
    table.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn check_one(name: &str) {
    check(lines().iter().find(|line| line.starts_with(name)).unwrap());
}

#[test]
fn both_programs_say_of_each_vector_what_the_table_says() {
    let lines = lines();
    assert!(lines.len() > 40);
    for line in lines {
        check(&line);
    }
}

/// `CVE-2023-31438`: a journal could be truncated and go on, because epochs without entries had no seal.
#[test]
fn journald_cve_2023_31438_cut_and_continue_is_noticed() {
    check_one("journald-cve-2023-31438");
}

/// `CVE-2023-31439`: old entries could be sealed anew with the current key.
#[test]
fn journald_cve_2023_31439_resealing_with_a_later_key_is_noticed() {
    check_one("journald-cve-2023-31439");
}

/// systemd issue 15425: `--verify-key` passes a file that is not sealed at all.
#[test]
fn journald_issue_15425_unsealed_is_not_sealed() {
    check_one("journald-issue-15425");
}
