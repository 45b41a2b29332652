//! `sigtrail probe`: what this kernel offers, what will be used, what is missing and why it matters.

use std::{
    fs,
    io::{self, Write},
};

use common::Kind;
use serde::Serialize;

use super::{
    paint::{Colour, Paint},
    trouble::Trouble,
};
use crate::{
    config::Config,
    pipeline::place,
    source::{
        Family, Kernel, Options, SourceError, Wanted,
        hooks::{self, PROGRAMS},
        kernel::{Attached, BTF, LSM_LIST},
    },
};

/// Look at this kernel.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For a machine
    #[arg(long)]
    json: bool,
    /// Load the programs of the other families too: whether they would run is good to know of a kernel
    #[arg(long, requires = "json")]
    families: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kernel: String,
    facts: Vec<Fact>,
    /// How programs will read kernel memory.
    family: Option<&'static str>,
    /// The programs of the family that is used; with `--families` those of the others too.
    pub(super) programs: Vec<Fate>,
    /// Whether the kernel counts the times that it skips a program (`recursion_misses`, 5.12).
    counts_skips: bool,
    /// The security modules that are on; empty where securityfs does not tell.
    lsm: Vec<String>,
    /// Members of kernel structs that are missing.
    missing: Vec<String>,
    /// Why there is no security tier.
    pub(super) no_lsm: Option<String>,
    /// Why nothing can be collected.
    pub(super) error: Option<String>,
}

/// What this kernel makes of a program of the kernel half.
#[derive(Debug, Serialize)]
pub(super) struct Fate {
    pub(super) program: String,
    /// Where it sits.
    at: String,
    family: &'static str,
    /// What it tells; empty for one that only helps others.
    pub(super) kinds: Vec<&'static str>,
    /// Why it does not run; `None` when it does.
    pub(super) degraded: Option<String>,
}

impl Fate {
    fn of(program: &hooks::Program, family: Family, degraded: Option<String>) -> Self {
        Self {
            program: program.name.to_owned(),
            at: place(program),
            family: family.name(),
            kinds: program.kinds.iter().map(|kind| kind.name()).collect(),
            degraded,
        }
    }
}

/// A thing that this system has or lacks.
#[derive(Debug, Serialize)]
struct Fact {
    name: &'static str,
    there: bool,
    why: &'static str,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let mut report = probe();
    if args.families {
        add_other_families(&mut report);
    }
    let mut out = io::stdout().lock();
    let shown =
        if args.json { writeln!(out, "{}", serde_json::to_string_pretty(&report)?) } else { show(&mut out, &report) };
    shown.map_err(Trouble::Output)?;
    if report.error.is_some() { Err(Trouble::Failed) } else { Ok(()) }
}

pub(super) fn probe() -> Report {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/mounts");
    let mounted = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let lsm = read(LSM_LIST);
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
            "without, names of path-only calls (unlink, chmod …) are copied from the caller, and marked so",
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
    let mut report = Report {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        facts,
        family: None,
        programs: Vec::new(),
        counts_skips: false,
        lsm: lsm.trim().split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect(),
        missing: Vec::new(),
        no_lsm: None,
        error: None,
    };
    match open(None) {
        Ok(kernel) => {
            report.family = Some(kernel.family().name());
            report.missing = kernel.missing().to_vec();
            report.no_lsm = kernel.lsm().map(str::to_owned);
            report.counts_skips = kernel.counts_skips();
            report.programs = programs(&kernel);
        }
        Err(error) => report.error = Some(error.to_string()),
    }
    report
}

/// Loads and attaches all programs.
fn open(family: Option<Family>) -> Result<Kernel, SourceError> {
    let config = Config::default();
    Kernel::open(&Options {
        family,
        speaks: false,
        backlog_bytes: 0,
        ring_bytes: config.kernel.ring_bytes.0 as u32,
        environment: Vec::new(),
        wanted: Wanted::all(),
        stay: None,
    })
}

/// Loads what is not used here, too.
fn add_other_families(report: &mut Report) {
    for family in Family::ALL.iter().filter(|it| report.family.is_some_and(|used| used != it.name())) {
        report.programs.extend(match open(Some(*family)) {
            Ok(kernel) => programs(&kernel),
            Err(error) => PROGRAMS.iter().map(|it| Fate::of(it, *family, Some(error.to_string()))).collect(),
        });
    }
}

/// What became of the programs of its family.
fn programs(kernel: &Kernel) -> Vec<Fate> {
    let program = |it: &Attached| Fate::of(&it.program, kernel.family(), it.failed.clone());
    kernel.attached().iter().map(program).collect()
}

fn show(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let paint = Paint::stdout();
    let mark = |good: bool| if good { paint.text(Colour::Green, "yes") } else { paint.text(Colour::Yellow, "no ") };
    writeln!(out, "Linux {}", report.kernel)?;
    for fact in &report.facts {
        writeln!(out, "  {} {:<30} {}", mark(fact.there), fact.name, paint.text(Colour::Grey, fact.why))?;
    }
    if let Some(error) = &report.error {
        return writeln!(out, "{}", paint.text(Colour::Red, format!("nothing can be collected: {error}")));
    }
    let family = match report.family {
        Some("fast") => "fast: kernel memory is read by typed loads",
        _ => "base: kernel memory is read by helper calls, about twice the cost (bpf_rdonly_cast comes with Linux 6.2)",
    };
    writeln!(out, "programs ({family})")?;
    for program in &report.programs {
        let why = program.degraded.as_deref().unwrap_or_default();
        writeln!(out, "  {} {:<16} {:<22} {why}", mark(program.degraded.is_none()), program.program, program.at)?;
    }
    if let Some(why) = &report.no_lsm {
        writeln!(out, "  {} security hooks: {why}", mark(false))?;
    }
    for member in &report.missing {
        writeln!(
            out,
            "  {} {member} is not in this kernel: what it would tell is null",
            paint.text(Colour::Yellow, "no ")
        )?;
    }
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    writeln!(out, "kinds: {}", kinds.join(" "))
}
