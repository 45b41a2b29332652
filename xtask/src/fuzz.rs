//! `cargo xtask fuzz`: libFuzzer on the parsers of foreign bytes (tests/fuzz), with the compiler that builds the rest.
//!
//! Only the crates of this workspace are instrumented (tests/fuzz/instrument); what they depend on is that of `cargo test`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    command,
    error::Error,
    rights::Consent,
    setup::{self, Scope},
    tree::Tree,
};

/// The longest input in bytes: more than the longest line of a log.
const LONGEST: u32 = 300_000;
/// How long a defect that was planted may stay unfound, in seconds.
const PLANTED: u32 = 60;

/// What the command line asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// The targets; all when empty.
    pub targets: Vec<String>,
    /// How long each runs; a second for each if nobody says otherwise. What is found new by a longer run is kept, and
    /// the next one begins with it.
    pub seconds: Option<u64>,
}

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    let toolchain = setup::ensure(tree, Scope::Tests, consent)?;
    crate::object::build(tree, &toolchain)?;
    run_built(tree, options)
}

/// The same where the eBPF object is built, without which there is no agent whose parsers could be fuzzed.
///
/// Each target first has to find a defect that was planted behind it: one that finds nothing there is no test.
pub fn run_built(tree: &Tree, options: &Options) -> Result<(), Error> {
    let dir = tree.finished("fuzz");
    let names = seeds(tree, &dir.join("seeds"))?;
    if let Some(unknown) = options.targets.iter().find(|name| !names.contains(name)) {
        return Err(Error::Missing {
            what: format!("there is no target {unknown}"),
            remedy: format!("  cargo xtask fuzz {}", names.join(" ")),
        });
    }
    let fuzzer = build(tree)?;
    let mut failed = Vec::new();
    for name in names.iter().filter(|name| options.targets.is_empty() || options.targets.contains(name)) {
        if !finds_what_is_planted(&fuzzer, &dir, name)? {
            failed.push(format!("{name} does not find the defect that was planted behind it"));
        } else if !finds_nothing(&fuzzer, &dir, name, options.seconds)? {
            failed.push(format!("{name}: a defect, see above; again: FUZZ_TARGET={name} {} FILE", fuzzer.display()));
        }
    }
    if failed.is_empty() {
        println!("fuzz: nothing found, and each planted defect");
        return Ok(());
    }
    Err(Error::Fuzz(failed))
}

/// Writes the seeds, and returns the names of the targets.
fn seeds(tree: &Tree, dir: &Path) -> Result<Vec<String>, Error> {
    let mut cargo = command::cargo();
    cargo
        .current_dir(&tree.root)
        .args(["run", "--quiet", "--package", "fuzz", "--bin", "fuzz-seeds", "--"])
        .arg(empty(dir)?);
    let names = command::output("writing the seeds of the fuzz targets", &mut cargo)?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn build(tree: &Tree) -> Result<PathBuf, Error> {
    let mut cargo = command::cargo();
    cargo.current_dir(&tree.root).args(["build", "--package", "fuzz", "--features", "libfuzzer", "--bin", "fuzz"]);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", tree.root.join("tests/fuzz/instrument"));
    command::run("building the fuzz targets", &mut cargo)?;
    Ok(tree.cargo_target().join("debug/fuzz"))
}

/// Whether the target finds a panic at anything that its parser takes.
fn finds_what_is_planted(fuzzer: &Path, dir: &Path, name: &str) -> Result<bool, Error> {
    let mut command = target(fuzzer, dir, name, "planted")?;
    command.env("FUZZ_PLANTED", "1").arg("-seed=1").arg(format!("-max_total_time={PLANTED}"));
    command.arg(empty(&dir.join("new"))?).arg(dir.join("seeds").join(name)).stderr(Stdio::piped());
    let output = command.output().map_err(|source| command::start("fuzzing", &command, source))?;
    let found = String::from_utf8_lossy(&output.stderr).contains("the planted defect");
    Ok(found && !output.status.success())
}

/// Whether the target runs without a panic, a large allocation or a slow input.
fn finds_nothing(fuzzer: &Path, dir: &Path, name: &str, seconds: Option<u64>) -> Result<bool, Error> {
    let mut command = target(fuzzer, dir, name, "found")?;
    command.arg(format!("-max_total_time={}", seconds.unwrap_or(1)));
    // the first folder gets what is new
    if seconds.is_some() {
        let kept = dir.join("corpus").join(name);
        fs::create_dir_all(&kept).map_err(Error::io("making", &kept))?;
        command.arg(kept);
    } else {
        command.arg(empty(&dir.join("new"))?);
    }
    command.arg(dir.join("seeds").join(name)).stderr(Stdio::piped());
    let output = command.output().map_err(|source| command::start("fuzzing", &command, source))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| line.contains("DONE")) {
        Some(done) if output.status.success() => println!("fuzz: {name:18}{}", done.replace('\t', " ")),
        Some(_) | None => eprint!("{said}"),
    }
    Ok(output.status.success())
}

/// The folder, with nothing in it.
fn empty(dir: &Path) -> Result<&Path, Error> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(Error::io("emptying", dir))?;
    }
    fs::create_dir_all(dir).map_err(Error::io("making", dir))?;
    Ok(dir)
}

/// The fuzzer on a target; what it finds goes to `target/fuzz/KIND/`. It gets no backtrace: there would not be room for one
/// in the memory that a parser may take.
fn target(fuzzer: &Path, dir: &Path, name: &str, kind: &str) -> Result<Command, Error> {
    let found = dir.join(kind);
    fs::create_dir_all(&found).map_err(Error::io("making", &found))?;
    let mut command = Command::new(fuzzer);
    command.env("FUZZ_TARGET", name).env("RUST_BACKTRACE", "0").env_remove("FUZZ_PLANTED");
    command.arg(format!("-artifact_prefix={}/{name}-", found.display())).arg(format!("-max_len={LONGEST}"));
    // the memory is limited where it is allocated, and not by what the process has
    command.args(["-timeout=10", "-rss_limit_mb=0"]);
    Ok(command)
}
