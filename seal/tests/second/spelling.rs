//! Values spelled otherwise, under signatures by the right keys: only a strict reader notices.

use seal::enrol::genesis_line;
use seal::line::SealLine;
use seal::note::Note;
use seal::{BatchKind, HostKey, Lines, tree};

use crate::cases::{every, keys};
use crate::common::{Log, Maker, ORIGIN, TAMPERED, facts, log};
use crate::forge::{reseal, respell, seal_of};
use crate::two::{Case, both};
use seal::Verdict::Verified;

/// Batch `n` of the log with one text of its header replaced, behind the batches before it.
fn header(log: &Log, n: usize, from: &str, to: &str) -> Case {
    let change = |text: String| {
        assert!(text.contains(from), "{from:?} is not in {text}");
        text.replacen(from, to, 1)
    };
    let changed = respell(&log.batches[n], &keys(ORIGIN, 1, n as u64), &change);
    let bytes = [&log.batches[..n].concat(), &changed[..]].concat();
    Case::new(format!("{from:?} as {to:?}"), &log.trust(), bytes)
}

fn all_are(cases: &[Case], verdict: seal::Verdict) {
    for (case, answer) in cases.iter().zip(both(cases)) {
        assert_eq!(answer.0, verdict, "{}: {answer:?}", case.name);
    }
}

#[test]
fn a_header_has_one_spelling() {
    let log = every();
    let long_boot = format!("boot {}", "b".repeat(256));
    let id = |key: &str| HostKey::new(key, &[5; 32]).unwrap().vkey().to_string();
    let (stranger, hostkey) = (format!("next {}", id("stranger/chain")), format!("hostkey {}\nx-note", id(ORIGIN)));
    let next = keys(ORIGIN, 1, 4).1.vkey().to_string();
    let key = next.rsplit_once('+').unwrap().1;
    let of_small_order = format!("AQ{}=", "A".repeat(42));
    let bad: &[(usize, &str, &str)] = &[
        (2, "sigtrail/batch/v1", "sigtrail/batch/v2"),
        (2, "batch 2\n", "batch 02\n"),
        (2, "batch 2\n", "batch  2\n"),
        (2, "batch 2\n", "batch +2\n"),
        (2, "batch 2\n", "batch 3\n"),
        (2, "kind events", "kind Events"),
        (2, "kind events", "kind genesis"),
        (2, "kind events", "kind rotate"),
        (2, "kind events\n", ""),
        (2, "first 2", "first \u{0662}"),
        (2, "first 2\n", "first 2\nfirst 2\n"),
        (2, "\nbytes ", "\nbytes  "),
        (2, "\nbytes ", "\nbytes 0"),
        (2, "\nbytes ", "\nbytes 1"),
        (2, "root ", "root A"),
        (2, "=\nkind", "\nkind"),
        (2, "boot 0b6a4cf0", "boot 0b6a 4cf0"),
        (2, "boot 0b6a4cf0", "boot 0b6a\u{a0}4cf0"),
        (2, "boot 0b6a4cf0-61f5-4b0e-8f2d-2a1f0e0c9d11", &long_boot),
        (2, "host web-1", "host  web-1"),
        (2, "host web-1", "host web-1 "),
        (2, "host web-1", "host web-1\u{2028}"),
        (2, "host web-1", "host web\u{7f}1"),
        (2, "host web-1", "host web\t1"),
        (2, "host web-1", "host web\r1"),
        (2, "host web-1", "host "),
        (2, "mono 10000000000 ", "mono 10000000000  "),
        (2, "mono 10000000000 ", "mono 010000000000 "),
        (2, "wall 2026-05-28T", "wall 2026-05-28t"),
        (2, "wall 2026-05-28T20:26:50", "wall 2026-05-28T20:26:60"),
        (2, "wall 2026-05-28T", "wall 2026-02-29T"),
        (2, "wall 2026", "wall 1969"),
        (2, "wall 2026", "wall 2555"),
        (2, ".000000000Z", "Z"),
        (2, ".000000000Z", ".000000000+00:00"),
        (2, "sync=1", "sync=2"),
        (2, "maxerr_us=1500", "maxerr_us=01500"),
        (2, "step_ns=0", "step_ns=-0"),
        (2, "step_ns=0", "step_ns=+1"),
        (2, "step_ns=0", "step_ns=9223372036854775808"),
        (2, "step_ns=0", "step_ns=-9223372036854775809"),
        (2, "sha256:e1", "sha256:E1"),
        (2, "sha256:e1", "sha256:1"),
        (2, " bpf ", " BPF "),
        (2, "load 7", "load 07"),
        (2, "load 7", "load seven"),
        (2, "load 7", "load 18446744073709551616"),
        (2, "load 7\n", "load 7\nload 7\n"),
        (2, "cpu 3 ", "cpu 0 "),
        (2, "cpu 0 0 9 0\n", "cpu 4 0 9 0\n"),
        (2, "cpu 3 ", "cpu 4294967296 "),
        (2, "cpu 0 0 9", "cpu 0 10 9"),
        (2, "acct tp_btf/sched_process_exec", "acct sys_exit/open"),
        (2, "merge=8", "merge=08"),
        (2, "trunc=1\n", "trunc=1 merge=0\n"),
        (2, "trunc=1\n", "trunc=1 \n"),
        (2, "seen=", "Seen="),
        (2, "lost 3\n", "lost 3\n\n"),
        (2, "lost 3\n", "lost 3\r\n"),
        (3, "gap http 1-1", "gap http 2-1"),
        (3, "gap http 1-1", "gap http 1--1"),
        (3, "quarantine", "Quarantine"),
        (3, "gap s3", "gap s 3"),
        (3, "gap s3 0-1 evict\n", "gap s3 0-1 evict\nlost 0\n"),
        (3, "x-note a b", "x-note"),
        (3, "x-note a b", "x-note  a b"),
        (3, "x-note a b", "y-note a b"),
        (3, "x-note a b\n", "x-note a b"),
        (3, "x-note", &hostkey),
        (3, "next audit", "next Audit"),
        (3, &format!("next {next}"), &stranger),
        (3, key, &of_small_order),
    ];
    all_are(&bad.iter().map(|(n, from, to)| header(&log, *n, from, to)).collect::<Vec<_>>(), TAMPERED);
    let good: &[(usize, &str, &str)] = &[
        (2, "host web-1", "host web\u{a0}1"),
        (2, "host web-1", "host Wéb 1 — \u{2028}1"),
        (2, "step_ns=0", "step_ns=-9223372036854775808"),
        (2, "step_ns=0", "step_ns=9223372036854775807"),
        (2, "wall 2026-05-28T", "wall 2024-02-29T"),
        (2, "wall 2026-05-28T20:26:50", "wall 1970-01-01T00:00:00"),
        (2, "wall 2026-05-28T20:26:50", "wall 2554-07-21T23:34:33"),
        (2, "cpu 3 0 24", "cpu 4294967295 0 18446744073709551615"),
        (3, "x-note a b", "x- a b"),
        (3, "x-note a b", "x-note a b\nx-note a b"),
    ];
    // batch 3 of the log is not with them: the numbers of a CPU may be others
    all_are(&good.iter().map(|(n, from, to)| header(&log, *n, from, to)).collect::<Vec<_>>(), Verified);
}

#[test]
fn a_proof_has_one_spelling() {
    let log = log(ORIGIN, 1);
    let proof = |from: &str, to: &str| {
        let (events, seal) = seal_of(&log.batches[3]);
        let mut seal = SealLine::parse(&seal[..seal.len() - 1]).unwrap();
        let (before, after) = seal.proof.split_at(seal.proof.find(from).unwrap_or_else(|| panic!("{from:?}")));
        seal.proof = format!("{before}{to}{}", &after[from.len()..]);
        let bytes = [&log.batches[..3].concat(), events, &seal.write()].concat();
        Case::new(format!("{from:?} as {to:?}"), &log.trust(), bytes)
    };
    let host = format!("\n— {ORIGIN} ");
    let chain = format!("\n— {ORIGIN}/chain ");
    let witness = "\n— witness.example/w1 AAAAAAA=";
    let many = format!("{}{chain}", witness.repeat(15));
    let first = format!("{witness}{host}");
    let bad = [
        ("@v1", "@v2"),
        ("index 3", "index 03"),
        ("index 3", "index 4"),
        ("index 3\n", "index 3\n\n"),
        (&host, &host.replace('—', "-")),
        (&host, &format!("{host} ")),
        (&host, &format!("\n{host}")),
        (&host, &first),
        (&host, &chain),
        (&chain, &host),
        (&chain, &many),
        (&chain, &chain.replace("/chain", "/Chain")),
        ("\n4\n", "\n04\n"),
        ("\n4\n", "\n5\n"),
        ("\n4\n", "\n4\next\n"),
    ];
    all_are(&bad.map(|(from, to)| proof(from, to)), TAMPERED);
    // witnesses sign behind the two, up to sixteen signatures in all
    let log_ends = |count: usize, end: &str| {
        let (events, seal) = seal_of(&log.batches[3]);
        let mut seal = SealLine::parse(&seal[..seal.len() - 1]).unwrap();
        seal.proof = format!("{}{}{end}", seal.proof.trim_end(), witness.repeat(count));
        Case::new(
            format!("{count} witnesses, {end:?}"),
            &log.trust(),
            [&log.batches[..3].concat(), events, &seal.write()].concat(),
        )
    };
    all_are(&[log_ends(0, "\n"), log_ends(1, "\n"), log_ends(14, "\n")], Verified);
    all_are(&[log_ends(15, "\n"), log_ends(1, ""), log_ends(1, "\n\n"), log_ends(1, "\n— a AAAAAA==\n")], TAMPERED);
}

#[test]
fn an_enrolment_has_one_spelling() {
    let log = log(ORIGIN, 1);
    let (host, chain) = keys(ORIGIN, 1, 0);
    let line = log.batches[0].split(|byte| *byte == b'\n').next().unwrap();
    let note = Note::parse(&seal::enrol::note_of(line).unwrap()).unwrap();
    let enrolled = |what: &str, line: &[u8]| {
        let mut lines = Lines::new();
        lines.push(line).unwrap();
        let bytes = reseal(&log.batches[0], &[line], &host, &chain, |header| {
            (header.events, header.root) = (lines.len(), lines.root());
            header.bytes = lines.bytes();
        });
        Case::new(what, &log.trust(), bytes)
    };
    let text = |from: &str, to: &str| {
        assert!(note.text.contains(from), "{from}");
        let text = note.text.replacen(from, to, 1);
        let signed = Note { signatures: vec![host.sign(&text)], text };
        enrolled(&format!("{from:?} as {to:?}"), &genesis_line(&signed.to_string()))
    };
    let bad = [
        ("enrol/v1", "enrol/v2"),
        ("origin ", "origin x"),
        ("chainkey ", "chainkey x"),
        ("fact host-uuid 4711", "fact host-uuid"),
        ("fact host-uuid 4711", "fact host-uuid  4711"),
        ("fact host-uuid 4711", "fact host-uuid 4711 "),
        ("fact host-uuid 4711", "Fact host-uuid 4711"),
        ("time 2026", "time 1969"),
        ("time 2026", "time 2026\ntime 2026"),
    ];
    all_are(&bad.map(|(from, to)| text(from, to)), TAMPERED);
    all_are(&[text("fact host-uuid 4711", "fact a b c"), text("fact host-uuid 4711\n", "")], Verified);
    let long_fact = format!("fact a {}", "b".repeat(16_384));
    all_are(&[text("fact host-uuid 4711", &long_fact), enrolled("no enrolment", br#"{"kind":"enrol"}"#)], TAMPERED);
    let one_more = String::from_utf8(line.to_vec()).unwrap().replace("\"}", "\",\"z\":1}");
    all_are(&[enrolled("one key more", one_more.as_bytes())], TAMPERED);
    all_are(&[enrolled("a number", br#"{"kind":"enrol","note":5}"#)], TAMPERED);
    let with = Note { signatures: vec![keys(ORIGIN, 9, 0).0.sign("another\n"), host.sign(&note.text)], ..note.clone() };
    all_are(&[enrolled("another signature first", &genesis_line(&with.to_string()))], Verified);
    let strange = Note { signatures: vec![keys(ORIGIN, 9, 0).0.sign(&note.text)], ..note };
    all_are(&[enrolled("by another key", &genesis_line(&strange.to_string()))], TAMPERED);
}

#[test]
fn an_event_line_has_one_spelling() {
    let deep = |levels| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let of_size = |size: usize| format!("{{\"a\":\"{}\"}}", "b".repeat(size - 8));
    let (deep_64, deep_65, within) = (deep(64), deep(65), deep(64).replace("[]", "[1]"));
    let (long_most, too_long) = (of_size(262_144), of_size(262_145));
    let sealed = |line: &&str| {
        let mut maker = Maker::new(ORIGIN, 1);
        // what the hot way refuses to seal at all is not asked
        maker.add(&[line.as_bytes()], &facts(BatchKind::Start, 1));
        let made = maker.finish();
        Case::new(line.chars().take(80).collect::<String>(), &made.trust(), made.bytes())
    };
    let good = [
        "{}",
        r#"{"a":null,"b":true,"c":[{},[],""]}"#,
        r#"{"n":[0,1,-1,9007199254740991,9007199254740992,1e+21,100000000000000000000,1e-7,0.000001,1.5,5e-324]}"#,
        r#"{"n":[1.7976931348623157e+308,2.2250738585072014e-308,333333333.3333333,4.5,0.002,1e-27,1617239680712725.2]}"#,
        "{\"\":1,\"\u{1f600}\":2,\"\u{e000}\":3}",
        "{\"s\":\"\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\u{80}\u{2028}/\\\"\\\\\"}",
        "{\"A\":1,\"a\":1,\"\u{e9}\":1}",
        &deep_64,
        &long_most,
    ];
    all_are(&good.iter().map(sealed).collect::<Vec<_>>(), Verified);
    let bad = [
        "",
        "[]",
        "1",
        "nonsense",
        "{\"a\":1}\r",
        " {}",
        "{} ",
        r#"{"a": 1}"#,
        r#"{"b":1,"a":1}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"sigtrail":1}"#,
        r#"{"a":01}"#,
        r#"{"a":-0}"#,
        r#"{"a":1617239680712725.3}"#,
        r#"{"a":1.0}"#,
        r#"{"a":1e1}"#,
        r#"{"a":1E+21}"#,
        r#"{"a":1e21}"#,
        r#"{"a":1e400}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":0.1e1}"#,
        r#"{"a":0.10}"#,
        r#"{"a":.5}"#,
        r#"{"a":"\/"}"#,
        r#"{"a":"\u0041"}"#,
        r#"{"a":"\u001F"}"#,
        r#"{"a":"\u000a"}"#,
        r#"{"a":"\ud800"}"#,
        "{\"\u{e000}\":3,\"\u{1f600}\":2}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":'b'}",
        r#"{"a":1,}"#,
        r#"{"a":1}{}"#,
        "\u{feff}{}",
        &deep_65,
        &within,
    ];
    all_are(&bad.iter().map(sealed).collect::<Vec<_>>(), TAMPERED);
    // the sealer takes no line that is too long: its batch is sealed by hand
    let log = log(ORIGIN, 1);
    let (host, chain) = keys(ORIGIN, 1, 1);
    let sealed_long = reseal(&log.batches[1], &[too_long.as_bytes()], &host, &chain, |header| {
        (header.root, header.bytes) = (tree::leaf(too_long.as_bytes()), too_long.len() as u64 + 1);
    });
    all_are(&[Case::new("too long", &log.trust(), [&log.batches[0][..], &sealed_long].concat())], TAMPERED);
}
