//! `cargo xtask bench`: what the agent costs, beside its peers, on this machine; writes docs/performance.md.
//!
//! Each invocation merges what it measured into `target/bench/results.json`, so that a full table can be made in parts.

mod page;

use std::{fs, path::PathBuf, process::Command};

use crate::{
    build::{self, Profile},
    command,
    error::Error,
    rights::{Consent, as_root},
    setup::{self, Scope},
    tree::Tree,
};

/// A part of the measurement: a script of tests/overhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Workloads with and without each agent.
    Paired,
    /// Nanoseconds of single calls: empty hooks, and sigtrail's kernel half.
    Floor,
    /// Shares of the kernel half's programs.
    Program,
    /// From a system call to its record in the log.
    Latency,
}

impl Part {
    const ALL: &'static [Self] = &[Self::Paired, Self::Floor, Self::Program, Self::Latency];

    /// The part of an option of the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "paired" => Some(Self::Paired),
            "floor" => Some(Self::Floor),
            "program" => Some(Self::Program),
            "latency" => Some(Self::Latency),
            _ => None,
        }
    }
}

/// A benchmark of cargo's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Micro {
    /// Recorded events in place of real ones: tests/benches/replay.rs.
    Replay,
    /// Sealing beside a plain hash: seal/benches/seal.rs.
    Seal,
}

/// What the command line asked for.
#[derive(Debug)]
pub struct Options {
    /// What is measured; everything when empty.
    pub parts: Vec<Part>,
    /// Names of tests/overhead/bench.py, separated by commas, or `all`.
    pub workload: String,
    /// Names of tests/overhead/peers.json, separated by commas.
    pub peer: String,
    pub rounds: u32,
    /// Only this, without an agent.
    pub micro: Option<Micro>,
    /// Only the page, from the results that are there.
    pub report: bool,
    /// Forget earlier results.
    pub anew: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (workload, peer) = ("all".into(), "sigtrail,auditd,bpftrace".into());
        Self { parts: Vec::new(), workload, peer, rounds: 5, micro: None, report: false, anew: false }
    }
}

/// What the driver calls, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[("python3", "python3-minimal"), ("bpftool", "bpftool"), ("zstd", "zstd")];
/// Agents that are installed only when they are measured. (auditd is there for the tests.)
const PEERS: &[(&str, &str)] = &[("bpftrace", "bpftrace")];

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    if let Some(micro) = options.micro {
        let (doing, bench) = match micro {
            Micro::Replay => ("measuring recorded events", ["tests", "--bench", "replay"]),
            Micro::Seal => ("measuring the seal", ["seal", "--bench", "seal"]),
        };
        let mut cargo = command::cargo();
        cargo.current_dir(&tree.root).args(["bench", "--quiet", "--package"]).args(bench);
        return command::run(doing, &mut cargo);
    }
    if !options.report {
        build::run(tree, Profile::Release, Scope::Tests, consent)?;
        let asked = |name: &str| options.peer == "all" || options.peer.split(',').any(|peer| peer == name);
        let peers = PEERS.iter().filter(|(name, _)| asked(name));
        setup::programs(PROGRAMS.iter().chain(peers).copied(), consent)?;
        let results = tree.finished("bench/results.json");
        if options.anew && results.exists() {
            fs::remove_file(&results).map_err(Error::io("removing", &results))?;
        }
        let measured = measure(tree, options, consent);
        if asked("auditd") {
            silence(consent)?;
        }
        measured?;
    }
    page::write(tree)
}

fn measure(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    let rounds = options.rounds.to_string();
    for part in if options.parts.is_empty() { Part::ALL } else { &options.parts } {
        let mut driver = Command::new("python3");
        match part {
            Part::Paired => driver.arg(script(tree, "bench.py")).args([
                "--peer",
                &options.peer,
                "--workload",
                &options.workload,
                "--rounds",
                &rounds,
            ]),
            Part::Floor => driver.arg(script(tree, "floor.py")).args(["--rounds", &rounds]),
            Part::Program => driver.arg(script(tree, "floor.py")).arg("--program"),
            Part::Latency => driver.arg(script(tree, "latency.py")),
        };
        command::run("measuring", &mut as_root("agents are started and measured", driver, consent)?)?;
    }
    Ok(())
}

/// Once audit was enabled, every new task pays for an audit context, unless this rule is there.
fn silence(consent: Consent) -> Result<(), Error> {
    let mut off = Command::new("sh");
    off.args(["-c", "auditctl -D; auditctl -e 0; auditctl -a never,task"]);
    let doing = "switching the kernel's audit off again";
    command::output(doing, &mut as_root(doing, off, consent)?)?;
    println!("the kernel's audit is off; the rule `never,task` stays until the next boot, to keep it free of cost");
    Ok(())
}

fn script(tree: &Tree, name: &str) -> PathBuf {
    tree.root.join("tests/overhead").join(name)
}
