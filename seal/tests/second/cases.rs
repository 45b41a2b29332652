//! The logs of `tests/vectors/`: each with what both verifiers must say of it.

use seal::header::Header;
use seal::{Account, BatchKind, Cpu, Facts, Gap, GapReason, HostKey, Lines, Revocation, Seed};

use crate::common::{Log, Maker, ORIGIN, facts, log};
use crate::forge::{reseal, respell};

pub const OTHER: &str = "audit.example.org/sigtrail/other/1";
const KEY: &str = "--key host.vkey";
const HEAD: &str = "--key host.vkey --known-head head";
const OTHER_REVOKED: &str = "--key other.vkey --revoked revoked.note --fleet fleet.vkey";
const REVOKED: &str = "--key host.vkey --revoked revoked.note --fleet fleet.vkey";

/// A line of `cases.txt`.
pub struct Vector {
    pub name: &'static str,
    /// The verdict as `--json` spells it.
    pub verdict: &'static str,
    /// The batch of the first finding that makes the verdict.
    pub batch: Option<u64>,
    pub options: &'static str,
    /// Words of that finding as `sigtrail-verify` puts it.
    pub words: &'static str,
    pub bytes: Vec<u8>,
}

/// The host key of the logs with this salt, and the chain key of a batch.
pub fn keys(origin: &str, salt: u8, batch: u64) -> (HostKey, HostKey) {
    let mut seed = Seed::new([salt + 1; 32]);
    (0..batch).for_each(|_| seed = seed.next());
    (HostKey::new(origin, &[salt; 32]).unwrap(), seed.chain_key(origin).unwrap())
}

/// The key of the operator, and its word that the host key signs for batches up to 3.
pub fn revoked() -> (HostKey, String) {
    let fleet = HostKey::new("audit.example.org/fleet", &[91; 32]).unwrap();
    let hostkey = keys(ORIGIN, 1, 0).0.vkey().clone();
    let note = Revocation { hostkey, after: 3, time: 1_780_000_030_000_000_000 }.sign(&fleet);
    (fleet, note)
}

/// Every line that a header has today: two loads, a crash, another boot, losses, a summary, gaps, a clock step, and a
/// change of the host key.
pub fn every() -> Log {
    let mut maker = Maker::new(ORIGIN, 1);
    let load = |kind, n, load| Facts { load: Some(load), ..facts(kind, n) };
    let cpu = |id, first, last, lost| Cpu { id, first, last, lost };
    let account = |hook: &str, lost, merge| Account {
        hook: hook.into(),
        seen: 20 + lost + merge,
        kfilter: 5,
        lost,
        recv: 15 + merge,
        ufilter: 5,
        emit: 10,
        trunc: 1,
        merge,
    };
    maker.add(&[br#"{"seq":"1","type":"agent.start"}"#], &load(BatchKind::Start, 1, 7));
    let mut one = load(BatchKind::Events, 2, 7);
    one.cpus = vec![cpu(0, 0, 9, 0), cpu(3, 0, 24, 2)];
    one.accounts = vec![account("sys_exit/open", 2, 8), account("tp_btf/sched_process_exec", 0, 0)];
    one.lost = 3;
    let events =
        [br#"{"n":[0,-1,1.5,1e-7,1e+21,333333333.3333333],"seq":"2"}"#.as_slice(), b"{\"\\u0001\":\"\\n\\\"\\\\\"}"];
    maker.add(&events, &one);
    let mut two = load(BatchKind::Events, 3, 7);
    two.cpus = vec![cpu(3, 25, 30, 0)];
    two.gaps = vec![gap("s3", 0, 1, GapReason::Evict), gap("http", 1, 1, GapReason::Quarantine)];
    two.extensions = vec![("x-note".into(), "a b".into())];
    maker.add(&["{\"a\":\"\u{fffd}\",\"\u{1f600}\":1,\"\u{ffff}\":2}".as_bytes()], &two);
    maker.add(&[], &load(BatchKind::Heartbeat, 4, 7));
    let mut crashed = load(BatchKind::Recovered, 5, 7);
    crashed.cpus = vec![cpu(0, 10, 12, 0)];
    maker.add(&[br#"{"seq":"5"}"#], &crashed);
    maker.add(&[br#"{"seq":"6"}"#], &load(BatchKind::Stop, 6, 7));
    let mut again = load(BatchKind::Start, 0, 8);
    again.boot = "another".into();
    again.cpus = vec![cpu(0, 0, 2, 0)];
    again.receipts = vec!["— witness.example/w1 AAAAAAA=".into()];
    maker.add(&[br#"{"seq":"7"}"#], &again);
    let new = HostKey::new(ORIGIN, &[77; 32]).unwrap();
    let rotate = Facts { boot: "another".into(), load: Some(8), ..facts(BatchKind::Rotate, 1) };
    maker.add_with(&[], |sealer, lines| sealer.rotate(lines, &rotate, new).unwrap().line.clone());
    maker.add(&[], &Facts { boot: "another".into(), load: Some(8), ..facts(BatchKind::Heartbeat, 2) });
    // the first host key: it is the one that an auditor has
    Log { key: keys(ORIGIN, 1, 0).0.vkey().clone(), ..maker.finish() }
}

fn gap(sink: &str, from: u64, to: u64, reason: GapReason) -> Gap {
    Gap { sink: sink.into(), from, to, reason }
}

/// Genesis, start, and a batch that its keys sign and that cannot be true.
fn third(change: fn(&mut Facts)) -> Vec<u8> {
    third_of(&[br#"{"seq":"2"}"#], change)
}

fn third_of(events: &[&[u8]], change: fn(&mut Facts)) -> Vec<u8> {
    let mut maker = Maker::new(ORIGIN, 1);
    let mut start = facts(BatchKind::Start, 1);
    start.cpus = vec![Cpu { id: 0, first: 0, last: 9, lost: 0 }];
    maker.add(&[br#"{"seq":"1"}"#], &start);
    let mut facts = facts(BatchKind::Events, 2);
    change(&mut facts);
    maker.add(events, &facts);
    maker.finish().batches.concat()
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn flip(bytes: &[u8], after: &str) -> Vec<u8> {
    let at = std::str::from_utf8(bytes).unwrap().find(after).unwrap() + after.len();
    let mut bytes = bytes.to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    bytes
}

/// Batch `n` of the log with other lines, signed by the host key and a chain key of choice.
fn other_batch(log: &Log, n: usize, events: &[&[u8]], chain: u64) -> Vec<u8> {
    let ((host, chain), (_, next)) = (keys(ORIGIN, 1, chain), keys(ORIGIN, 1, chain + 1));
    let mut lines = Lines::new();
    for event in events {
        lines.push(event).unwrap();
    }
    reseal(&log.batches[n], events, &host, &chain, |header: &mut Header| {
        header.events = lines.len();
        header.root = lines.root();
        header.bytes = lines.bytes();
        header.next = next.vkey().clone();
    })
}

/// All of them.
pub fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    let mut add = |name, verdict, batch, options, words, bytes| {
        all.push(Vector { name, verdict, batch, options, words, bytes });
    };
    let log = log(ORIGIN, 1);
    let other = crate::common::log(OTHER, 9);
    let (bytes, batches) = (log.bytes(), &log.batches);
    let every = every();
    let (good, cut, bad) = ("verified", "incomplete", "tampered");
    let crime: &[&[u8]] = &[br#"{"seq":"nothing"}"#];

    add("every-line", good, None, KEY, "", every.bytes());
    add("no-key", good, None, "", "", bytes.clone());
    add("head-reached", good, None, HEAD, "", bytes.clone());
    let seals = |line: &&[u8]| line.starts_with(b"{\"sigtrail\"");
    let seals = bytes.split_inclusive(|byte| *byte == b'\n').filter(seals).collect::<Vec<_>>().concat();
    add("delivered-again-without-lines", good, None, KEY, "", [&bytes[..], &seals].concat());
    add("delivered-twice", good, None, KEY, "", [&batches[..4], &batches[2..]].concat().concat());
    add("begins-later-as-known", good, None, "--key host.vkey --from 2", "", batches[2..].concat());
    add("tail-cut-unknown", good, None, KEY, "", batches[..5].concat());
    add("clock-step-signed", good, None, KEY, "", third(|f| f.clock.step_ns = -86_400_000_000_000));

    add("revoked-behind-the-end", good, None, REVOKED, "", batches[..4].concat());
    add("revoked-key-of-another-log", good, None, OTHER_REVOKED, "", crate::common::log(ORIGIN, 9).bytes());

    add("empty", cut, None, KEY, "no sealed batch", vec![]);
    add("journald-issue-15425-not-sealed-at-all", cut, None, KEY, "unsealed lines", b"{\"a\":1}\n{\"a\":2}\n".to_vec());
    add("unsealed-tail", cut, Some(6), KEY, "unsealed lines", [&bytes[..], b"{\"a\":1}\n"].concat());
    add("torn", cut, Some(5), KEY, "cut off", bytes[..bytes.len() - 9].to_vec());
    add("tail-cut-known", cut, Some(5), HEAD, "a known head has 6 batches", batches[..5].concat());
    add("begins-later", cut, Some(2), KEY, "what was before is not there", batches[2..].concat());
    add("begins-later-no-key", cut, Some(2), "", "begins with this batch", batches[2..].concat());
    add("hole", cut, Some(3), KEY, "batches 2 up to", [&batches[..2], &batches[3..]].concat().concat());
    let order = [&batches[..2], &batches[3..4], &batches[2..3], &batches[4..]].concat().concat();
    add("out-of-order", cut, Some(3), KEY, "batches 2 up to", order);
    add("payload-gone", cut, Some(0), KEY, "event lines are not there", seals);
    let gone = format!(
        r#"{{"sigtrail":"redacted/v1","leaf":"{}"}}"#,
        seal::text::base64(&seal::tree::leaf(br#"{"seq":"4"}"#))
    );
    add("redacted", cut, Some(3), KEY, "redacted", replace(&bytes, r#"{"seq":"4"}"#, &gone));
    add("account-seen", cut, Some(2), KEY, "hook x", third(|f| f.accounts = account(6, 5, 5, 0)));
    add("account-received", cut, Some(2), KEY, "hook x", third(|f| f.accounts = account(5, 5, 4, 0)));
    add("account-truncated", cut, Some(2), KEY, "hook x", third(|f| f.accounts = account(5, 5, 5, 6)));
    add("lost-too-small", cut, Some(2), KEY, "`lost` is 0", third(|f| f.cpus = cpu(10, 12, 3)));
    let more = |f: &mut Facts| (f.cpus, f.lost) = (cpu(10, 12, 4), 4);
    add("lost-more-than-numbers", cut, Some(2), KEY, "cpu 0: more events lost", third(more));
    add("numbers-of-a-cpu-with-a-gap", cut, Some(2), KEY, "cpu 0", third(|f| f.cpus = cpu(11, 12, 0)));
    add("numbers-of-a-cpu-again", cut, Some(2), KEY, "cpu 0", third(|f| f.cpus = cpu(9, 12, 0)));

    add("event-changed", bad, Some(2), KEY, "`root` differs", replace(&bytes, "curl", "Curl"));
    add("event-deleted", bad, Some(3), KEY, "`events` differs", replace(&bytes, "{\"seq\":\"4\"}\n", ""));
    add(
        "event-added",
        bad,
        Some(3),
        KEY,
        "`events` differs",
        replace(&bytes, "{\"seq\":\"4\"}\n", "{\"seq\":\"4\"}\n{}\n"),
    );
    add(
        "events-swapped",
        bad,
        Some(3),
        KEY,
        "`root`",
        replace(&bytes, "{\"seq\":\"4\"}\n{\"seq\":\"5\"}", "{\"seq\":\"5\"}\n{\"seq\":\"4\"}"),
    );
    add(
        "event-with-a-carriage-return",
        bad,
        Some(3),
        KEY,
        "canonical",
        replace(&bytes, "{\"seq\":\"4\"}\n", "{\"seq\":\"4\"}\r\n"),
    );
    let longer =
        respell(&batches[2], &keys(ORIGIN, 1, 2), &|text: String| text.replace("\nbytes 65\n", "\nbytes 66\n"));
    let longer = [&batches[..2].concat(), &longer[..]].concat();
    add("another-length-signed", bad, Some(2), KEY, "`bytes` differs", longer);
    add("header-changed", bad, Some(2), KEY, "disagree on `root`", replace(&bytes, "emit=2 trunc=1", "emit=2 trunc=0"));
    add(
        "clock-step-hidden",
        bad,
        Some(3),
        KEY,
        "disagree on `root`",
        replace(&bytes, "step_ns=-2000000000", "step_ns=0"),
    );
    add("path-changed", bad, Some(2), KEY, "disagree on `prev`", flip(&bytes, "index 2\\n"));
    for (name, key, words) in [
        ("host-signature-changed", format!("— {ORIGIN} "), "the host signature"),
        ("chain-signature-changed", format!("— {ORIGIN}/chain "), "the chain signature"),
    ] {
        let mut changed = batches.clone();
        // behind the id of the key
        let at = std::str::from_utf8(&changed[2]).unwrap().rfind(&key).unwrap() + key.len() + 20;
        changed[2][at] = if changed[2][at] == b'A' { b'B' } else { b'A' };
        add(name, bad, Some(2), KEY, words, changed.concat());
    }
    add("seal-of-another-version", bad, Some(0), KEY, "the seal is broken", replace(&bytes, "seal/v1", "seal/v2"));
    add("another-key", bad, Some(0), "--key other.vkey", "the host signature", bytes.clone());
    add("revoked", bad, Some(4), REVOKED, "the host key was revoked", bytes.clone());
    let without = [&batches[..3], &batches[5..]].concat().concat();
    add("revoked-behind-a-hole", bad, Some(5), REVOKED, "the host key was revoked", without);
    let splice = [&batches[..3], &other.batches[3..]].concat().concat();
    add("splice-of-two-hosts", bad, Some(3), KEY, "belongs to another log", splice);
    let same_name = crate::common::log(ORIGIN, 9);
    let splice = [&batches[..3], &same_name.batches[3..]].concat().concat();
    add("splice-of-two-hosts-of-one-name", bad, Some(3), KEY, "the host signature", splice);

    // who is root after batch 4 was sealed has the host key and seed 5
    let forged = other_batch(&log, 3, crime, 5);
    let new_head = [&batches[..3].concat(), &forged[..]].concat();
    add("journald-cve-2023-31438-cut-and-continue", bad, Some(3), KEY, "the chain signature", new_head.clone());
    let anew = [&new_head[..], &batches[4..].concat()].concat();
    add("journald-cve-2023-31439-resealed-with-a-later-key", bad, Some(3), KEY, "the chain signature", anew);
    let clone = other_batch(&log, 5, crime, 5);
    let fork = [&bytes[..], &clone].concat();
    add("fork-of-a-clone", bad, Some(5), KEY, "the log forks", fork);
    let restored = [&batches[..5].concat(), &clone[..]].concat();
    add("old-state-restored", bad, Some(5), HEAD, "not that of the known head", restored.clone());
    add("old-state-restored-unknown", good, None, KEY, "", restored);

    add("another-boot-without-a-start", bad, Some(2), KEY, "`boot`", third(|f| f.boot = "other".into()));
    add("boot-clock-goes-back", bad, Some(2), KEY, "`mono`", third(|f| f.mono = (1, 2)));
    add("boot-clock-ends-before-it-begins", bad, Some(2), KEY, "`mono`", third(|f| f.mono.1 = f.mono.0 - 1));
    add("no-canonical-json", bad, Some(2), KEY, "keys out of order", third_of(&[br#"{"b":1,"a":1}"#], |_| ()));
    let two = [&batches[..1], &every.batches[1..2]].concat().concat();
    let spelled =
        respell(&two[batches[0].len()..], &keys(ORIGIN, 1, 1), &|text: String| text.replace("lost 0", "lost 00"));
    add("a-number-spelled-otherwise", bad, Some(1), KEY, "`lost`", [&batches[0][..], &spelled].concat());
    all
}

fn account(seen: u64, recv: u64, emit: u64, trunc: u64) -> Vec<Account> {
    vec![Account { hook: "x".into(), seen, recv, emit, trunc, ..Account::default() }]
}

fn cpu(first: u64, end: u64, lost: u64) -> Vec<Cpu> {
    vec![Cpu { id: 0, first, last: end, lost }]
}
