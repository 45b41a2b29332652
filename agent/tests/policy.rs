//! The policy as its users meet it.
//!
//! `policy/<case>.yaml` is read; its problems are those of `policy/<case>.expected`. A line of `policy/<case>.events`
//! describes an event and the verdict and rule that `policy/<case>.yaml` gives it; `default.events` is judged by the
//! built-in policy.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

#[path = "policy/event.rs"]
mod event;
#[path = "policy/model.rs"]
mod model;
#[path = "policy/privilege.rs"]
mod privilege;
#[path = "policy/random.rs"]
mod random;

use std::{fs, path::Path};

use common::{Kind, filter::class};
use event::Draft;
use sigtrail::policy::{Policy, PolicyError, Scratch};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy"))
}

fn cases(suffix: &str) -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn every_case_says_what_is_wrong() {
    let cases = cases(".yaml");
    assert!(cases.len() > 25);
    for case in cases {
        let file = format!("{case}.yaml");
        let expected = fs::read_to_string(folder().join(format!("{case}.expected"))).unwrap_or_default();
        assert_eq!(case.starts_with("good"), expected.is_empty(), "{case}");
        let found =
            Policy::parse(&[(&file, &read(&file))]).map_or_else(|problems| format!("{problems}\n"), |_| String::new());
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn every_event_meets_its_rule() {
    let cases = cases(".events");
    assert!(cases.len() > 1);
    for case in cases {
        let text = if case == "default" { Policy::default_text().to_owned() } else { read(&format!("{case}.yaml")) };
        let policy = Policy::parse(&[(&case, &text)]).unwrap_or_else(|problems| panic!("{problems}"));
        let wanted = policy.wanted();
        let mut scratch = Scratch::default();
        for line in read(&format!("{case}.events")).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (described, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("no => in {line}"));
            let draft = Draft::parse(described);
            draft.record(|record| {
                let judgement = policy.judge(&record, &mut scratch);
                let found = format!("{} {}", judgement.verdict.name(), judgement.rule);
                assert_eq!(found.trim_end(), expected.trim(), "{case}: {described}");
                let sent = wanted[record.event.kind() as usize] & draft.class() != 0;
                assert!(sent || expected.starts_with("drop"), "{case}: the kernel half would leave out: {described}");
            });
        }
    }
}

#[test]
fn the_built_in_policy_drops_in_the_kernel_what_costs_most() {
    let policy = Policy::load(&[]).unwrap();
    let wanted = policy.wanted();
    let check = |kind: Kind, expected: u8| assert_eq!(wanted[kind as usize], expected, "{}", kind.name());
    check(Kind::Open, class::SUCCESS | class::DENIED);
    check(Kind::Exec, class::SUCCESS | class::DENIED | class::FAILED);
    check(Kind::Connect, class::SUCCESS | class::DENIED | class::FAILED);
    check(Kind::Unlink, class::SUCCESS | class::DENIED | class::FAILED);
    for kind in [Kind::Fork, Kind::Exit, Kind::Send] {
        check(kind, 0);
    }
    assert_eq!(wanted[0], 0);
    // events that are about none of the places in the rules are sent without a look at the other conditions
    let files = [Kind::Open, Kind::Unlink, Kind::Rename, Kind::Chmod, Kind::Chown, Kind::Truncate];
    for (kind, matcher) in policy.matchers().iter().filter(|(kind, _)| files.contains(kind)) {
        let classes = u32::from(class::SUCCESS | class::READ | class::DENIED);
        assert_eq!(matcher.elsewhere & classes, classes, "{}", kind.name());
    }
    let shown: Vec<_> = policy.explain().iter().map(ToString::to_string).collect();
    assert!(
        shown.contains(&"fork: dropped in the kernel: success, denied, failed; sent: nothing".to_owned()),
        "{shown:#?}"
    );
    assert!(shown.iter().any(|line| {
        line.starts_with("open: dropped in the kernel: read, failed; sent: success, denied; rules: denied, ")
            && line.contains(" steps")
    }));
}

#[test]
fn every_rule_of_the_built_in_policy_explains_itself() {
    for rule in Policy::load(&[]).unwrap().rules() {
        assert!(!rule.title.is_empty(), "{}", rule.id);
    }
    let events = read("default.events");
    for rule in Policy::load(&[]).unwrap().rules() {
        let ends = format!(" {}", rule.id);
        assert!(events.lines().any(|line| line.ends_with(&ends)), "no event of default.events meets {}", rule.id);
    }
}

#[test]
fn the_effective_text_is_the_same_policy() {
    let one = "version: 1\nrules:\n  - { id: a, selection: { euid: 0 }, verdict: keep }";
    let two = "---\nversion: 1\nrules:\n  - { id: b, selection: { euid: 1 }, verdict: alert }\ndefault: keep\n";
    let policy = Policy::parse(&[("one", one), ("two", two)]).unwrap();
    let again = Policy::parse(&[("text", policy.text())]).unwrap();
    assert_eq!(again.rules(), policy.rules());
    assert_eq!(again.wanted(), policy.wanted());
    assert_eq!(again.default_verdict(), policy.default_verdict());
    assert_eq!(again.digest(), policy.digest());
    assert_ne!(Policy::parse(&[("one", one)]).unwrap().digest(), policy.digest());
}

#[test]
fn files_are_named_in_their_problems() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    let text = "version: 1\nrules:\n  - { id: a, selection: { euid: 0 }, verdict: keep }\n";
    fs::write(&first, text).unwrap();
    fs::write(&second, text).unwrap();
    let PolicyError::Wrong(problems) = Policy::load(&[first, second.clone()]).unwrap_err() else { panic!() };
    assert_eq!(problems.to_string(), format!("{}:3:5: rule \"a\" stands twice", second.display()));
    let missing = folder.path().join("c.yaml");
    assert!(
        matches!(Policy::load(std::slice::from_ref(&missing)), Err(PolicyError::Read { path, .. }) if path == missing)
    );
}

#[test]
fn limits_hold() {
    let check = |text: String, expected: &str| {
        let problems = Policy::parse(&[("x", &text)]).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
    };
    check(" ".repeat((1 << 20) + 1), "at most 1048576 are read");
    let deep = format!("version: {}1{}", "[".repeat(30), "]".repeat(30));
    check(deep, "nested too deeply");
    let rules: Vec<_> = (0..1001)
        .map(|at| format!("  - {{ id: r{at}, kinds: [exit], selection: {{ euid: 0 }}, verdict: keep }}"))
        .collect();
    check(format!("version: 1\nrules:\n{}", rules.join("\n")), "at most 1000 rules");
    let keys: Vec<_> = (0..5000).map(|at| format!("k{at}: 1")).collect();
    check(keys.join("\n"), "too many keys");
    let list = (0..20_000).map(|at| at.to_string()).collect::<Vec<_>>().join(", ");
    check(
        format!(
            "version: 1\nlists: {{ n: [{list}] }}\nrules:\n  - {{ id: a, selection: {{ euid: $n }}, verdict: keep }}\n"
        ),
        "too many values",
    );
}
