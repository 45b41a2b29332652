//! `cargo xtask test`: set-up, build, rules, and every test. CI runs this and nothing else.

use std::{
    env, fmt,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use crate::{
    build::{self, Profile},
    check, command,
    error::Error,
    fuzz, generate, mutants, package,
    rights::{Consent, as_root, is_root},
    setup::{self, Scope},
    tree::Tree,
    vm,
};

/// Which tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// All but those marked `#[ignore]`.
    Short,
    /// Also those, the kernel tests on other kernels, and the mutants of the seal.
    Long,
}

/// How long the tests of tests/tests/stress load the machine; ten minutes each with `--long`, if nobody says otherwise.
const STRESS_SECONDS: &str = "SIGTRAIL_STRESS_SECONDS";
/// How long each target of tests/fuzz runs; a minute with `--long`, if nobody says otherwise.
const FUZZ_SECONDS: &str = "SIGTRAIL_FUZZ_SECONDS";
/// What the long tests call, and the package that has it.
const STRESS: &[(&str, &str)] = &[("stress-ng", "stress-ng"), ("trinity", "trinity")];

/// What cargo's test binaries reported, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// The verb. A broken rule does not hide the result of the tests; the last line counts them all.
pub fn run(tree: &Tree, length: Length, consent: Consent) -> Result<(), Error> {
    let scope = if length == Length::Long { Scope::Vm } else { Scope::Tests };
    build::run(tree, Profile::Release, scope, consent)?;
    setup::foreign(tree)?;
    if length == Length::Long {
        setup::programs(STRESS.iter().copied(), consent)?;
    }
    let rules = check::run(tree, consent).and_then(|()| generate::check(tree));
    if let Err(error) = &rules {
        eprintln!("xtask: {error}");
    }

    let mut tally = Tally::default();
    // before all tests: some of them install what is made
    let packed = package::run_checked(tree);
    if let Err(error) = &packed {
        eprintln!("xtask: {error}");
    }
    let inside = run_tests("the tests of the crates", &mut inside(tree, length), &mut tally);
    let outside = outside(tree, length, consent)
        .and_then(|mut outside| run_tests("the tests from outside", &mut outside, &mut tally));
    let fuzzed = fuzz::run_built(tree, &fuzz::Options { seconds: fuzz_seconds(length), ..fuzz::Options::default() });
    println!("\n{tally}");
    let elsewhere = if length == Length::Long {
        vm::package(tree, consent).and_then(|()| vm::run_built(tree, &vm::Options::all()))
    } else {
        Ok(())
    };
    let mutated = if length == Length::Long { mutants::run(tree, &mutants::Options::default()) } else { Ok(()) };
    rules?;
    packed?;
    inside?;
    outside?;
    fuzzed?;
    elsewhere?;
    mutated?;
    if tally.failed == 0 { Ok(()) } else { Err(Error::Tests(tally.failed)) }
}

/// How long each fuzz target runs.
fn fuzz_seconds(length: Length) -> Option<u64> {
    let told = env::var(FUZZ_SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    told.or((length == Length::Long).then_some(60))
}

/// The tests that stand beside the code: no rights, any order.
fn inside(tree: &Tree, length: Length) -> Command {
    let mut cargo = cargo_test(tree);
    cargo.args(["--workspace", "--exclude", "tests"]);
    end_of_line(&mut cargo, length, &[]);
    cargo
}

/// The tests of the finished programs: as root, because a kernel is asked, and one after the other, because there is
/// one kernel. cargo itself stays the user it is: only the test binaries run through sudo.
fn outside(tree: &Tree, length: Length, consent: Consent) -> Result<Command, Error> {
    let mut cargo = cargo_test(tree);
    cargo.args(["--package", "tests"]);
    if !is_root() {
        let triple = build::host()?;
        let variables = "--preserve-env=PATH,SIGTRAIL,SIGTRAIL_VERIFY,SIGTRAIL_RECEIVE,SIGTRAIL_PACKAGES,SIGTRAIL_STRESS_SECONDS,CARGO_MANIFEST_DIR,RUST_BACKTRACE";
        // Asks the person, and then sudo asks the password: before the tests and not in the midst of them.
        let why = "the tests from outside load eBPF programs; each of their binaries runs through sudo";
        command::run("becoming root", &mut as_root(why, Command::new("true"), consent)?)?;
        cargo.env(format!("CARGO_TARGET_{}_RUNNER", build::shouted(&triple)), format!("sudo {variables} --"));
    }
    end_of_line(&mut cargo, length, &["--test-threads=1"]);
    Ok(cargo)
}

fn cargo_test(tree: &Tree) -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(&tree.root).args(["test", "--no-fail-fast"]);
    cargo.env("SIGTRAIL", tree.agent());
    for (variable, name) in [("SIGTRAIL_VERIFY", "sigtrail-verify"), ("SIGTRAIL_RECEIVE", "sigtrail-receive")] {
        cargo.env(variable, tree.finished(name));
    }
    cargo.env("SIGTRAIL_PACKAGES", tree.finished("package"));
    cargo
}

fn end_of_line(cargo: &mut Command, length: Length, options: &[&str]) {
    cargo.arg("--").args(options);
    if length == Length::Long {
        cargo.arg("--include-ignored");
        if env::var_os(STRESS_SECONDS).is_none() {
            cargo.env(STRESS_SECONDS, "600");
        }
    }
}

/// Runs a cargo test, shows its output as it comes, and adds its results up. Failed tests are in the tally; an error
/// means that there were no tests to fail (they did not compile, or a binary died).
fn run_tests(doing: &str, cargo: &mut Command, tally: &mut Tally) -> Result<(), Error> {
    let before = tally.failed;
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(|source| command::start(doing, cargo, source))?;
    if let Some(output) = child.stdout.take() {
        let mut screen = io::stdout().lock();
        for line in BufReader::new(output).split(b'\n') {
            let mut line = line.map_err(Error::io("reading the output of", "cargo test"))?;
            tally.add(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            screen.write_all(&line).map_err(Error::io("writing to", "standard output"))?;
        }
    }
    let status = child.wait().map_err(Error::io("waiting for", "cargo test"))?;
    if status.success() || tally.failed > before {
        return Ok(());
    }
    Err(Error::Command { doing: doing.to_owned(), command: command::shown(cargo), status, remedy: None })
}

impl Tally {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; …`.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        let Some((_, counts)) = result.split_once(". ") else { return };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some(_) | None => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed() {
        let check = |output: &str, expected: &str| {
            let mut tally = Tally::default();
            output.lines().for_each(|line| tally.add(line));
            assert_eq!(tally.to_string(), expected);
        };
        check("", "0 passed, 0 failed");
        check(
            "test a ... ok\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.0s",
            "2 passed, 0 failed",
        );
        check(
            "test result: FAILED. 2 passed; 1 failed; 0 ignored\nrunning 3 tests\ntest result: ok. 40 passed; 0 failed; 0 ignored",
            "42 passed, 1 failed",
        );
        check("test passed_and_failed ... ok\n3 passed; 4 failed", "0 passed, 0 failed");
    }
}
