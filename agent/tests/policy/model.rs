//! The kernel half's matcher once more (`agent-ebpf/src/program/judge.rs`), over events as bytes: what it discards is
//! dropped by the policy, and what it prefers is an alert, for random policies, for described events and for those that
//! kernels really sent.

use std::{fs, ops::ControlFlow, path::Path as FilePath};

use common::{
    Event, Header, Lane, Prefix,
    filter::{EXECUTABLE, EXECUTABLE_PATH, Matcher, PATTERN, Place, class, outcome},
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

/// What the matcher makes of an event. `executable`: the path that the process runs, if that is known.
fn outcome_of(matcher: &Matcher, event: &[u8], executable: Option<&str>) -> u32 {
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
    let executable = executable.map(leaf_first).filter(|path| path.len() <= EXECUTABLE_PATH);
    for place in &matcher.places[..matcher.place_count as usize] {
        let answer = match &executable {
            Some(path) if place.path == EXECUTABLE => resolved(path, place),
            None if place.path == EXECUTABLE => Answer::May,
            _ => answer(event, matcher.paths[usize::from(place.path)] as usize, place),
        };
        yes |= u64::from(answer == Answer::Yes) << place.bit;
        may |= u64::from(answer != Answer::No) << place.bit;
    }
    let mut sent = false;
    let unless_sent = |sent, it| if sent && it == outcome::DISCARD { outcome::SEND } else { it };
    for step in &matcher.steps[..matcher.step_count as usize] {
        if step.partly == 0 && step.with & !yes == 0 && step.without & may == 0 {
            return unless_sent(sent, step.outcome);
        }
        sent |= step.outcome != outcome::DISCARD && step.with & !may == 0 && step.without & yes == 0;
    }
    unless_sent(sent, matcher.otherwise)
}

/// Whether a path of an event may be at one of the places, by a word next to the root.
fn is_near(matcher: &Matcher, event: &[u8]) -> bool {
    let kind = Event::decode(event).unwrap().kind();
    let tail = size_of::<Prefix>() + size_of::<Header>() + kind.size();
    matcher.paths.iter().enumerate().filter(|(_, at)| **at != 0).any(|(path, at)| {
        let [start, len, name, name_len, marks] = std::array::from_fn(|word| half(event, *at as usize + 4 * word));
        if marks as u32 & mark::ABSENT != 0 {
            return false;
        }
        if marks as u32 & (mark::TRUNCATED | mark::DETACHED) != 0 {
            return true;
        }
        let text = event[tail + name..].split(|byte| *byte == 0).next().unwrap();
        let by_name = name_len != 0 && marks as u32 & mark::OBJECT == 0;
        let absolute = by_name && text.starts_with(b"/");
        let folded = |part: &[u8]| part.is_empty() || part.starts_with(b".");
        let parts = text.strip_prefix(b"/").unwrap_or(text).split(|byte| *byte == b'/');
        if by_name && (if absolute { len > 0 } else { len < 16 } || text.len() > 250 || parts.into_iter().any(folded)) {
            return true;
        }
        let at = if absolute { tail + name } else { tail + start + len - 16 };
        let [from, to] = matcher.near[path].map(|at| at as usize);
        let words = if absolute { &matcher.roots } else { &matcher.leaves };
        words[from..to].iter().any(|it| {
            [0, 1].iter().all(|word_at| (it.words[*word_at] ^ word(event, at + 8 * word_at)) & it.bits[*word_at] == 0)
        })
    })
}

/// Whether an event is sent without a look at the other conditions.
fn is_sent_elsewhere(matcher: &Matcher, event: &[u8]) -> bool {
    let class = match Event::decode(event).unwrap().header.ret {
        -1 | -13 => class::DENIED,
        -4095..0 => class::FAILED,
        _ => class::SUCCESS | class::READ,
    };
    matcher.elsewhere & u32::from(class) == u32::from(class) && !is_near(matcher, event)
}

fn discards(matcher: &Matcher, event: &[u8], executable: Option<&str>) -> bool {
    outcome_of(matcher, event, executable) == outcome::DISCARD
}

/// A path as events have it.
fn leaf_first(path: &str) -> Vec<u8> {
    path.split('/').filter(|it| !it.is_empty()).rev().flat_map(|it| [it.as_bytes(), b"\0"].concat()).collect()
}

fn is_in(components: &[u8], end: &[u8]) -> bool {
    components.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\0"))
}

/// A path that the kernel resolved.
fn resolved(components: &[u8], place: &Place) -> Answer {
    let leaf = &place.leaf_first[PATTERN - usize::from(place.leaf_len)..];
    let whole = place.whole == 1;
    let is = is_in(components, leaf) && ((components.len() == leaf.len()) == whole || leaf.is_empty() && !whole);
    if !is {
        return Answer::No;
    }
    if place.loose == 1 { Answer::May } else { Answer::Yes }
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
    let whole = place.whole == 1;
    let yes = if place.loose == 1 { Answer::May } else { Answer::Yes };
    let told = |it: bool| if it { yes } else { Answer::No };
    if name_len == 0 || marks as u32 & mark::OBJECT != 0 {
        return resolved(components, place);
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
    if is_in(components, leaf) {
        return if whole { Answer::No } else { yes };
    }
    if is_in(components, first) { Answer::May } else { Answer::No }
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
    "process.exe|startswith: /usr/bin/a",
    "process.exe: [/usr/bin/sh, /usr/bin/ls]",
    "process.exe|neq: /usr/bin/sh",
    "process.exe|endswith: /sh",
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
        let Some((of, matcher)) = matchers.iter().find(|(it, _)| it.name() == kind) else { return Ok(()) };
        let others = |line: &&str| line.ends_with("verdict: drop }") || line.ends_with("verdict: keep }");
        let alerts: Vec<_> = text.lines().filter(|line| !others(line)).collect();
        let alerts = Policy::parse(&[("alerts", &alerts.join("\n"))]).ok();
        let mut scratch = Scratch::default();
        for line in lines {
            let draft = Draft::parse(&format!("{kind} {line}"));
            let verdict = draft.record(|record| policy.judge(&record, &mut scratch).verdict);
            let bytes = draft.bytes();
            if !is_near(matcher, bytes.as_bytes()) {
                for place in matcher.places[..matcher.place_count as usize].iter().filter(|it| it.path != EXECUTABLE) {
                    let offset = matcher.paths[usize::from(place.path)] as usize;
                    prop_assert!(answer(bytes.as_bytes(), offset, place) == Answer::No, "{line}\n{text}{place:?}");
                }
            }
            // with and without the knowledge of what runs
            for executable in [draft.find("exe"), None] {
                let found = outcome_of(matcher, draft.bytes().as_bytes(), executable);
                prop_assert!(found != outcome::DISCARD || verdict == Verdict::Drop, "{line}\n{text}{matcher:?}");
                // a rule before it may have another verdict
                let mut judge = |alerts: &Policy| draft.record(|record| alerts.judge(&record, &mut scratch).verdict);
                let is_alert = alerts.as_ref().is_some_and(|alerts| judge(alerts) == Verdict::Alert);
                prop_assert!(found != outcome::ALERT || is_alert, "{line}\n{text}{matcher:?}");
                let early = of.lane() == Lane::Bulk && is_sent_elsewhere(matcher, bytes.as_bytes());
                prop_assert!(!early || verdict != Verdict::Alert, "{line}\n{text}{matcher:?}");
            }
        }
    }
}

/// What the kernel half makes of an event whose process runs a program that it knows, and of one that it does not.
#[test]
fn executables_and_alerts() {
    const TEXT: &str = "version: 1
rules:
  - { id: own, kinds: [open], a: { process.exe: /usr/bin/dpkg }, verdict: drop }
  - { id: odd, kinds: [open], a: { process.exe|endswith: /odd, euid: 7 }, verdict: keep }
  - { id: shadow, kinds: [open], a: { path: [/etc/shadow, /etc/gshadow] }, b: { process.exe|startswith: /usr/sbin/ }, condition: a and not b, verdict: alert }
  - { id: etc, kinds: [open], a: { path|startswith: /etc/ }, verdict: keep }
default: drop
";
    let policy = Policy::parse(&[("x", TEXT)]).unwrap();
    let matchers = policy.matchers();
    let (_, matcher) = matchers.iter().find(|(kind, _)| kind.name() == "open").unwrap();
    let check = |executable: Option<&str>, event: &str, expected: u32| {
        let draft = Draft::parse(&format!("open {event}"));
        let found = outcome_of(matcher, draft.bytes().as_bytes(), executable);
        assert_eq!(found, expected, "{executable:?} {event}");
    };
    let sh = Some("/usr/bin/sh");
    check(sh, "path=/etc/shadow", outcome::ALERT);
    check(sh, "path=/etc/passwd", outcome::SEND);
    check(sh, "path=/tmp/x", outcome::DISCARD);
    check(sh, "path=/tmp/x euid=7", outcome::SEND);
    check(sh, "path=/etc/shadow euid=7", outcome::ALERT);
    check(Some("/usr/bin/dpkg"), "path=/etc/shadow", outcome::DISCARD);
    check(Some("/usr/bin/dpkg2"), "path=/etc/shadow", outcome::ALERT);
    check(Some("/bin/dpkg"), "path=/etc/shadow", outcome::ALERT);
    check(Some("/usr/sbin/sshd"), "path=/etc/shadow", outcome::SEND);
    check(None, "path=/etc/shadow", outcome::SEND);
    check(None, "path=/tmp/x", outcome::DISCARD);
    let long = format!("/usr/bin/dpkg/{}", "x".repeat(EXECUTABLE_PATH));
    check(Some(&long), "path=/etc/shadow", outcome::SEND);
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
                    let it = discards(matcher, words.as_bytes(), None);
                    assert!(!it || verdict == Verdict::Drop, "{text}{:?}", record.event);
                    discarded += usize::from(it);
                }
            }
        }
    }
    assert!(discarded > 100, "{discarded}");
}
