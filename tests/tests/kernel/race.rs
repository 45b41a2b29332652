//! One thread rewrites a name while another one calls with it: what a record calls the kernel's word must be it.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{
    FAMILIES,
    actor::{Stage, compile, is_asked, ktime},
};

const ROUNDS: usize = 200;

#[test]
fn no_false_name_is_the_kernels_word() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (program, dir) = (it.path("race"), it.path("races"));
        compile("race", &program);
        std::fs::create_dir(&dir).unwrap();
        let mut race = Command::new(&program);
        let race = race.arg(ROUNDS.to_string()).current_dir(&dir).stdout(Stdio::piped()).spawn().unwrap();
        let pid = race.id();
        let said = String::from_utf8(race.wait_with_output().unwrap().stdout).unwrap();

        let mut records = it.gather_all();
        records.retain(|record| record["pid"] == pid && is_raced(record));
        records.sort_by_key(ktime);
        let mut copied = 0;
        let mut files = [0; 2];
        assert_eq!(records.len(), 7 * ROUNDS, "each call makes a record");
        // the last three of a round tidy up
        let raced = records.chunks(7).flat_map(|round| &round[..4]);
        for (record, line) in raced.clone().zip(said.lines()) {
            let (kind, file) = line.split_once(' ').unwrap();
            assert_eq!(record["kind"], kind, "{line}: {record}");
            assert_eq!(record["success"], file != "-", "{line}: {record}");
            let is_copied = record["evidence"]["user_copy"].as_array().is_some_and(|it| it.contains(&"path".into()));
            copied += usize::from(is_copied && file != "-");
            if file != "-" && !is_copied {
                let expected = dir.join(file);
                assert_eq!(record["path"], expected.to_str().unwrap(), "{line}: {record}");
            }
            files[usize::from(file == "bbbb")] += 1;
        }
        assert!(files.iter().all(|count| *count > 0), "the name was never rewritten: {files:?}");
        // of an open the kernel keeps the file; of the others only a security hook tells
        let opens = |record: &&Value| record["kind"] == "open";
        assert!(
            raced
                .filter(opens)
                .all(|record| record["evidence"]["user_copy"].is_null() || record["ret"].as_i64() < Some(0))
        );
        if ["unlink", "rename", "chmod"].into_iter().all(is_asked) {
            assert_eq!(copied, 0, "security hooks are asked, and yet names are copied");
        }
    }
}

/// Whether a call is one of the seven of a round.
fn is_raced(record: &Value) -> bool {
    match record["kind"].as_str() {
        Some("open") => record["access"] == "write" && record["created"] == false,
        Some("unlink") => record["call"] == "unlink",
        Some("chmod" | "rename") => true,
        _ => false,
    }
}
