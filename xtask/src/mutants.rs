//! `cargo xtask mutants`: changes the crate that an auditor trusts, piece by piece (cargo-mutants), and demands that its
//! own tests notice. What they do not notice stands in `seal/mutants.txt`, each with the reason.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{command, error::Error, setup, tree::Tree};

/// The version of cargo-mutants that is installed.
const VERSION: &str = "27.1.0";
/// Which mutants may survive, and why.
const SURVIVORS: &str = "seal/mutants.txt";
/// How many of a hundred must be caught at least.
const LEAST: usize = 90;
/// The command line, which has its tests outside of the crate (tests/auditor).
const LEFT_OUT: &[&str] = &["seal/src/cli/**", "seal/src/cli.rs", "seal/src/bin/**"];
/// How long the tests may take with a mutant, in seconds; together they take some.
const PATIENCE: &str = "60";
/// The tests that are quick and catch most; what is left also meets the one that flips every byte of a log.
const QUICK: &[&str] = &[
    "--lib",
    "--test=attack",
    "--test=vectors",
    "--test=parse",
    "--test=prove",
    "--test=recover",
    "--test=limits",
    "--test=report",
];
const SLOW: &[&str] = &["--test=tamper"];

/// What the command line asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// A part of the mutants: `1/8` is the second of eight.
    pub shard: Option<String>,
    /// Files whose mutants are made, as globs; all of the crate when empty.
    pub files: Vec<String>,
}

/// The verb.
pub fn run(tree: &Tree, options: &Options) -> Result<(), Error> {
    setup::tool(tree, "cargo-mutants", VERSION)?;
    let dir = tree.finished("mutants");
    let out = dir.join("mutants.out");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(Error::io("emptying", &out))?;
    }
    let temporary = dir.join("tmp");
    fs::create_dir_all(&temporary).map_err(Error::io("making", &temporary))?;
    let mut caught = 0;
    for slow in [&[], SLOW] {
        let mut cargo = command::cargo();
        cargo.current_dir(&tree.root).args(["mutants", "--package", "seal", "--no-default-features", "--jobs", "1"]);
        cargo.env("PATH", command::path_with(&[&tree.finished("tools/bin")])?).env("TMPDIR", &temporary);
        // the crates that it depends on are built once, and no debugger looks at any
        cargo.env("CARGO_TARGET_DIR", dir.join("target")).env("CARGO_PROFILE_DEV_DEBUG", "none");
        cargo.args(["--timeout", PATIENCE, "--output"]).arg(&dir);
        cargo.args(LEFT_OUT.iter().flat_map(|glob| ["--exclude", glob]));
        cargo.args(options.files.iter().flat_map(|glob| ["--file", glob]));
        cargo.args(options.shard.iter().flat_map(|shard| ["--shard", shard]));
        cargo.args(QUICK.iter().chain(slow).map(|test| format!("--cargo-arg={test}")));
        if !slow.is_empty() {
            // but for those that were caught
            cargo.arg("--iterate");
        }
        let status = cargo.status().map_err(|source| command::start("changing the seal", &cargo, source))?;
        // 2: mutants survived, 3: a mutant ran too long, which is as good as caught
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            let doing = "changing the seal".to_owned();
            return Err(Error::Command { doing, command: command::shown(&cargo), status, remedy: None });
        }
        caught += names(&out, "caught.txt")?.len();
    }
    // a mutant that ran too long was asked again
    caught += names(&out, "timeout.txt")?.len();
    judge(tree, caught, &names(&out, "missed.txt")?, options)
}

/// The mutants of one outcome.
fn names(out: &Path, file: &str) -> Result<Vec<String>, Error> {
    let path = out.join(file);
    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
    Ok(text.lines().map(unplaced).collect())
}

/// Compares what survived with the list.
fn judge(tree: &Tree, caught: usize, missed: &[String], options: &Options) -> Result<(), Error> {
    let path = tree.root.join(SURVIVORS);
    let mut known = listed(&fs::read_to_string(&path).map_err(Error::io("reading", &path))?);
    let strange: Vec<&String> = missed.iter().filter(|mutant| !take(&mut known, mutant)).collect();
    let whole = options.shard.is_none() && options.files.is_empty();
    let stale: Vec<String> =
        known.into_iter().filter(|(_, left)| whole && *left > 0).map(|(mutant, _)| mutant).collect();
    let all = caught + missed.len();
    println!("mutants: {caught} of {all} caught, {} survived", missed.len());
    for mutant in &strange {
        println!("not in {SURVIVORS}: {mutant}");
    }
    for mutant in &stale {
        println!("caught, take it out of {SURVIVORS}: {mutant}");
    }
    if strange.is_empty() && stale.is_empty() && caught * 100 >= all * LEAST {
        return Ok(());
    }
    Err(Error::Rules(strange.len() + stale.len() + usize::from(caught * 100 < all * LEAST)))
}

/// A mutant without line and column, which every change of the file moves.
fn unplaced(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(what)) => format!("{file}:{what}"),
        _ => mutant.to_owned(),
    }
}

/// The mutants in the list, and how many of each: lines that are indented are the reason of those before them.
fn listed(text: &str) -> BTreeMap<String, usize> {
    let mut known = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' '])) {
        *known.entry(line.to_owned()).or_insert(0) += 1;
    }
    known
}

/// Takes one of these mutants from those that are known.
fn take(known: &mut BTreeMap<String, usize>, mutant: &str) -> bool {
    known.get_mut(mutant).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_is_known_by_what_it_changes_and_as_often_as_it_is_listed() {
        let mutant = "seal/src/tree.rs:87:23: replace - with + in Range::may_continue_as";
        assert_eq!(unplaced(mutant), "seal/src/tree.rs: replace - with + in Range::may_continue_as");
        let text = format!("# head\n\n{}\n    the reason\n", unplaced(mutant));
        let mut known = listed(&text);
        assert!(take(&mut known, &unplaced(mutant)));
        assert!(!take(&mut known, &unplaced(mutant)), "listed once");
        assert!(!take(&mut known, "seal/src/tree.rs: another"));
    }
}
