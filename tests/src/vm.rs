//! What a guest of `cargo xtask vm` finds out about its kernel, and the page that is made of it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The results of one kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// `uname -r`.
    pub release: String,
    /// The day of the run, UTC.
    #[serde(default)]
    pub day: String,
    /// All tests, in the order in which they ran.
    pub tests: Vec<Test>,
    /// What `sigtrail probe --json` printed; null when that was no JSON.
    pub probe: Value,
}

/// One test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Test {
    /// Its name, like `files::open`.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it ran.
    pub seconds: f64,
    /// Why it was skipped, or the end of what it printed when it failed.
    pub said: String,
}

/// What came of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Not run.
    Skip,
}

impl Outcome {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// Where a test says that it shows nothing here, before the reason.
const SKIP: &str = "skip: ";

/// Says that the test that runs shows nothing on this kernel, and why: it then counts as skipped in a guest. Not by
/// `println!`, which is kept from who watches a test that passes.
pub fn skip(why: &str) {
    writeln!(io::stdout(), "{SKIP}{why}").ok();
}

/// How much of what a failed test printed is kept, from its end.
const KEPT: usize = 8 << 10;

impl Test {
    /// One that was not run.
    pub fn skipped(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Skip, seconds: 0.0, said: why.to_owned() }
    }

    /// The line of the guest's console that tells of it; `xtask` reads it.
    pub fn line(&self) -> String {
        match self.outcome {
            Outcome::Skip => format!("vm: skip {}: {}", self.name, self.said),
            Outcome::Pass | Outcome::Fail => format!("vm: {} {} {:.1} s", self.outcome.name(), self.name, self.seconds),
        }
    }
}

/// The names that a test binary prints with `--list --format terse`: `files::open: test`.
pub fn names(list: &str) -> Vec<&str> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).collect()
}

/// What a test binary prints while it runs one test after the other, as its default format has it.
#[derive(Debug)]
pub struct Report {
    /// Those that it was asked for, in order.
    names: Vec<String>,
    tests: Vec<Test>,
    text: String,
    /// What stands before this in the text is told.
    read: usize,
}

impl Report {
    /// Nothing yet.
    pub fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|it| (*it).to_owned()).collect();
        Self { names, tests: Vec::new(), text: String::new(), read: 0 }
    }

    /// The tests that have ended.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Adds what was printed. `seconds`: since the last test ended.
    pub fn add(&mut self, bytes: &[u8], seconds: f64) {
        self.text += &String::from_utf8_lossy(bytes);
        while let Some(len) = self.text[self.read..].find('\n') {
            let line = &self.text[self.read..self.read + len];
            self.read += len + 1;
            let Some((name, said)) = line.strip_prefix("test ").and_then(|it| it.split_once(" ... ")) else { continue };
            let test = match (said, said.strip_prefix(SKIP)) {
                (_, Some(why)) => Test::skipped(name, why),
                ("ok", _) => Test { name: name.to_owned(), outcome: Outcome::Pass, seconds, said: String::new() },
                ("FAILED", _) => Test { name: name.to_owned(), outcome: Outcome::Fail, seconds, said: String::new() },
                _ => continue,
            };
            self.tests.push(test);
        }
    }

    /// All that is known when no more comes. The test that ran when the binary was ended has failed; of those after it
    /// nothing is told. `status`: how it ended.
    pub fn end(mut self, status: &str, seconds: f64) -> Vec<Test> {
        for test in self.tests.iter_mut().filter(|it| it.outcome == Outcome::Fail) {
            let head = format!("\n---- {} stdout ----\n", test.name);
            let said = self.text.split_once(&head).map_or("", |(_, said)| said);
            let said =
                said.split("\n---- ").next().and_then(|it| it.split("\nfailures:\n").next()).unwrap_or(said).trim();
            let from = said.char_indices().map(|(at, _)| at).find(|at| said.len() - at <= KEPT);
            said[from.unwrap_or(said.len())..].clone_into(&mut test.said);
        }
        if let Some(name) = self.names.get(self.tests.len()) {
            let said = status.to_owned();
            self.tests.push(Test { name: name.clone(), outcome: Outcome::Fail, seconds, said });
        }
        self.tests
    }
}

const HEAD: &str = "# Kernels

Generated by `cargo xtask vm` from what the guests reported in their last whole runs; do not edit.

Each kernel is Debian's, in a virtual machine of its own (QEMU without acceleration, 2 CPUs), with our own init and the
finished static agent. `sigtrail probe` says the same of the kernel it runs on.
";

/// The page docs/kernel-support.md.
pub fn page(runs: &[Run]) -> String {
    let mut page = HEAD.to_owned();
    let mut section = |title: &str, name: &str, rows: Vec<(String, Vec<String>)>| {
        write!(page, "\n## {title}\n\n| {name} |").ok();
        for run in runs {
            write!(page, " {} |", run.release).ok();
        }
        writeln!(page, "\n|---|{}", "---|".repeat(runs.len())).ok();
        for (name, cells) in rows {
            writeln!(page, "| {name} | {} |", cells.join(" | ")).ok();
        }
    };

    let count = |outcome: Outcome| {
        let cells = runs.iter().map(|run| run.tests.iter().filter(|test| test.outcome == outcome).count().to_string());
        (outcome.name().to_owned(), cells.collect())
    };
    section("Tests", "tests of `tests/tests/kernel`", [Outcome::Pass, Outcome::Fail, Outcome::Skip].map(count).into());
    section("Tests by name", "test", by_name(runs));
    section("System", "what", facts(runs));
    let mut notes = Notes::default();
    section("Kinds, and the hooks that tell them", "kind", kinds(runs, &mut notes));
    section("Programs that load, by family", "family", families(runs));
    section("Programs that do not", "program", refused(runs, &mut notes));
    for (number, note) in notes.0.iter().enumerate() {
        writeln!(page, "{}{}. {note}", if number == 0 { "\n" } else { "" }, number + 1).ok();
    }
    let failures: Vec<_> = runs
        .iter()
        .flat_map(|run| run.tests.iter().filter(|test| test.outcome == Outcome::Fail).map(|test| (&run.release, test)))
        .collect();
    if !failures.is_empty() {
        page.push_str("\nFailed in the guests:\n\n");
    }
    for (release, test) in failures {
        writeln!(page, "- `{}`, {release}: {}", test.name, reason(&test.said)).ok();
    }
    let mut skips: Vec<_> =
        runs.iter().flat_map(|run| &run.tests).filter(|test| test.outcome == Outcome::Skip).collect();
    skips.dedup_by(|a, b| a.name == b.name);
    skips.sort_by(|a, b| a.name.cmp(&b.name));
    skips.dedup_by(|a, b| a.name == b.name);
    if !skips.is_empty() {
        page.push_str("\nSkipped in the guests:\n\n");
    }
    for test in skips {
        writeln!(page, "- `{}`: {}", test.name, test.said).ok();
    }
    page
}

/// Of what a failed test printed, what its panic says: the line after the one that tells where, cut to a size that a
/// list bears.
fn reason(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let line = lines.next().or_else(|| said.lines().next()).unwrap_or_default();
    line.chars().take(200).collect::<String>().replace('`', "'")
}

/// Reasons, told once below the tables.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: &str) -> usize {
        let at = self.0.iter().position(|it| it == note).unwrap_or_else(|| {
            self.0.push(note.to_owned());
            self.0.len() - 1
        });
        at + 1
    }
}

/// Values in the order in which they are met first.
fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for one in all {
        if !seen.iter().any(|it| it == one) {
            seen.push(one.to_owned());
        }
    }
    seen
}

fn by_name(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let names = distinct(runs.iter().flat_map(|run| &run.tests).map(|test| test.name.as_str()));
    let row = |name: String| {
        let cell = |run: &Run| {
            let found = run.tests.iter().find(|test| test.name == name);
            match found.map(|test| test.outcome) {
                Some(Outcome::Fail) => "**fail**".to_owned(),
                Some(outcome) => outcome.name().to_owned(),
                None => "–".to_owned(),
            }
        };
        let cells = runs.iter().map(cell).collect();
        (format!("`{name}`"), cells)
    };
    names.into_iter().map(row).collect()
}

/// What `probe` says of the system itself.
fn facts(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let cells = |cell: &dyn Fn(&Value) -> String| runs.iter().map(|run| cell(&run.probe)).collect::<Vec<_>>();
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let words = |value: &Value| {
        let words: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if words.is_empty() { "–".to_owned() } else { words.join(" ") }
    };
    let yes = |value: &Value| value.as_bool().map_or("–", |it| if it { "yes" } else { "no" }).to_owned();
    vec![
        ("day of the run".to_owned(), runs.iter().map(|run| run.day.clone()).collect()),
        ("family that is used".to_owned(), cells(&|probe| text(&probe["family"]))),
        ("struct members that are missing".to_owned(), cells(&|probe| words(&probe["missing"]))),
        ("skipped programs are counted (`recursion_misses`)".to_owned(), cells(&|probe| yes(&probe["counts_skips"]))),
        ("security tier, or why not".to_owned(), cells(&|probe| probe["no_lsm"].as_str().unwrap_or("yes").to_owned())),
        ("security modules".to_owned(), cells(&|probe| words(&probe["lsm"]))),
    ]
}

fn all_programs(run: &Run) -> impl Iterator<Item = &Value> {
    run.probe["programs"].as_array().into_iter().flatten()
}

/// What is told of each kind by the family that the kernel uses.
fn kinds(runs: &[Run], notes: &mut Notes) -> Vec<(String, Vec<String>)> {
    let names = distinct(runs.iter().flat_map(all_programs).flat_map(kinds_of));
    let mut rows = Vec::new();
    for name in names {
        let mut cell = |run: &Run| {
            let used = &run.probe["family"];
            let tells = all_programs(run).filter(|it| it["family"] == *used && kinds_of(it).any(|kind| kind == name));
            let mut hooks: Vec<String> = Vec::new();
            for program in tells {
                let hook = program["at"].as_str().and_then(|at| at.split(',').next()).unwrap_or_default();
                let hook = match program["degraded"].as_str() {
                    None => hook.to_owned(),
                    Some(why) => format!("~~{hook}~~ ({})", notes.number(why)),
                };
                if !hooks.contains(&hook) {
                    hooks.push(hook);
                }
            }
            if hooks.is_empty() { "–".to_owned() } else { hooks.join(", ") }
        };
        let cells = runs.iter().map(&mut cell).collect();
        rows.push((format!("`{name}`"), cells));
    }
    rows
}

fn kinds_of(program: &Value) -> impl Iterator<Item = &str> {
    program["kinds"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn families(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let names = distinct(runs.iter().flat_map(all_programs).filter_map(|program| program["family"].as_str()));
    let row = |name: String| {
        let cell = |run: &Run| {
            let all: Vec<_> = all_programs(run).filter(|it| it["family"] == name.as_str()).collect();
            format!("{} of {}", all.iter().filter(|it| it["degraded"].is_null()).count(), all.len())
        };
        let cells = runs.iter().map(cell).collect();
        (format!("`{name}`"), cells)
    };
    names.into_iter().map(row).collect()
}

/// Programs that some kernel refuses, unless it refuses their whole family.
fn refused(runs: &[Run], notes: &mut Notes) -> Vec<(String, Vec<String>)> {
    let title = |program: &Value| {
        let word = |name: &str| program[name].as_str().unwrap_or_default().to_owned();
        format!("`{}` {}, {}", word("program"), word("at"), word("family"))
    };
    let lacks = |run: &Run, family: &Value| {
        all_programs(run).filter(|it| it["family"] == *family).all(|it| !it["degraded"].is_null())
    };
    let is_refused = |run: &Run, it: &Value| !it["degraded"].is_null() && !lacks(run, &it["family"]);
    let titles: Vec<String> = runs
        .iter()
        .flat_map(|run| all_programs(run).filter(|it| is_refused(run, it)).map(title).collect::<Vec<_>>())
        .collect();
    let mut rows = Vec::new();
    for name in distinct(titles.iter().map(String::as_str)) {
        let mut cell = |run: &Run| match all_programs(run).find(|it| title(it) == name).map(|it| it["degraded"].clone())
        {
            None => "–".to_owned(),
            Some(Value::String(why)) => format!("no ({})", notes.number(&why)),
            Some(_) => "ok".to_owned(),
        };
        let cells = runs.iter().map(&mut cell).collect();
        rows.push((name, cells));
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn test(name: &str, outcome: Outcome, said: &str) -> Test {
        Test { name: name.to_owned(), outcome, seconds: 1.26, said: said.to_owned() }
    }

    #[test]
    fn a_test_is_one_line() {
        let check = |test: Test, expected: &str| assert_eq!(test.line(), expected);
        check(test("files::open", Outcome::Pass, "ignored"), "vm: pass files::open 1.3 s");
        check(test("files::open", Outcome::Fail, "much"), "vm: fail files::open 1.3 s");
        check(test("a::b", Outcome::Skip, "no strace"), "vm: skip a::b: no strace");
    }

    #[test]
    fn what_a_test_binary_prints_is_read() {
        let check = |printed: &[&str], told: &[&str], ended: &[&str]| {
            let mut report = Report::of(&["a", "b::c", "d"]);
            for part in printed {
                report.add(part.as_bytes(), 2.0);
            }
            let shown = |tests: &[Test]| -> Vec<String> {
                tests.iter().map(|it| format!("{} {} {}", it.outcome.name(), it.name, it.said)).collect()
            };
            assert_eq!(shown(report.tests()), told, "{printed:?}");
            assert_eq!(shown(&report.end("exit status: 9", 1.0)), ended, "{printed:?}");
        };
        check(&[], &[], &["fail a exit status: 9"]);
        check(
            &["\nrunning 3 tests\ntest a ... ok\ntest b::c ", "... "],
            &["pass a "],
            &["pass a ", "fail b::c exit status: 9"],
        );
        check(
            &["test a ... ", "skip: no overlay\nok\ntest b::c ... ok\n"],
            &["skip a no overlay", "pass b::c "],
            &["skip a no overlay", "pass b::c ", "fail d exit status: 9"],
        );
        let end = "\nfailures:\n\n---- b::c stdout ----\nthread 'b::c' panicked\nleft\n\n\nfailures:\n    b::c\n";
        check(
            &["test a ... ok\ntest b::c ... FAI", "LED\ntest d ... ok\n", end],
            &["pass a ", "fail b::c ", "pass d "],
            &["pass a ", "fail b::c thread 'b::c' panicked\nleft", "pass d "],
        );
    }

    #[test]
    fn the_list_of_a_test_binary_is_read() {
        let check = |list: &str, expected: &[&str]| assert_eq!(names(list), expected);
        check("", &[]);
        check("files::open: test\nload::x: test\n", &["files::open", "load::x"]);
        check("files::open: benchmark\n\n2 tests, 0 benchmarks\n", &[]);
    }

    #[test]
    fn the_page_tells_of_each_kernel() {
        let program = |name: &str, at: &str, degraded: Value| json!({ "program": name, "at": at, "family": "base", "kinds": ["unlink"], "degraded": degraded });
        let old = Run {
            release: "5.10.0".into(),
            day: "2026-11-23".into(),
            tests: vec![
                test("a", Outcome::Fail, "\nthread 'a' (7) panicked at a.rs:1:\nno `x`\nmore"),
                test("b", Outcome::Skip, "no strace"),
            ],
            probe: json!({
                "programs": [program("unlink", "sys_exit, unlink", json!("too large")), program("lsm_unlink", "path_unlink", Value::Null)],
                "counts_skips": false, "lsm": [], "family": "base",
            }),
        };
        let new = Run {
            release: "6.1.0".into(),
            day: "2026-11-24".into(),
            tests: vec![test("a", Outcome::Pass, "")],
            probe: json!({
                "programs": [program("unlink", "sys_exit, unlink", Value::Null), program("unlink", "sys_exit, rmdir", Value::Null)],
                "counts_skips": true, "lsm": ["yama", "bpf"], "family": "base",
            }),
        };
        let page = page(&[old, new]);
        for line in [
            "| kind | 5.10.0 | 6.1.0 |",
            "| pass | 0 | 1 |",
            "| fail | 1 | 0 |",
            "| `a` | **fail** | pass |",
            "| `b` | skip | – |",
            "| day of the run | 2026-11-23 | 2026-11-24 |",
            "| family that is used | base | base |",
            "| security modules | – | yama bpf |",
            "| skipped programs are counted (`recursion_misses`) | no | yes |",
            "| `unlink` | ~~sys_exit~~ (1), path_unlink | sys_exit |",
            "| `base` | 1 of 2 | 2 of 2 |",
            "| `unlink` sys_exit, unlink, base | no (1) | ok |",
            "1. too large",
            "- `a`, 5.10.0: no 'x'",
            "- `b`: no strace",
        ] {
            assert!(page.lines().any(|it| it == line), "no line {line:?} in {page}");
        }
    }
}
