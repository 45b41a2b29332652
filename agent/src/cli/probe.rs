//! `sigtrail probe`: what this kernel offers, what will be used, what is missing and why it matters.

use std::fs;

use common::{Kind, filter::class};
use serde::Serialize;

use super::{
    paint::{Colour, Paint},
    trouble::Trouble,
};
use crate::{
    config::Config,
    pipeline::hook_status,
    source::{Kernel, Options, kernel::BTF},
};

/// Look at this kernel.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For a machine
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    kernel: String,
    facts: Vec<Fact>,
    /// How programs will read kernel memory.
    family: Option<&'static str>,
    programs: Vec<crate::pipeline::HookStatus>,
    /// Members of kernel structs that are missing.
    missing: Vec<String>,
    /// Why nothing can be collected.
    error: Option<String>,
}

/// A thing that this system has or lacks.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    there: bool,
    why: &'static str,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let report = probe();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    if report.error.is_some() { Err(Trouble::Failed) } else { Ok(()) }
}

fn probe() -> Report {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/mounts");
    let mounted = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let lsm = read("/sys/kernel/security/lsm");
    let fact = |name, there, why| Fact { name, there, why };
    let facts = vec![
        fact(
            "kernel type information (BTF)",
            fs::exists(BTF).unwrap_or(false),
            "needed: struct offsets and typed tracepoints come from it",
        ),
        fact(
            "tracefs mounted",
            mounted("tracefs"),
            "needed after Linux 6.18, where programs sit behind perf events; the agent mounts it at /sys/kernel/tracing then",
        ),
        fact(
            "bpffs mounted",
            mounted("bpf"),
            "pinned programs go on while the agent is away; `run` mounts it at /sys/fs/bpf if it is not there",
        ),
        fact(
            "securityfs mounted",
            mounted("securityfs"),
            "not needed: it tells whether BPF LSM is on (mount -t securityfs securityfs /sys/kernel/security)",
        ),
        fact(
            "BPF LSM",
            lsm.split(',').any(|it| it.trim() == "bpf"),
            "not used yet: path-only calls (unlink, chmod …) are told with names copied from the caller",
        ),
        fact(
            "cgroup v2 mounted",
            mounted("cgroup2"),
            "containers and units are told by control groups; with v1 only, by /proc",
        ),
        fact(
            "audit login ids",
            fs::exists("/proc/self/loginuid").unwrap_or(false),
            "auid and session tell who logged in; without, they are null",
        ),
    ];
    let everything = [class::ALL; common::filter::KINDS];
    let config = Config::default();
    let options = Options {
        family: None,
        speaks: false,
        backlog_bytes: 0,
        ring_bytes: config.kernel.ring_bytes.0 as u32,
        wake_bytes: config.kernel.wake_bytes.0 as u32,
        wanted: everything,
        stay: None,
    };
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let report = Report { kernel, facts, family: None, programs: Vec::new(), missing: Vec::new(), error: None };
    match Kernel::open(&options) {
        Ok(kernel) => Report {
            family: Some(kernel.family().name()),
            programs: hook_status(&kernel),
            missing: kernel.missing().to_vec(),
            ..report
        },
        Err(error) => Report { error: Some(error.to_string()), ..report },
    }
}

fn show(report: &Report) {
    let paint = Paint::stdout();
    let mark = |good: bool| if good { paint.text(Colour::Green, "yes") } else { paint.text(Colour::Yellow, "no ") };
    println!("Linux {}", report.kernel);
    for fact in &report.facts {
        println!("  {} {:<30} {}", mark(fact.there), fact.name, paint.text(Colour::Grey, fact.why));
    }
    if let Some(error) = &report.error {
        println!("{}", paint.text(Colour::Red, format!("nothing can be collected: {error}")));
        return;
    }
    let family = match report.family {
        Some("fast") => "fast: kernel memory is read by typed loads",
        _ => "base: kernel memory is read by helper calls, about twice the cost (bpf_rdonly_cast comes with Linux 6.2)",
    };
    println!("programs ({family})");
    for program in &report.programs {
        let why = program.degraded.as_deref().unwrap_or_default();
        println!("  {} {:<16} {:<22} {why}", mark(program.degraded.is_none()), program.program, program.at);
    }
    for member in &report.missing {
        println!("  {} {member} is not in this kernel: what it would tell is null", paint.text(Colour::Yellow, "no "));
    }
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    println!("kinds: {}", kinds.join(" "));
}
