//! Values, paths and lines against the JSON that they must give.

use common::{
    Event, Header, Kind, Prefix,
    event::{Connect, Exec, Truncate, Unlink},
    names::{OpenFlags, RenameFlags},
    wire::{Addr, Path, TextList, family, mark},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value as Json, json};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;
use crate::record::{Container, Context, Judgement, Record, Relative, Verdict, sample};

const TIME: &str = "2026-11-22T20:26:45.000000007Z";

/// The line of an event, which must be one that the seal takes.
fn written(words: &[u64], process: Option<&Process>) -> Vec<u8> {
    let event = Event::decode(words.as_bytes()).unwrap();
    let record = Record { event, context: Context { process, ..Context::default() } };
    let mut out = b"before".to_vec();
    line(&record, Judgement { verdict: Verdict::Alert, rule: "a \"rule\"" }, TIME, &mut out);
    let line = out.split_off(6);
    assert_eq!(out, b"before", "what was there is left alone");
    let check = seal::jcs::check(&line);
    assert_eq!(check, Ok(()), "{}", String::from_utf8_lossy(&line[..line.len().min(2000)]));
    line
}

fn parsed(words: &[u64]) -> Json {
    serde_json::from_slice(&written(words, None)).unwrap()
}

#[test]
fn texts_are_escaped_as_rfc_8785_does() {
    let check = |bytes: &[u8], expected: &str| {
        let mut out = Vec::new();
        text(bytes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    check(b"", r#""""#);
    check(b"/usr/bin/ls", r#""/usr/bin/ls""#);
    check(br#"a"b\c/"#, r#""a\"b\\c/""#);
    check(b"\x00\x08\t\n\x0b\x0c\r\x1f\x7f", "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\"");
    check("é€😀\u{202e}".as_bytes(), "\"é€😀\u{202e}\"");
    // not UTF-8: a lone continuation, a surrogate, a cut character, and what would be one more than Unicode has
    check(b"\x80", r#"{"b64":"gA=="}"#);
    check(b"\xed\xa0\x80", r#"{"b64":"7aCA"}"#);
    check("€".as_bytes().get(..2).unwrap(), r#"{"b64":"4oI="}"#);
    check(b"\xf4\x90\x80\x80", r#"{"b64":"9JCAgA=="}"#);
}

#[test]
fn values_are_written_as_plain_text() {
    let check = |value: Value<'_>, expected: &str| {
        let mut out = Vec::new();
        plain(value, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:?}");
    };
    let flags = |bits| Value::Flags(bits, OpenFlags::NAMES);
    check(flags(0), "O_RDONLY");
    check(Value::Flags(0, RenameFlags::NAMES), "0");
    check(Value::Flags(5, RenameFlags::NAMES), "RENAME_NOREPLACE|RENAME_WHITEOUT");
    check(flags(0o102), "O_RDWR|O_CREAT");
    check(flags(0o10000), "O_RDONLY|O_DSYNC");
    // O_SYNC holds O_DSYNC, O_TMPFILE holds O_DIRECTORY
    check(flags(0o4_010_000), "O_RDONLY|O_SYNC");
    check(flags(0o20_200_002), "O_RDWR|O_TMPFILE");
    check(flags(0x8000_0001), "O_WRONLY|0x80000000");
    check(flags(0x8000_0000), "O_RDONLY|0x80000000");
    check(Value::Octal(0o100_644), "100644");
    check(Value::Octal(0o7), "0007");
    check(Value::Device(8 << 20 | 1), "8:1");
    check(Value::Int(i64::MIN), "-9223372036854775808");
    check(Value::Big(u64::MAX), "18446744073709551615");
    check(Value::Bool(false), "false");
    check(Value::Null, "");
}

/// `place`: components as the kernel half sends them, leaf first; `name`: what the caller gave.
#[test]
fn paths_are_put_together() {
    let check = |place: &str, name: &str, marks: u32, expected: Json| {
        let tail = [place.as_bytes(), name.as_bytes()].concat();
        let (len, name_len) = (place.len() as u32, name.len() as u32);
        let body = Unlink { path: Path { start: 0, len, name: len, name_len, marks } };
        let words = sample::event(sample::prefix(Kind::Unlink), &Header::default(), body.as_bytes(), &tail);
        assert_eq!(parsed(&words)["path"], expected, "{place:?} {name:?}");
    };
    check("b\0a\0", "", 0, json!("/a/b"));
    check("", "", 0, json!("/"));
    check("b\0a\0", "c", mark::USER, json!("/a/b/c"));
    check("b\0a\0", "./c//d/.", mark::USER, json!("/a/b/c/d"));
    check("b\0a\0", "../c", mark::USER, json!("/a/c"));
    check("b\0a\0", "../../../..", mark::USER, json!("/"));
    check("", "../c/../../d/", mark::USER, json!("/d"));
    check("b\0a\0", "...", mark::USER, json!("/a/b/..."));
    check("b\"\n\0a\0", "", 0, json!("/a/b\"\n"));
    check("ü\0", "\u{1}", mark::USER, json!("/ü/\u{1}"));
    check("memfd:a b\0", "", mark::DETACHED, json!("memfd:a b"));
    check("", "", mark::DETACHED, Json::Null);
    check("b\0", "c", mark::ABSENT, Json::Null);
}

#[test]
fn bytes_of_a_path_are_kept() {
    let tail = b"\xff\0a\0";
    let body = Unlink { path: Path { len: tail.len() as u32, ..Path::default() } };
    let words = sample::event(sample::prefix(Kind::Unlink), &Header::default(), body.as_bytes(), tail);
    assert_eq!(parsed(&words)["path"], json!({ "b64": "L2Ev/w==" }));
}

#[test]
fn addresses_are_told_by_their_family() {
    let check = |addr: Addr, tail: &[u8], expected: Json| {
        let body = Connect { peer: Addr { len: tail.len() as u32, ..addr }, ..Connect::new_zeroed() };
        let words = sample::event(sample::prefix(Kind::Connect), &Header::default(), body.as_bytes(), tail);
        let found = parsed(&words);
        assert_eq!((&found["peer"], &found["local"]), (&expected, &Json::Null));
    };
    let mut ip = [0; 16];
    ip[15] = 1;
    let of = |ip, family| Addr { family, ip, port: 443, ..Addr::default() };
    check(of(ip, family::INET6), b"", json!({ "family": "inet6", "ip": "::1", "port": 443 }));
    ip[..4].copy_from_slice(&[127, 0, 0, 1]);
    check(of(ip, family::INET), b"", json!({ "family": "inet", "ip": "127.0.0.1", "port": 443 }));
    check(of(ip, family::UNIX), b"/run/x\0y", json!({ "family": "unix", "path": "/run/x" }));
    check(of(ip, family::UNIX), b"", json!({ "family": "unix", "path": "" }));
    check(of(ip, family::UNIX), b"\0a\0b", json!({ "family": "unix", "abstract": "a\0b" }));
    check(of(ip, 40), b"", json!({ "family": "vsock", "number": 40 }));
    check(of(ip, 99), b"", json!({ "family": "other", "number": 99 }));
}

#[test]
fn every_kind_makes_a_canonical_line() {
    let process = hostile();
    for kind in Kind::ALL {
        let prefix = sample::prefix(*kind);
        // zeros, all bits set, and bytes that are no numbers of anything
        for fill in [0, 0xff, 0x5c] {
            let words = vec![u64::from_ne_bytes([fill; 8]); 128];
            let mut header = Header::new_zeroed();
            header.as_mut_bytes().fill(fill);
            let words = sample::event(prefix, &header, words.as_bytes(), &[fill; 300]);
            let line: Json = serde_json::from_slice(&written(&words, Some(&process))).unwrap();
            for name in ["evidence", "kind", "policy", "process", "success", "time", "uid", "auid"] {
                assert!(line.get(name).is_some(), "{kind:?}: no {name}");
            }
            assert_eq!(line["policy"], json!({ "rule": "a \"rule\"", "verdict": "alert" }));
            assert_eq!(line["time"], TIME);
        }
    }
}

/// A process whose parts need every escape.
fn hostile() -> Process {
    let text = "\u{1}\"\\".repeat(1000);
    let exe = Some(text.clone().into_bytes());
    let mut process = Process {
        id: "4fae6c36-1-1".into(),
        exe: exe.clone(),
        parent: Some(Relative { id: "4fae6c36-1-0".into(), pid: 1, exe }),
        ancestors: format!("{text}\0").repeat(16).into_bytes(),
        complete: true,
        cgroup: Some(text.clone()),
        container: Some(Container { id: "ab".repeat(32), runtime: "docker" }),
        unit: Some(text),
        json: Vec::new(),
    };
    process.json = super::process(&process);
    process
}

/// Whoever chooses the arguments chooses how long they are as JSON.
#[test]
fn a_line_is_never_too_long() {
    let process = hostile();
    let check = |path: &[u8], argument: &[u8], count: usize, is_cut: bool| {
        let place = [path, b"\0"].concat();
        let mut tail = place.repeat(3);
        let of = |at: usize| Path { start: (at * place.len()) as u32, len: place.len() as u32, ..Path::default() };
        let (path, cwd, script) = (of(0), of(1), of(2));
        let list = [argument, b"\0"].concat().repeat(count);
        let argv = TextList { start: tail.len() as u32, len: list.len() as u32, marks: 0 };
        tail.extend_from_slice(&list);
        let body = Exec { path, cwd, script, argv, ..Exec::new_zeroed() };
        let words = sample::event(sample::prefix(Kind::Exec), &Header::default(), body.as_bytes(), &tail);
        let line = written(&words, Some(&process));
        assert!(line.len() <= MAX_LINE);
        let line: Json = serde_json::from_slice(&line).unwrap();
        let kept = line["argv"].as_array().unwrap().len();
        assert_eq!(kept < count, is_cut, "{kept} of {count} arguments");
        assert_eq!(line["evidence"]["truncated"], if is_cut { json!(["argv"]) } else { Json::Null });
        (kept, line["path"].as_str().unwrap().len())
    };
    check(b"ls", b"-l", 40_000, false);
    check(b"ls", b"\x01\x02\x03", 40_000, true);
    check(&[b'\x01'; 4095], b"-l", 20_000, false);
    let (kept, path) = check(&[b'\x01'; 4095], &[b'\x01'; 4000], 40, true);
    assert!(kept > 0 && path == 4096, "{kept} arguments are kept, and the whole path");
    // one argument that has no room at all
    let (kept, _) = check(&[b'\x01'; 4095], &vec![b'\x01'; 100_000], 1, true);
    assert_eq!(kept, 0);
}

/// truncate(2) takes any number from its caller, and says no to most.
#[test]
fn numbers_that_doubles_do_not_hold_are_strings() {
    let check = |length: i64, expected: Json| {
        let body = Truncate { length, ..Truncate::new_zeroed() };
        let words = sample::event(sample::prefix(Kind::Truncate), &Header::default(), body.as_bytes(), b"");
        assert_eq!(parsed(&words)["length"], expected);
    };
    check(0, json!(0));
    check(-1, json!(-1));
    check((1 << 53) - 1, json!(9_007_199_254_740_991_i64));
    check(1 << 53, json!("9007199254740992"));
    check(-(1 << 53), json!("-9007199254740992"));
    check(i64::MAX, json!("9223372036854775807"));
    check(i64::MIN, json!("-9223372036854775808"));
}

#[test]
fn evidence_names_what_was_copied_and_cut() {
    let path = Path { marks: mark::USER | mark::TRUNCATED, ..Path::default() };
    let absent = Path { marks: mark::USER | mark::ABSENT, ..Path::default() };
    let body = Exec { path, script: absent, ..Exec::new_zeroed() };
    let prefix = Prefix { hook: 1, ..sample::prefix(Kind::Exec) };
    let words = sample::event(prefix, &Header::default(), body.as_bytes(), b"");
    let expected = json!({ "hook": "sched_process_exec", "truncated": ["path"], "user_copy": ["path"] });
    assert_eq!(parsed(&words)["evidence"], expected);
}

/// A query with one question.
fn message(id: u16, labels: &[Vec<u8>], numbers: [u16; 2]) -> Vec<u8> {
    let mut message = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for label in labels {
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend(numbers.map(u16::to_be_bytes).concat());
    message
}

/// The labels that a name of a master file stands for.
fn labels(name: &[u8]) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'.', _) => labels.push(Vec::new()),
            (b'\\', [digit @ b'0'..=b'9', second, third, ..]) => {
                let digits = String::from_utf8(vec![*digit, *second, *third]).unwrap();
                labels.last_mut().unwrap().push(digits.parse().unwrap());
                rest = &after[3..];
            }
            (b'\\', [byte, ..]) => {
                labels.last_mut().unwrap().push(*byte);
                rest = &after[1..];
            }
            (byte, _) => labels.last_mut().unwrap().push(*byte),
        }
    }
    if name == b"." { Vec::new() } else { labels }
}

proptest! {
    /// Whatever is asked comes back, in visible ASCII; a message that is cut, or is no query with one question, is none.
    #[test]
    fn questions_are_told_as_they_were_asked(
        id: u16, numbers: [u16; 2], flags: u16, count: u16, behind in vec(any::<u8>(), 0..20),
        name in vec(vec(any::<u8>(), 1..=63), 0..6),
    ) {
        let whole = message(id, &name, numbers);
        let is_short = name.iter().map(|label| label.len() + 1).sum::<usize>() < 255;
        let question = Question::read(&whole);
        prop_assert_eq!(question.is_some(), is_short);
        let Some(question) = question else { return Ok(()) };
        prop_assert!(whole.len() <= Question::MOST);
        let mut text = Vec::new();
        domain(question, &mut text);
        prop_assert!(text.iter().all(u8::is_ascii_graphic));
        prop_assert_eq!(labels(&text), name);
        prop_assert_eq!(question.id, id);
        let number = |value, names: common::names::Names| match value {
            Value::Null => 0,
            Value::Uint(number) => number.into(),
            Value::Name(name) => names.iter().find(|(_, it)| *it == name).unwrap().0,
            _ => u64::MAX,
        };
        prop_assert_eq!(number(question.record_type(), common::names::RECORD_TYPES), u64::from(numbers[0]));
        prop_assert_eq!(number(question.class(), common::names::RECORD_CLASSES), u64::from(numbers[1]));
        let longer = [&whole[..], &behind].concat();
        prop_assert_eq!(Question::read(&longer), Some(question));
        for end in 0..whole.len() {
            prop_assert_eq!(Question::read(&whole[..end]), None);
        }
        let mut other = whole.clone();
        other[2..4].copy_from_slice(&flags.to_be_bytes());
        other[4..6].copy_from_slice(&count.to_be_bytes());
        prop_assert_eq!(Question::read(&other).is_some(), flags < 0x0800 && count == 1);
    }

    /// A message of any bytes is read to its end, and what it says is short.
    #[test]
    fn messages_of_any_bytes_are_read(mut bytes in vec(any::<u8>(), 0..400)) {
        // most of them as queries, so that their names are looked at
        if bytes.len() % 4 > 0 && let Some(places) = bytes.get_mut(2..6) {
            places.copy_from_slice(&[1, 0, 0, 1]);
        }
        if let Some(question) = Question::read(&bytes) {
            let mut text = Vec::new();
            domain(question, &mut text);
            prop_assert!(!text.is_empty() && text.len() <= 4 * 255 && text.iter().all(u8::is_ascii_graphic));
            prop_assert!(question.labels().all(|label| (1..=63).contains(&label.len())));
            prop_assert!(bytes.starts_with(&message(question.id, &[], [0; 2])[..2]));
        }
    }
}
