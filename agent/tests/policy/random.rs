//! What the kernel half leaves out is dropped by the policy in any case: for random policies and events.

use proptest::{prelude::*, sample::select};

use super::event::Draft;
use sigtrail::{
    policy::{Policy, Scratch},
    record::Verdict,
};

const KINDS: &[&str] = &["exec", "open", "unlink", "connect", "fork"];
const ERRNOS: &[&str] = &["EACCES", "EPERM", "ENOENT", "EROFS"];
/// Tests of fields that every kind has.
const TESTS: &[&str] = &[
    "success: true",
    "success: false",
    "errno: EACCES",
    "errno: [EPERM, EACCES]",
    "errno: ENOENT",
    "errno: null",
    "errno|neq: EPERM",
    "errno|exists: true",
    "errno: \"E*\"",
    "errno|endswith: S",
    "kind: open",
    "kind|neq: [exec, fork]",
    "euid: 0",
    "euid|gt: 0",
    "comm: sh",
    "process.exe|startswith: /usr/",
];
/// Tests of fields of open alone.
const OPEN_TESTS: &[&str] = &[
    "access: read",
    "access: [write, read-write]",
    "access|neq: read",
    "access|contains: read",
    "created: true",
    "created: false",
    "path|startswith: /etc/",
];
const CONDITIONS: &[&str] = &["a and b", "a or b", "a and not b", "not a and not b", "not (a and b)", "1 of them"];

fn rule(at: usize) -> impl Strategy<Value = String> {
    let test = || prop_oneof![3 => select(TESTS), 2 => select(OPEN_TESTS)];
    (test(), test(), select(CONDITIONS), select(&["drop", "keep", "alert"][..])).prop_map(
        move |(a, b, condition, verdict)| {
            format!("  - {{ id: r{at}, a: {{ {a} }}, b: {{ {b} }}, condition: {condition}, verdict: {verdict} }}\n")
        },
    )
}

fn policy() -> impl Strategy<Value = String> {
    let rules = (0..5_usize).map(rule).collect::<Vec<_>>();
    (rules, 1..=5_usize, select(&["drop", "drop", "keep"][..])).prop_map(|(rules, count, default)| {
        format!("version: 1\nrules:\n{}default: {default}\n", rules[..count].concat())
    })
}

fn event() -> impl Strategy<Value = String> {
    let errno = prop_oneof![2 => Just(String::new()), 3 => select(ERRNOS).prop_map(|it| format!(" errno={it}"))];
    let access = select(&["read", "write", "read-write", "path"][..]);
    let path = select(&["/etc/x", "/tmp/x"][..]);
    let comm = select(&["sh", "ls"][..]);
    (select(KINDS), errno, access, any::<bool>(), path, 0..2_u32, comm).prop_map(|(kind, errno, access, created, path, euid, comm)| {
        format!("{kind}{errno} access={access} created={created} path={path} euid={euid} comm={comm} exe=/usr/bin/{comm}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_half_leaves_out_only_what_is_dropped(text in policy(), lines in prop::collection::vec(event(), 20)) {
        // rules that can never match are refused, which is no concern of this test
        let Ok(policy) = Policy::parse(&[("random", &text)]) else { return Ok(()) };
        let wanted = policy.wanted();
        let mut scratch = Scratch::default();
        for line in lines {
            let draft = Draft::parse(&line);
            let (verdict, kind) = draft.record(|record| (policy.judge(&record, &mut scratch).verdict, record.event.kind()));
            let sent = wanted[kind as usize] & draft.class() != 0;
            prop_assert!(sent || verdict == Verdict::Drop, "{line}\n{text}{wanted:?}");
        }
    }
}
