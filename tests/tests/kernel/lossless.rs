//! What a caller passes comes back byte for byte: long and odd arguments, names and paths.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use nix::libc;
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Arg, Stage, args},
};

/// The bytes of a text in a record.
fn bytes(text: &Value) -> Vec<u8> {
    match text {
        Value::String(text) => text.as_bytes().to_vec(),
        other => Base64::decode_vec(other["b64"].as_str().unwrap_or_else(|| panic!("{other} is no text"))).unwrap(),
    }
}

/// `MAX_ARG_STRLEN` of execve(2): one argument with its NUL.
const LONGEST: usize = 131_072;

#[test]
fn arguments() {
    let cases: [(&str, Vec<Vec<u8>>); 8] = [
        ("none", vec![]),
        ("one that is empty", vec![vec![]]),
        ("one of 131,000 bytes", vec![b"zero".to_vec(), vec![b'x'; 131_000]]),
        ("the longest", vec![vec![b'y'; LONGEST - 1]]),
        ("128 KiB in all", (0..1024).map(|at: u32| format!("{at:0127}").into_bytes()).collect()),
        ("thousands that are empty", vec![vec![]; 5000]),
        ("control characters", (1..=255).map(|byte: u8| vec![b'<', byte, b'>']).collect()),
        (
            "odd text",
            ["a\nb", "\"'\\", "\u{7f}\u{80}", "π🦀", "\u{fffd}", "{\"b64\":\"eA==\"}", "\\u0000"]
                .map(Into::into)
                .into(),
        ),
    ];
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let program = it.program.clone();
        for (name, argv) in &cases {
            let empty: &[&str] = &[];
            let (done, records) = it.act(libc::SYS_execve, args![&program, argv.clone(), empty]);
            assert_eq!((done.ret, records.len()), (0, 1), "{name}");
            let record = &records[0];
            // the kernel adds an empty argument where there is none at all (since Linux 5.18)
            let argv = if argv.is_empty() { vec![vec![]] } else { argv.clone() };
            let told: Vec<_> = record["argv"].as_array().unwrap().iter().map(bytes).collect();
            assert!(told == argv, "{name}: {} arguments told, {} passed", told.len(), argv.len());
            let len: usize = argv.iter().map(|it| it.len() + 1).sum();
            assert_eq!((&record["argc"], &record["argv_len"]), (&json!(argv.len()), &json!(len)), "{name}");
            assert_eq!(record["evidence"]["truncated"], Value::Null, "{name}");
        }
        // more than a record holds is cut, and says so
        let argv = vec![vec![b'z'; 100_000]; 5];
        let (_, records) = it.act(libc::SYS_execve, args![&program, argv.clone(), &[][..] as &[&str]]);
        let record = &records[0];
        assert_eq!((&record["argc"], &record["argv_len"]), (&json!(5), &json!(500_005)));
        assert_eq!(record["evidence"]["truncated"], json!(["argv"]));
        let told: Vec<_> = record["argv"].as_array().unwrap().iter().map(bytes).collect();
        assert!(
            told.iter().flatten().count() >= 100_000 && told.iter().zip(&argv).all(|(told, it)| it.starts_with(told))
        );
    }
}

#[test]
fn file_names() {
    let long = "n".repeat(255);
    let names: [&[u8]; 9] = [
        b"new\nline",
        b"\"quote\\'s",
        b"\x01\x1b[31m\x7f",
        b"latin\xe9",
        b"\xff\xfe\x80",
        "\u{fffd}".as_bytes(),
        " ".as_bytes(),
        b"(deleted)",
        long.as_bytes(),
    ];
    for family in FAMILIES {
        let mut it = Stage::new(family);
        for name in names {
            let path = it.dir.join(OsStr::from_bytes(name));
            let target = it.dir.join(OsStr::from_bytes(&name[..name.len() - 1])).join("x");
            let calls: [(i64, &[Arg], &str); 5] = [
                (libc::SYS_creat, args![&path, 0o600], "path"), // resolved by the kernel
                (libc::SYS_open, args![&path, libc::O_CREAT | libc::O_EXCL, 0o600], "path"), // copied from the caller
                (libc::SYS_symlink, args![name, &target], "content"),
                (libc::SYS_rename, args![&target, &path], "target"),
                (libc::SYS_unlink, args![&path], "path"),
            ];
            for (number, args, field) in calls {
                let (done, records) = it.act(number, args);
                let expected = if field == "content" { name } else { path.as_os_str().as_bytes() };
                assert_eq!(records.len(), 1, "call {number} of {path:?} returned {}", done.ret);
                assert_eq!(bytes(&records[0][field]), expected, "call {number}, {}", records[0]);
            }
        }
    }
}

/// A directory path of `depth` components, each made by a call relative to the one before. Ends in the last of them.
fn descend(it: &mut Stage, names: &[String]) -> PathBuf {
    it.quiet(libc::SYS_chdir, args![&it.dir.clone()]);
    for name in names {
        it.quiet(libc::SYS_mkdir, args![name.as_str(), 0o755]);
        it.quiet(libc::SYS_chdir, args![name.as_str()]);
    }
    it.gather();
    names.iter().fold(it.dir.clone(), |path, name| path.join(name))
}

/// Removes what [`descend`] made, which may be too deep for anyone else.
fn ascend(it: &mut Stage, names: &[String]) {
    for name in names.iter().rev() {
        it.quiet(libc::SYS_chdir, args![".."]);
        it.quiet(libc::SYS_rmdir, args![name.as_str()]);
    }
    it.gather();
}

/// Opens a file by an absolute path or a short one, successfully and not, and returns the four records' paths.
fn opens(it: &mut Stage, name: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    let calls: [(i64, &[Arg]); 4] = [
        (libc::SYS_creat, args![name, 0o600]),
        (libc::SYS_open, args![name, libc::O_CREAT | libc::O_EXCL, 0o600]),
        (libc::SYS_chmod, args![name, 0o644]),
        (libc::SYS_unlink, args![name]),
    ];
    for (number, args) in calls {
        let (done, seen) = it.act(number, args);
        assert_eq!(seen.len(), 1, "call {number} returned {}", done.ret);
        assert!(done.ret >= 0 || done.ret == -i64::from(libc::EEXIST), "call {number} returned {}", done.ret);
        records.extend(seen);
    }
    records
}

#[test]
fn longest_path() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        // PATH_MAX is 4096 with the NUL
        let mut names = vec!["d".repeat(200); 18];
        let room = 4095 - it.dir.as_os_str().len() - 18 * 201;
        names.push("e".repeat(room / 2));
        let dir = descend(&mut it, &names);
        let path = dir.join("f".repeat(4095 - dir.as_os_str().len() - 1));
        assert_eq!(path.as_os_str().len(), 4095);
        for record in opens(&mut it, &path) {
            assert_eq!(bytes(&record["path"]), path.as_os_str().as_bytes(), "{}", record["call"]);
            assert_eq!(record["evidence"]["truncated"], Value::Null, "{}", record["call"]);
        }
        ascend(&mut it, &names);
    }
}

#[test]
fn path_of_1200_components() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let names: Vec<_> = (0..1200).map(|at| format!("{:02x}", at % 256)).collect();
        let dir = descend(&mut it, &names);
        let path = dir.join("file");
        let by_name = opens(&mut it, &path);
        let relative = opens(&mut it, Path::new("file"));
        ascend(&mut it, &names);
        for record in by_name.iter().chain(&relative) {
            let told = bytes(&record["path"]);
            let what = format!("{} of {} bytes: {}", record["call"], told.len(), record["evidence"]);
            assert!(told == path.as_os_str().as_bytes(), "{what}");
            assert_eq!(record["evidence"]["truncated"], Value::Null, "{what}");
        }
    }
}

/// No path of the kernel's own calls is longer than `PATH_MAX`, but a directory may lie deeper: the end is told, and
/// that it is the end.
#[test]
fn path_longer_than_the_longest() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let names = vec!["d".repeat(250); 20];
        let dir = descend(&mut it, &names);
        assert!(dir.as_os_str().len() > 5000);
        let records = opens(&mut it, Path::new("file"));
        ascend(&mut it, &names);
        let path = dir.join("file");
        for record in records {
            assert_eq!(record["evidence"]["truncated"], json!(["path"]), "{}", record["call"]);
            let told = bytes(&record["path"]);
            let end = told.strip_prefix(b"/").unwrap_or(&told);
            assert!(
                told.len() > 3500 && path.as_os_str().as_bytes().ends_with(end),
                "{}: {}",
                record["call"],
                told.len()
            );
        }
    }
}
