//! The kernel half's matcher once more (`agent-ebpf/src/program/judge.rs`), over events as bytes: what it discards is
//! dropped by the policy, for random policies, for described events and for those that kernels really sent.

use std::{fs, ops::ControlFlow, path::Path as FilePath};

use common::{
    Event, Header, Prefix,
    filter::{Matcher, PATTERN, Place},
    wire::mark,
};
use proptest::{prelude::*, sample::select};
use sigtrail::{
    policy::{Policy, Scratch},
    record::{Context, Record, Verdict},
    source::Replay,
};
use zerocopy::IntoBytes as _;

use super::event::Draft;

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    No,
    May,
    Yes,
}

fn word(event: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|byte| event.get(at + byte).copied().unwrap_or(0xa5)))
}

fn half(event: &[u8], at: usize) -> usize {
    word(event, at) as u32 as usize
}

/// Whether the matcher discards an event.
pub fn discards(matcher: &Matcher, event: &[u8]) -> bool {
    let (mut yes, mut may, mut held) = (0_u64, matcher.open, true);
    for atom in &matcher.atoms[..matcher.atom_count as usize] {
        let number = word(event, atom.offset as usize) & atom.mask;
        held &= number.wrapping_sub(atom.low) <= atom.high.wrapping_sub(atom.low);
        if atom.joined == 0 {
            yes |= u64::from(held) << atom.bit;
            may |= u64::from(held) << atom.bit;
            held = true;
        }
    }
    for place in &matcher.places[..matcher.place_count as usize] {
        let answer = answer(event, matcher.paths[usize::from(place.path)] as usize, place);
        yes |= u64::from(answer == Answer::Yes) << place.bit;
        may |= u64::from(answer != Answer::No) << place.bit;
    }
    for step in &matcher.steps[..matcher.step_count as usize] {
        let (with, without) = if step.sends == 1 { (may, yes) } else { (yes, may) };
        if step.with & !with == 0 && step.without & without == 0 {
            return step.sends == 0;
        }
    }
    matcher.sends == 0
}

fn answer(event: &[u8], at: usize, place: &Place) -> Answer {
    let kind = Event::decode(event).unwrap().kind();
    let tail = &event[size_of::<Prefix>() + size_of::<Header>() + kind.size()..];
    let [start, len, name, name_len, marks] = std::array::from_fn(|word| half(event, at + 4 * word));
    if marks as u32 & mark::ABSENT != 0 {
        return Answer::No;
    }
    if marks as u32 & (mark::TRUNCATED | mark::DETACHED) != 0 {
        return Answer::May;
    }
    let components = &tail[start..start + len];
    let leaf = &place.leaf_first[PATTERN - usize::from(place.leaf_len)..];
    let first = &place.leaf_first[PATTERN - usize::from(place.first_len)..];
    let is_in = |end: &[u8]| components.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\0"));
    let whole = place.whole == 1;
    let yes = if place.loose == 1 { Answer::May } else { Answer::Yes };
    let told = |it: bool| if it { yes } else { Answer::No };
    if name_len == 0 || marks as u32 & mark::OBJECT != 0 {
        return told(is_in(leaf) && ((components.len() == leaf.len()) == whole || leaf.is_empty() && !whole));
    }
    let name = &tail[name..name + name_len];
    let text = name.split(|byte| *byte == 0).next().unwrap();
    let parts: Vec<_> = text.strip_prefix(b"/").unwrap_or(text).split(|byte| *byte == b'/').collect();
    let dots = |part: &&[u8]| part.starts_with(b"..") || *part == b".";
    if text.len() >= 256 || parts.iter().any(|part| part.is_empty() || dots(part)) {
        return Answer::May;
    }
    if text.starts_with(b"/") {
        return if components.is_empty() {
            told(name.starts_with(&place.root_first[..usize::from(place.root_len)]))
        } else {
            Answer::May
        };
    }
    if components.is_empty() {
        return Answer::May;
    }
    if is_in(leaf) {
        return if whole { Answer::No } else { yes };
    }
    if is_in(first) { Answer::May } else { Answer::No }
}

/// Tests of numbers, names and paths, as matchers can ask them, and some that they cannot.
const TESTS: &[&str] = &[
    "uid: 0",
    "uid: [0, 33, 1000]",
    "uid|neq: 0",
    "auid: unset",
    "auid|neq: unset",
    "auid|gte: 1000",
    "euid|lt: 5",
    "euid|exists: false",
    "ret|lt: 0",
    "ret|gt: 2",
    "cgroup_id|gt: 3",
    "comm: sh",
    "comm|startswith: act",
    "call: [openat, unlink, connect]",
    "call|neq: open",
    "success: false",
    "errno: [ENOENT, EAGAIN]",
    "process.exe|startswith: /usr/",
];
const OF_KINDS: &[(&str, &[&str])] = &[
    (
        "open",
        &[
            "path|startswith: /etc/",
            "path|startswith: [/tmp/, /proc/, /var/log/]",
            "path|startswith: /",
            "path|startswith: /etc/pass",
            "path: [/etc/passwd, /tmp/x, /dev/null]",
            "path|neq: /etc/passwd",
            "path|endswith: x",
            "inode: 7",
            "inode|gt: 100",
            "access: [write, read-write]",
            "flags: O_CREAT",
            "flags|neq: [O_TRUNC, O_CREAT]",
            "mode|bits: \"4000\"",
            "mode: \"0100644\"",
            "created: true",
            "dev: \"8:1\"",
        ],
    ),
    ("unlink", &["path|startswith: /tmp/", "path|startswith: [/etc/, /home/]", "path: [/tmp/x, /etc/passwd]"]),
    (
        "rename",
        &[
            "path|startswith: /tmp/",
            "target|startswith: /etc/",
            "target: /tmp/x",
            "path|neq: /tmp/x",
            "flags: RENAME_EXCHANGE",
        ],
    ),
    (
        "connect",
        &[
            "peer.ip: 127.0.0.0/8",
            "peer.ip|neq: 127.0.0.0/8",
            "peer.ip|cidr: [10.0.0.0/8, 192.0.2.1/32, fe80::/10, \"::1\"]",
            "peer.ip|cidr: \"::/0\"",
            "peer.ip|exists: true",
            "peer.port: [80, 443]",
            "peer.port|gte: 1024",
            "peer.port|neq: 22",
            "peer.path|startswith: /run/",
            "protocol: tcp",
            "protocol|neq: [udp, tcp]",
            "socket: dgram",
        ],
    ),
    (
        "exec",
        &[
            "memfd: true",
            "path|startswith: /usr/bin/",
            "argv: ls",
            "old_euid|neq: 0",
            "deleted: false",
            "cwd|startswith: /tmp/",
        ],
    ),
];
const CONDITIONS: &[&str] =
    &["a and b", "a or b", "a and not b", "not a and not b", "not (a and b)", "a and (b or c)", "1 of them"];

fn policy() -> impl Strategy<Value = (String, String)> {
    select(OF_KINDS).prop_flat_map(|(kind, own)| {
        let test = move || prop_oneof![2 => select(TESTS), 3 => select(own)];
        let rule = (test(), test(), test(), select(CONDITIONS), select(&["drop", "drop", "keep", "alert"][..]));
        let rules = prop::collection::vec(rule, 1..6);
        (rules, select(&["drop", "keep"][..])).prop_map(move |(rules, default)| {
            let rules = rules.iter().enumerate().map(|(at, (a, b, c, condition, verdict))| {
                let c = if condition.contains('c') || condition.contains("them") { format!(", c: {{ {c} }}") } else { String::new() };
                format!("  - {{ id: r{at}, kinds: [{kind}], a: {{ {a} }}, b: {{ {b} }}{c}, condition: {condition}, verdict: {verdict} }}\n")
            });
            (format!("version: 1\nrules:\n{}default: {default}\n", rules.collect::<String>()), kind.to_owned())
        })
    })
}

fn described() -> impl Strategy<Value = String> {
    let number = || select(&[0, 1, 4, 5, 7, 33, 1000, 100_000, u32::MAX][..]);
    let path = || {
        select(
            &[
                "/etc/passwd",
                "/etc",
                "/etc/passwdx",
                "/tmp/x",
                "/tmp/tmp/y",
                "/var/log/a",
                "/dev/null",
                "/",
                "/usr/bin/ls",
            ][..],
        )
    };
    let place = || prop_oneof![2 => path().prop_map(str::to_owned), 2 => (select(&["/", "/tmp", "/etc", "/home/a", "/x/tmp"][..]), select(&["x", "passwd", "a/b", "./x", "../etc/passwd", "/etc/passwd", "/tmp//x", "/tmp/", "/tmp/.hidden", "/tmp/x", "..x", "/"][..])).prop_map(|(place, name)| format!("{place}+{name}"))];
    let peer = select(
        &[
            "127.0.0.1:80",
            "10.1.2.3:443",
            "[::ffff:127.0.0.1]:22",
            "[::1]:1024",
            "[fe80::1]:5",
            "[2001:db8::1]:80",
            "/run/x",
            "192.0.2.1:9",
        ][..],
    );
    let rest = (
        select(&["", "errno=ENOENT", "errno=EACCES", "errno=EAGAIN"][..]),
        select(&["read", "write", "read-write", "path"][..]),
        select(&["O_TRUNC", "O_CREAT", "O_CREAT|O_TRUNC", "O_EXCL"][..]),
        select(&["104755", "100644", "0"][..]),
        select(&["sh", "act", "actor", "ls"][..]),
        select(&["tcp", "udp", "icmp"][..]),
        any::<bool>(),
    );
    (number(), number(), number(), place(), place(), peer, rest).prop_map(
        |(uid, auid, inode, path, target, peer, (errno, access, flags, mode, comm, protocol, created))| {
            format!(
                "{errno} uid={uid} euid={auid} auid={auid} inode={inode} path={path} target={target} peer={peer} \
                 access={access} flags={flags} mode={mode} comm={comm} protocol={protocol} socket=stream \
                 created={created} memfd={created} deleted={created} argv=ls exe=/usr/bin/{comm} dev=8388609"
            )
        },
    )
}

/// All events of the golden streams.
fn golden() -> Vec<Vec<u64>> {
    let folder = FilePath::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut events = Vec::new();
    for file in files.filter(|file| file.extension().is_some_and(|it| it == "events")) {
        let end = Replay::open(&file).unwrap().drain(|event| {
            let mut words = vec![0_u64; event.len().div_ceil(8)];
            words.as_mut_bytes()[..event.len()].copy_from_slice(event);
            events.push(words);
            ControlFlow::Continue(())
        });
        assert!(end);
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_matcher_discards_only_what_is_dropped((text, kind) in policy(), lines in prop::collection::vec(described(), 30)) {
        // rules that can never match are refused, which is no concern of this test
        let Ok(policy) = Policy::parse(&[("random", &text)]) else { return Ok(()) };
        let matchers = policy.matchers();
        let Some((_, matcher)) = matchers.iter().find(|(it, _)| it.name() == kind) else { return Ok(()) };
        let mut scratch = Scratch::default();
        for line in lines {
            let draft = Draft::parse(&format!("{kind} {line}"));
            let verdict = draft.record(|record| policy.judge(&record, &mut scratch).verdict);
            let discarded = discards(matcher, draft.bytes().as_bytes());
            prop_assert!(!discarded || verdict == Verdict::Drop, "{line}\n{text}{matcher:?}");
        }
    }
}

#[test]
fn golden_events_that_are_discarded_are_dropped() {
    let events = golden();
    assert!(events.len() > 50);
    let paths = ["/etc/", "/tmp/", "/opt/", "/dev/", "/usr/", "/home/"];
    let mut discarded = 0;
    for (at, path) in paths.iter().enumerate() {
        for (verdict, default) in [("drop", "keep"), ("keep", "drop")] {
            for uid in [at % 2, 1000] {
                let text = format!(
                    "version: 1\nrules:\n  - {{ id: a, a: {{ path|startswith: {path} }}, verdict: {verdict} }}\n  - {{ id: b, \
                     kinds: [connect, bind, send], selection: {{ uid: {uid}, local.port|gt: 1000 }}, verdict: {verdict} }}\n\
                     default: {default}\n"
                );
                let policy = Policy::parse(&[("x", &text)]).unwrap_or_else(|why| panic!("{why}"));
                let matchers = policy.matchers();
                let mut scratch = Scratch::default();
                for words in &events {
                    let event = Event::decode(words.as_bytes()).unwrap();
                    let Some((_, matcher)) = matchers.iter().find(|(kind, _)| *kind == event.kind()) else { continue };
                    let record = Record { event, context: Context::default() };
                    let verdict = policy.judge(&record, &mut scratch).verdict;
                    let it = discards(matcher, words.as_bytes());
                    assert!(!it || verdict == Verdict::Drop, "{text}{:?}", record.event);
                    discarded += usize::from(it);
                }
            }
        }
    }
    assert!(discarded > 100, "{discarded}");
}
