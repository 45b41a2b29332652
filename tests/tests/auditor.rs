//! What an auditor types, and what he sees: the `console` blocks of `tests/auditor/*.md` and of the pages below, each run
//! as it is written, in one directory from top to bottom, over the golden log and its key (`tests/vectors/`), and beside
//! it `restored.ndjson`, the log as it went on from a state that was put back, the log of another host, `db.ndjson` with
//! `db.vkey`, in `seen/` one that a witness cosigned, with a policy, and one that wants another witness, too, and in `full/`
//! a spool that had no room for all. `verify.py` is the second verifier.
//!
//! ```text
//! $ command           must end with 0, and print what is below it, on either output
//! > more of it        a command may have several lines
//! $ command # exits 2 must end with 2
//! ```
//! `SIGTRAIL_BLESS=1` writes what is printed into the files.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use seal::{Batch, BatchKind, Facts, Gap, GapReason, Receipt, cosign::Witness, frame, text::hex, tree::sha256};
use sigtrail::spool::{Options, Spool};
use tests::host::{sigtrail, verifier};

#[path = "../../seal/tests/common/mod.rs"]
mod common;

/// Pages of the documentation whose commands are run, too.
const PAGES: &[&str] = &["docs/fleet.md", "docs/prove-an-event.md", "docs/review.md"];

/// The page with a log of its own, `web-1.ndjson`: `tests/review/web-1.lines`, which an agent wrote about a break-in that
/// was played to it (`tests/review/scene.sh`), sealed with a key of ours.
const REVIEW: &str = "web-1.ndjson";

#[test]
fn what_the_auditor_sees_is_what_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cases = fs::read_dir(root.join("tests/auditor")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = cases.chain(PAGES.iter().map(|page| root.join(page))).collect();
    files.sort_unstable();
    let mut wrong = Vec::new();
    for file in &files {
        let written = fs::read_to_string(file).unwrap();
        let seen = run(&written, &root.join("tests/vectors"));
        if seen != written && env::var_os("SIGTRAIL_BLESS").is_some() {
            fs::write(file, &seen).unwrap();
        } else if seen != written {
            let other = seen.lines().zip(written.lines()).find(|(seen, written)| seen != written);
            wrong.push(format!("{}: {other:?}\n{seen}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text with what its commands print now.
fn run(text: &str, vectors: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    let work = dir.path().join("work");
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&work).unwrap();
    for program in [sigtrail(), verifier()] {
        std::os::unix::fs::symlink(&program, bin.join(program.file_name().unwrap())).unwrap();
    }
    std::os::unix::fs::symlink(vectors.join("../../tools/verify.py"), bin.join("verify.py")).unwrap();
    for (name, file) in [
        ("log.ndjson", "log.ndjson"),
        ("host.vkey", "host.vkey"),
        ("restored.ndjson", "cases/old-state-restored.ndjson"),
    ] {
        fs::copy(vectors.join(file), work.join(name)).unwrap();
    }
    if text.contains(REVIEW) {
        reviewed(&vectors.join("../review/web-1.lines"), &work);
    }
    let other = common::log("audit.example.org/sigtrail/db-1/1", 3);
    fs::write(work.join("db.ndjson"), other.bytes()).unwrap();
    fs::write(work.join("db.vkey"), format!("{}\n", other.key)).unwrap();
    witnessed(&work.join("seen"));
    evicted(&work.join("full"));
    fleet(&work.join("fleet"));
    let path = env::join_paths([bin].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap()))).unwrap();
    // functions that a block defines are there for the blocks behind it
    let mut before = String::new();
    let mut seen = String::new();
    let mut lines = text.lines().peekable();
    let mut inside = false;
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ").filter(|_| inside) else {
            if line.starts_with("```") {
                inside = line == "```console";
            }
            if !inside || line.starts_with("```") {
                seen.extend([line, "\n"]);
            }
            continue;
        };
        seen.extend([line, "\n"]);
        let mut command = command.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
            seen.extend([more, "\n"]);
            command.extend(["\n", &more[2..]]);
        }
        let code = command.rsplit_once("# exits ").map_or(0, |(_, code)| code.trim().parse().unwrap());
        if command.contains("() {") {
            before.extend([&command, "\n"]);
            continue;
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("exec 2>&1\n{before}{command}")]).current_dir(&work).env("PATH", &path);
        let done = shell.env("NO_COLOR", "1").env_remove("SIGTRAIL_CONFIG").output().unwrap();
        let printed = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(code), "{command}\n{printed}");
        seen.push_str(&printed);
        if !printed.is_empty() && !printed.ends_with('\n') {
            seen.push('\n');
        }
    }
    seen
}

/// Seals recorded lines, twenty a batch: `web-1.ndjson` and `web-1.vkey`.
fn reviewed(recorded: &Path, work: &Path) {
    let recorded = fs::read_to_string(recorded).unwrap();
    let lines: Vec<&[u8]> = recorded.lines().map(str::as_bytes).collect();
    let time = |line: &[u8]| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        seal::text::untime(line["time"].as_str().unwrap()).unwrap()
    };
    let mut maker = common::Maker::new("web-1.example.org/sigtrail", 9);
    let batches: Vec<_> = lines.chunks(20).collect();
    for (number, batch) in (1..).zip(&batches) {
        let kind = match number {
            1 => BatchKind::Start,
            last if last == batches.len() as u64 => BatchKind::Stop,
            _ => BatchKind::Events,
        };
        let mut facts = common::facts(kind, number);
        let times = batch.iter().map(|line| time(line));
        facts.wall = (times.clone().min().unwrap(), times.max().unwrap());
        facts.clock.step_ns = 0;
        maker.add(batch, &facts);
    }
    let log = maker.finish();
    fs::write(work.join(REVIEW), log.bytes()).unwrap();
    fs::write(work.join("web-1.vkey"), format!("{}\n", log.key)).unwrap();
}

/// A log whose third batch has a receipt for the first two, also as a segment of the spool; and the policy that wants it.
fn witnessed(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let mut maker = common::Maker::new("audit.example.org/sigtrail/seen-1/1", 5);
    maker.add(&[br#"{"kind":"agent.start"}"#], &common::facts(BatchKind::Start, 1));
    let checkpoint =
        Batch::parse(maker.batches[1].split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap().proof.checkpoint;
    let witness = Witness::new("witness.example/w1", &[6; 32]).unwrap();
    let mut facts = common::facts(BatchKind::Events, 2);
    let end_of_batch_1 = 1_780_000_010;
    let receipt = Receipt { size: checkpoint.size, cosignature: witness.cosign(&checkpoint.text(), end_of_batch_1) };
    facts.receipts = vec![receipt.to_string()];
    maker.add(&[br#"{"seq":"2"}"#, br#"{"seq":"3"}"#], &facts);
    facts = common::facts(BatchKind::Stop, 3);
    facts.clock.step_ns = 0;
    maker.add(&[br#"{"seq":"4"}"#], &facts);
    let mut segment = Vec::new();
    for (number, batch) in maker.batches.iter().enumerate() {
        frame::write(number as u64, &zstd::bulk::compress(batch, 1).unwrap(), &mut segment).unwrap();
    }
    let log = maker.finish();
    fs::write(dir.join("seg-00000000000000000000.stl"), segment).unwrap();
    fs::write(dir.join("log.ndjson"), log.bytes()).unwrap();
    let other = Witness::new("witness.example/w2", &[7; 32]).unwrap();
    let known = format!("log {}\nwitness w1 {}\n", log.key, witness.key());
    fs::write(dir.join("policy"), format!("{known}quorum w1\n")).unwrap();
    let both = format!("{known}witness w2 {}\ngroup both all w1 w2\nquorum both\n", other.key());
    fs::write(dir.join("policy-of-two"), both).unwrap();
}

/// What a receiver has of five hosts, and their keys: db-1 ended early, mail-1 has a gap, new-1 sent nothing, of web-2 a
/// segment is gone.
fn fleet(dir: &Path) {
    let mut keys = String::new();
    for (salt, name) in (11..).zip(["db-1", "mail-1", "new-1", "web-1", "web-2"]) {
        let mut maker = common::Maker::new(&format!("{name}.example.org/sigtrail"), salt);
        for number in 1..=if name == "db-1" { 5 } else { 9_u64 } {
            let kind = if number == 1 { BatchKind::Start } else { BatchKind::Events };
            let mut facts = Facts { host: name.to_owned(), ..common::facts(kind, number) };
            facts.clock.step_ns = 0;
            if name == "mail-1" && number == 5 {
                facts.gaps = vec![Gap { sink: "s3".into(), from: 2, to: 3, reason: GapReason::Lag }];
            }
            maker.add(&[format!(r#"{{"path":"/etc/passwd","seq":"{number}"}}"#).as_bytes()], &facts);
        }
        let log = maker.finish();
        keys.extend([log.key.to_string().as_str(), "\n"]);
        let host = dir.join("hosts").join(name);
        fs::create_dir_all(host.join("log")).unwrap();
        fs::create_dir(host.join("aside")).unwrap();
        fs::write(host.join("aside/0.ndjson"), "refused\n").unwrap();
        fs::write(host.join("origin"), format!("{name}.example.org/sigtrail\n")).unwrap();
        let batches: &[_] = if name == "new-1" { &[] } else { &log.batches };
        for (first, batches) in (0..).step_by(3).zip(batches.chunks(3)) {
            if (name, first) == ("web-2", 3) {
                continue;
            }
            let mut segment = Vec::new();
            for (number, batch) in (first..).zip(batches) {
                frame::write(number, &zstd::bulk::compress(batch, 1).unwrap(), &mut segment).unwrap();
            }
            fs::write(host.join(format!("log/seg-{first:020}.stl")), segment).unwrap();
        }
    }
    fs::write(dir.join("keys"), keys).unwrap();
}

/// A spool that has room for a part of the log only, and what it had room for, as plain text.
fn evicted(dir: &Path) {
    let mut maker = common::Maker::new("audit.example.org/sigtrail/full-1/1", 7);
    for number in 1..12_u64 {
        // what does not compress well
        let noise: String = (0..600_u64).map(|at| hex(&sha256(&(number << 32 | at).to_le_bytes()))).collect();
        maker.add(
            &[format!(r#"{{"noise":"{noise}"}}"#).as_bytes()],
            &common::facts(if number == 1 { BatchKind::Start } else { BatchKind::Events }, number),
        );
    }
    let log = maker.finish();
    let options = Options { max_bytes: 160_000, min_free: 0, ..Options::new(dir.join("spool")) };
    let (mut spool, _) = Spool::open(options).unwrap();
    let mut kept = 0;
    for (number, batch) in log.batches.iter().enumerate() {
        let done = spool.append(number as u64, batch).unwrap();
        kept = done.evicted.last().map_or(kept, |range| range.to as usize + 1);
    }
    fs::write(dir.join("kept.ndjson"), log.batches[kept..].concat()).unwrap();
    fs::write(dir.join("full.vkey"), format!("{}\n", log.key)).unwrap();
}
