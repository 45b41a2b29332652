//! `cargo xtask bench`: what the agent costs, beside auditd, on this machine; writes docs/performance.md.

use std::{fs, io, path::Path, process::Command};

use crate::{
    build::{self, Profile},
    command,
    error::Error,
    rights::{Consent, as_root},
    setup::{self, Scope},
    tree::Tree,
};

/// What the command line asked for.
#[derive(Debug)]
pub struct Options {
    /// Names of tests/overhead/bench.py, separated by commas, or `all`.
    pub workload: String,
    pub peer: String,
    pub rounds: u32,
    /// Recorded events in place of real ones: tests/benches/replay.rs.
    pub replay: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { workload: "all".into(), peer: "sigtrail,auditd".into(), rounds: 5, replay: false }
    }
}

/// What the driver calls, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[("python3", "python3-minimal"), ("bpftool", "bpftool")];

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    if options.replay {
        let mut cargo = command::cargo();
        cargo.current_dir(&tree.root).args(["bench", "--quiet", "--package", "tests", "--bench", "replay"]);
        return command::run("measuring recorded events", &mut cargo);
    }
    build::run(tree, Profile::Release, Scope::Tests, consent)?;
    let audit = options.peer.split(',').any(|peer| peer == "auditd");
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| command::program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if audit && command::program("auditd").is_none() {
        // Only here: installing it is no small thing. Its service is neither started nor enabled (setup::install).
        missing.push("auditd");
    }
    if !missing.is_empty() {
        setup::install(&missing, consent)?;
    }

    let results = tree.finished("bench/results.jsonl");
    if options.workload == "all" {
        forget(&results)?;
    }
    let measured = measure(tree, options, &results, consent);
    if audit {
        silence(consent)?;
    }
    measured?;
    let mut report = Command::new("python3");
    let table = command::output("making the table", report.arg(script(tree, "report.py")).arg(&results))?;
    println!("\n{table}");
    let page = tree.root.join("docs/performance.md");
    fs::create_dir_all(tree.root.join("docs")).map_err(Error::io("creating", "docs"))?;
    fs::write(&page, self::page(&Machine::here(), options, &table)).map_err(Error::io("writing", &page))?;
    println!("written: {}", page.display());
    Ok(())
}

fn measure(tree: &Tree, options: &Options, results: &Path, consent: Consent) -> Result<(), Error> {
    let mut driver = Command::new("python3");
    driver.arg(script(tree, "bench.py")).args(["--peer", &options.peer, "--workload", &options.workload]);
    driver.args(["--rounds", &options.rounds.to_string(), "--out"]).arg(results);
    command::run("measuring", &mut as_root("agents are started and measured", driver, consent)?)
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

fn script(tree: &Tree, name: &str) -> std::path::PathBuf {
    tree.root.join("tests/overhead").join(name)
}

fn forget(results: &Path) -> Result<(), Error> {
    match fs::remove_file(results) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", results)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where it was measured.
struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    system: String,
}

impl Machine {
    fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.map(|line| line[key.len()..].trim_matches([' ', '\t', ':', '=', '"']).to_owned())
        };
        let unknown = || "unknown".to_owned();
        let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: value(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(unknown),
        }
    }
}

fn page(machine: &Machine, options: &Options, table: &str) -> String {
    let Machine { processor, cores, memory_mib, kernel, system } = machine;
    let rounds = options.rounds;
    format!(
        "<!-- Generated by `cargo xtask bench`. -->
# What it costs

## Method

Each workload does an exactly known number of operations (`tests/overhead/wl.c`). It runs in {rounds} rounds, each three
times without an agent and three times with it, in turns, so that the ratios hold on a machine that is not quiet; other
load is waited for. *wall ×* and *CPU ×* are the time of the workload with the agent over the time without: the median
of the rounds [smallest–largest]. The agent's CPU counts its threads and the kernel's threads that work for it. Both
agents record the same things: exec, open for writing and create, rename, unlink, chmod, connect, accept, bind.
sigtrail does all it does by default: context, policy, sealing, sync. auditd writes its raw format
(`tests/overhead/audit.rules`, `auditd.conf.in`). *Recorded / happened* counts the workload's own events.

| workload | what it does |
|---|---|
| exec | vfork and execve of a static program that does nothing |
| file | create, write, read, rename, chmod, unlink |
| tcp | connect and accept on the loopback by two processes that wait for each other, on one core: on two they measure how long an idle core takes to wake (base times of 0.13 to 0.49 s) |
| noise | getppid, and a pipe: system calls nobody asks for |
| getppid | the cheapest system call there is |
| openro | opens for reading, which the policy drops |
| multi | exec, file and tcp on every core at once |
| build, targz, find | make with a compiler, tar and gzip, find |

To repeat it: `cargo xtask bench`.

## Machine

{processor}, {cores} cores, {memory_mib} MiB; Linux {kernel}; {system}.

## Results

{table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_machine_and_the_table() {
        let page = page(&Machine::here(), &Options::default(), "| a | b |\n");
        assert!(page.ends_with("## Results\n\n| a | b |\n"), "{page}");
        assert!(page.contains("5 rounds") && page.contains("Linux "), "{page}");
    }
}
