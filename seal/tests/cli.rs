//! The verifier's program: what it opens, what it prints, how it ends.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{ORIGIN, log};

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(dir: &Path, args: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sigtrail-verify"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // a program that ends at a wrong argument does not read
    child.stdin.take().unwrap().write_all(input).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn check(dir: &Path, args: &[&str], input: &[u8], code: i32, out: &[&str]) -> Run {
    let run = run(dir, args, input);
    assert_eq!(run.code, code, "{args:?}\n{}{}", run.out, run.err);
    for text in out {
        assert!(run.out.contains(text) || run.err.contains(text), "{text:?} is not in {}{}", run.out, run.err);
    }
    run
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn segment(batches: &[Vec<u8>], from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (n, batch) in batches.iter().enumerate() {
        seal::frame::write(from + n as u64, &zstd(batch), &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn a_log_in_any_packing_verifies() {
    let log = log(ORIGIN, 1);
    let dir = tempfile::tempdir().unwrap();
    let key = log.key.to_string();
    let two =
        |pack: fn(&[u8]) -> Vec<u8>| [pack(&log.batches[..3].concat()), pack(&log.batches[3..].concat())].concat();
    for packed in [log.bytes(), zstd(&log.bytes()), gzip(&log.bytes()), two(zstd), two(gzip), segment(&log.batches, 0)]
    {
        fs::write(dir.path().join("log"), &packed).unwrap();
        let out =
            &["batches        6", "events         7", "clock steps    1", "-2.000 s", "VERIFIED", "lost           2"];
        check(dir.path(), &["--key", &key, "log"], b"", 0, out);
        check(dir.path(), &["--key", &key, "-"], &packed, 0, &["VERIFIED"]);
        check(dir.path(), &["-"], &packed, 0, &["not pinned", "VERIFIED"]);
    }
}

#[test]
fn a_directory_is_put_in_order() {
    let log = log(ORIGIN, 1);
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: Vec<u8>| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    // names that sort the wrong way round
    put("z/0000000001", log.batches[0].clone());
    put("b.ndjson.zst", zstd(&log.batches[1..3].concat()));
    put("a.ndjson.gz", gzip(&log.batches[3..4].concat()));
    put("0.ndjson", log.batches[4].clone());
    put("seg-00000000000000000005.stl", segment(&log.batches[5..], 5));
    put("again", log.batches[2..4].concat());
    check(dir.path(), &["."], b"", 0, &["VERIFIED", "batches        6 (2 there more than once)"]);
    put("README", b"no log\n".to_vec());
    check(dir.path(), &["."], b"", 2, &["README: not a sealed log", "INCOMPLETE"]);
    fs::remove_file(dir.path().join("README")).unwrap();
    fs::remove_file(dir.path().join("again")).unwrap();
    fs::remove_file(dir.path().join("a.ndjson.gz")).unwrap();
    check(dir.path(), &["."], b"", 2, &["batches 3-3", "INCOMPLETE: first at ./0.ndjson: batch 4, line 1"]);
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let log = log(ORIGIN, 1);
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = log.bytes();
    let at = bytes.windows(4).position(|bytes| bytes == b"curl").unwrap();
    bytes[at] = b'C';
    fs::write(dir.path().join("log"), &bytes).unwrap();
    check(dir.path(), &["log"], b"", 1, &["TAMPERED: first at log: batch 2, line 7: the event lines are not those"]);
    let json = check(dir.path(), &["--json", "log"], b"", 1, &[]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["verdict"], &json["batches"]), (&"tampered".into(), &5.into()));
    assert_eq!(json["findings"]["list"][0]["batch"], 2);

    // the first byte too: what has a seal in it is a log
    let mut bytes = log.bytes();
    bytes[0] = b' ';
    fs::write(dir.path().join("log"), &bytes).unwrap();
    check(dir.path(), &["log"], b"", 1, &["TAMPERED: first at log: batch 0, line 1: an event line"]);

    // a record damaged on disk: what is before and after in other files still counts
    let mut torn = segment(&log.batches, 0);
    torn.truncate(torn.len() - 5);
    fs::write(dir.path().join("log"), &torn).unwrap();
    check(dir.path(), &["log"], b"", 2, &["log: the input cannot be read further: spool record after batch 4: "]);
    let zst = zstd(&log.bytes());
    fs::write(dir.path().join("log"), &zst[..zst.len() - 5]).unwrap();
    check(dir.path(), &["log"], b"", 2, &["cannot be read further"]);
    fs::write(dir.path().join("log"), b"").unwrap();
    check(dir.path(), &["log"], b"", 2, &["no sealed batch"]);
}

#[test]
fn a_wrong_call_ends_with_3() {
    let log = log(ORIGIN, 1);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::write(dir.path().join("log"), log.bytes()).unwrap();
    fs::write(dir.path().join("keys"), format!("# hosts\n{}\n", log.key)).unwrap();
    fs::write(dir.path().join("bad"), "nothing\n").unwrap();
    for args in [
        &["nowhere"][..],
        &["empty"],
        &[],
        &["--key", "nowhere", "log"],
        &["--key", "bad", "log"],
        &["--wrong", "log"],
        &["--known-head", "bad", "log"],
        &["--jobs", "0", "log"],
        &["--silent-after", "10", "log"],
        &["--silent-after", "0s", "log"],
        &["--silent-after", "99999999999999999d", "log"],
        &["--now", "2026-05-28T20:37:00Z", "log"],
    ] {
        check(dir.path(), args, b"", 3, &[]);
    }
    check(dir.path(), &["--key", "keys", "log"], b"", 0, &["VERIFIED"]);
    check(dir.path(), &["--help"], b"", 0, &["Usage"]);
    let run = check(dir.path(), &["log"], b"", 0, &[]);
    let head = run.out.lines().find_map(|line| line.strip_prefix("head           ")).unwrap();
    check(dir.path(), &["--known-head", head, "log"], b"", 0, &[]);
    fs::write(dir.path().join("log"), log.batches[..5].concat()).unwrap();
    check(dir.path(), &["--known-head", head, "log"], b"", 2, &["a known head has 6 batches"]);
    check(dir.path(), &["log"], b"", 0, &["the last batch is `heartbeat`"]);
    // it ended at 20:27:05 and 42 ns
    let quiet = |now| ["--silent-after", "1m", "--now", now, "log"];
    check(dir.path(), &quiet("2026-05-28T20:28:05.000000042Z"), b"", 0, &["VERIFIED"]);
    let says = "INCOMPLETE: silent since 2026-05-28T20:27:05.000000042Z\n";
    check(dir.path(), &quiet("2026-05-28T20:28:05.000000043Z"), b"", 2, &[says]);
}

/// 256 MiB of zeros in a few kilobytes: read through, never held.
#[test]
fn a_bomb_is_read_through() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = std::io::Read::take(std::io::repeat(b'{'), 256 << 20);
    let bomb = zstd::encode_all(zeros, 1).unwrap();
    fs::write(dir.path().join("bomb"), bomb).unwrap();
    check(dir.path(), &["bomb"], b"", 2, &["1 unsealed lines"]);
}
