//! `sigtrail doctor`: what is wrong with this set-up, and what to do about it.

mod files;

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use hickory_resolver::{ResolverBuilder, TokioResolver};
use nix::sys::statvfs::statvfs;
use reqwest::Url;
use serde::Serialize;

use super::{
    ConfigFile,
    paint::{Colour, Paint},
    probe, status,
    trouble::Trouble,
};
use crate::{
    clock,
    config::{Config, Sink},
    daemon::{self, control::SOCKET, rights},
    source::pin::Special,
};

/// Look for what is wrong, before or while the agent runs; as root, or as the user of the agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// For a machine
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// The log is in danger, or incomplete: the exit code is 1.
    Problem,
    /// Good to know.
    Note,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// Which check.
    check: &'static str,
    /// What was found.
    found: String,
    /// What to do.
    todo: String,
}

fn problem(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { level: Level::Problem, check, found: found.into(), todo: todo.into() }
}

fn note(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { level: Level::Note, ..problem(check, found, todo) }
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let config = args.config.load()?;
    let mut findings = Vec::new();
    policy(&config, &mut findings);
    files::check(&config, args.config.config.as_deref(), &mut findings);
    clock(&mut findings);
    disk(&config, &mut findings);
    mounts(&mut findings);
    kernel(&mut findings);
    conflicts(Path::new("/proc"), &mut findings);
    sinks(&config, &mut findings);
    findings.sort_by_key(|it| it.level != Level::Problem);
    let mut out = io::stdout().lock();
    let shown =
        if args.json { writeln!(out, "{}", serde_json::to_string(&findings)?) } else { show(&mut out, &findings) };
    shown.map_err(Trouble::Output)?;
    if findings.iter().any(|it| it.level == Level::Problem) { Err(Trouble::Failed) } else { Ok(()) }
}

fn show(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    let paint = Paint::stdout();
    for Finding { level, check, found, todo } in findings {
        let word = match level {
            Level::Problem => paint.text(Colour::Red, "problem"),
            Level::Note => paint.text(Colour::Yellow, "note   "),
        };
        writeln!(out, "{word} {check:<8} {found}\n                 {}", paint.text(Colour::Grey, todo))?;
    }
    let problems = findings.iter().filter(|it| it.level == Level::Problem).count();
    writeln!(out, "{problems} problems, {} notes", findings.len() - problems)
}

fn policy(config: &Config, findings: &mut Vec<Finding>) {
    if let Err(error) = daemon::policy(config) {
        findings.push(problem("policy", error.to_string(), "mend it: `sigtrail policy check FILE`"));
    }
}

fn clock(findings: &mut Vec<Finding>) {
    let state = clock::state(0);
    if !state.sync {
        findings.push(note(
            "clock",
            "the clock is not synchronised: times of records may be wrong, and the headers of batches say so",
            "run a time service (chrony, systemd-timesyncd)",
        ));
    }
}

fn disk(config: &Config, findings: &mut Vec<Finding>) {
    let dir = config.state_dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let about = match statvfs(dir) {
        Ok(about) => about,
        Err(error) => {
            findings.push(problem("disk", format!("{}: {error}", dir.display()), "see that it can be read"));
            return;
        }
    };
    let bytes = |blocks: u64| blocks.saturating_mul(about.fragment_size());
    let (free, all, at) = (bytes(about.blocks_available()), bytes(about.blocks()), dir.display());
    let (least, most) = (config.spool.min_free.0, config.spool.max_bytes.0);
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if free < least {
        let found = format!("{at}: {} are free, less than spool.min_free ({})", mib(free), mib(least));
        findings.push(problem(
            "disk",
            found,
            "make room, or lower spool.min_free: the spool gives up its oldest events",
        ));
    } else if all < most.saturating_add(least) {
        let found = format!("{at} has {} in all: spool.max_bytes ({}) will not be reached", mib(all), mib(most));
        findings.push(note("disk", found, "lower spool.max_bytes, or give the state directory a larger file system"));
    }
}

fn mounts(findings: &mut Vec<Finding>) {
    if !Special::Bpf.is_mounted() {
        findings.push(note(
            "mounts",
            "the BPF file system is not mounted: without it a restart misses events",
            "mount -t bpf -o mode=700 bpf /sys/fs/bpf (the agent does it if it is root)",
        ));
    }
    if !Special::Trace.is_mounted() {
        findings.push(note(
            "mounts",
            "tracefs is not mounted: after Linux 6.18 nothing can be collected without it",
            "mount -t tracefs -o mode=700 tracefs /sys/kernel/tracing (the agent does it if it is root)",
        ));
    }
    if !Path::new("/sys/kernel/security/lsm").exists() {
        findings.push(note(
            "mounts",
            "securityfs is not mounted: it is not known whether programs of security hooks are asked",
            "mount -t securityfs securityfs /sys/kernel/security",
        ));
    }
}

/// What `sigtrail probe` finds.
fn kernel(findings: &mut Vec<Finding>) {
    match rights::missing() {
        Ok(missing) => {
            for need in missing {
                findings.push(note(
                    "kernel",
                    format!("{} is missing: {}", need.capability, need.without),
                    "ask as root",
                ));
            }
        }
        Err(error) => return findings.push(note("kernel", format!("not looked at: {error}"), "ask as root")),
    }
    let report = probe::probe();
    if let Some(error) = report.error {
        return findings.push(problem("kernel", error, "`sigtrail probe` says what this kernel has"));
    }
    for program in report.programs {
        if let Some(why) = program.degraded {
            let found = format!("the program {} cannot run: {why}", program.program);
            findings.push(problem(
                "kernel",
                found,
                format!("without it these are missing: {}", program.kinds.join(" ")),
            ));
        }
    }
    if let Some(why) = report.no_lsm {
        let found = format!("names of path-only calls come from the caller: {why}");
        findings.push(note("kernel", found, "boot with lsm=…,bpf where the kernel has BPF LSM"));
    }
}

/// Others who do the same, by the name of their process.
const OTHERS: &[(&str, &str)] = &[
    ("auditd", "both record system calls; where its rules are imported (`sigtrail policy import`), stop it"),
    ("falco", "both cost time at each system call; one is enough"),
    ("tetragon", "both cost time at each system call; one is enough"),
    ("osqueryd", "switch off its process and socket auditing, which costs time at each system call"),
    ("kunai", "both cost time at each system call; one is enough"),
];

fn conflicts(proc: &Path, findings: &mut Vec<Finding>) {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let named = processes.filter_map(|it| {
        let pid: u32 = it.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(it.path().join("comm")).ok()?;
        Some((pid, name.trim_end().to_owned()))
    });
    for (pid, name) in named {
        if let Some((_, todo)) = OTHERS.iter().find(|(other, _)| *other == name) {
            findings.push(note("others", format!("{name} runs (pid {pid})"), *todo));
        }
    }
}

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the running agent how its sinks are, or tries to reach them.
fn sinks(config: &Config, findings: &mut Vec<Finding>) {
    if let Ok((_, status)) = status::ask(&config.runtime_dir.join(SOCKET)) {
        for sink in status.sinks {
            if let Some(trouble) = sink.trouble {
                let found = format!("{} does not take what it is given: {trouble}", sink.name);
                findings.push(problem("sinks", found, format!("{} batches wait for it", sink.lag)));
            }
        }
        return;
    }
    findings.push(note("agent", "no agent runs with this configuration", "start it: systemctl start sigtrail"));
    for sink in &config.sinks {
        let url = match sink {
            Sink::Http(it) if it.proxy.is_none() => &it.url,
            Sink::Nats(it) => &it.url,
            Sink::File(_) | Sink::Http(_) | Sink::S3(_) => continue,
        };
        if let Err(why) = reach(url) {
            let found = format!("{} cannot be reached at {url}: {why}", sink.name());
            findings.push(problem(
                "sinks",
                found,
                "is the receiver there, and does the way to it let the agent through?",
            ));
        }
    }
}

/// Whether somebody listens there.
fn reach(url: &str) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let url = Url::parse(url).map_err(|error| said(&error))?;
    let host = url.host_str().ok_or("the url names no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(4222);
    let addresses: Vec<IpAddr> = if let Ok(address) = host.parse() {
        vec![address]
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.map_err(|error| said(&error))?.block_on(async {
            let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
            let found = resolver.map_err(|error| said(&error))?.lookup_ip(host).await;
            found.map(|found| found.iter().collect()).map_err(|error| said(&error))
        });
        found?
    };
    let mut why = "the name has no address".to_owned();
    for address in addresses.into_iter().take(4) {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => why = said(&error),
        }
    }
    Err(why)
}
