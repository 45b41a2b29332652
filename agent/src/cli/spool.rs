//! `sigtrail spool`: what waits on the disk, whether it is whole, and what to do when it is not.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Subcommand;
use serde::Serialize;

use super::{
    ConfigFile,
    paint::{Colour, Paint},
    trouble::Trouble,
};
use crate::{
    config::{self, Config},
    daemon,
    deliver::{Refused, quarantine_of},
    spool::{Contents, Damage, Next, Reader, damage},
};

/// Work with the spool.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what is there: segments, how far each sink is, what was refused or put aside
    Ls(LsArgs),
    /// Verify it with the key of this host, as `sigtrail verify` does
    Verify(LsArgs),
    /// Move damaged bytes into quarantine, so that what is behind them can be verified; no agent may run
    Repair(RepairArgs),
    /// Print sealed batches as they were sealed
    Export(ExportArgs),
    /// Offer batches that a sink refused once more; the agent does it when it starts, and at SIGHUP
    Retry(RetryArgs),
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// For a machine
    #[arg(long)]
    json: bool,
}

/// What to repair.
#[derive(Debug, clap::Args)]
pub struct RepairArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// Do it; without this, the damage is only shown
    #[arg(long)]
    apply: bool,
}

/// What to print.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// The first batch; without it, the oldest
    #[arg(long, value_name = "BATCH")]
    from: Option<u64>,
    /// The last batch; without it, the newest
    #[arg(long, value_name = "BATCH")]
    to: Option<u64>,
}

/// What to offer again.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// The sink that refused them
    sink: String,
    /// Their numbers; without any, all
    batches: Vec<u64>,
}

/// Ends with 2 when something is damaged or missing.
const INCOMPLETE: u8 = 2;

pub(super) fn run(verb: &Verb) -> Result<ExitCode, Trouble> {
    match verb {
        Verb::Ls(args) => ls(&args.config.load()?, args.json),
        Verb::Verify(args) => Ok(verify(&args.config.load()?, args.json)),
        Verb::Repair(args) => repair(&args.config.load()?, args.apply),
        Verb::Export(args) => export(&args.config.load()?, args),
        Verb::Retry(args) => retry(&args.config.load()?, args),
    }
}

/// What is shown: the files, and what sinks refused.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    contents: Contents,
    refused: Vec<RefusedBy>,
}

#[derive(Serialize)]
struct RefusedBy {
    sink: String,
    batch: u64,
    /// Whether it will be offered again.
    again: bool,
    /// HTTP status and the beginning of the answer.
    answer: String,
}

fn ls(config: &Config, json: bool) -> Result<ExitCode, Trouble> {
    let dir = daemon::spool_dir(config);
    let contents = Contents::of(&dir, config.sinks.iter().map(config::Sink::name))?;
    let mut refused = Vec::new();
    for sink in &contents.sinks {
        let quarantine = quarantine_of(&dir, &sink.name);
        for one in refused_in(&quarantine)? {
            let said = std::fs::read_to_string(one.answer(&quarantine)).unwrap_or_else(|error| error.to_string());
            refused.push(RefusedBy { sink: sink.name.clone(), batch: one.batch, again: one.again, answer: said });
        }
    }
    let shown = Shown { contents, refused };
    let mut out = io::stdout().lock();
    let done = if json { writeln!(out, "{}", serde_json::to_string_pretty(&shown)?) } else { show(&mut out, &shown) };
    done.map_err(Trouble::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl Write, shown: &Shown) -> io::Result<()> {
    let paint = Paint::stdout();
    let Contents { segments, seals, sinks, quarantine } = &shown.contents;
    for segment in segments {
        let last = segment.last.map_or_else(|| "none".to_owned(), |last| last.to_string());
        writeln!(out, "{}  batches {} to {last}, {} bytes", segment.file.name, segment.first, segment.file.bytes)?;
    }
    for file in seals {
        writeln!(out, "{}  seals of what was evicted, {} bytes", file.name, file.bytes)?;
    }
    for sink in sinks {
        let delivered = sink.delivered.map_or_else(|| "nothing".to_owned(), |batch| format!("up to {batch}"));
        writeln!(out, "sink {}: delivered {delivered}, {} behind", sink.name, sink.behind)?;
    }
    for RefusedBy { sink, batch, again, answer } in &shown.refused {
        let again = if *again { ", to be offered again" } else { "" };
        let text = format!("sink {sink}: batch {batch} was refused{again}: {}", harmless(answer));
        writeln!(out, "{}", paint.text(Colour::Yellow, text))?;
    }
    for file in quarantine {
        writeln!(out, "{}", paint.text(Colour::Yellow, format!("quarantine/{}  {} bytes", file.name, file.bytes)))?;
    }
    Ok(())
}

/// The beginning of what a stranger said, without what a terminal would obey.
fn harmless(answer: &str) -> String {
    answer.trim_end().chars().take(200).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

fn verify(config: &Config, json: bool) -> ExitCode {
    let key = config.state_dir.join("host.vkey").display().to_string();
    seal::cli::verify(&seal::cli::VerifyArgs {
        inputs: vec![daemon::spool_dir(config)],
        keys: vec![key],
        json,
        ..Default::default()
    })
}

fn repair(config: &Config, apply: bool) -> Result<ExitCode, Trouble> {
    let (damage, kept) =
        if apply { daemon::repair_spool(config)? } else { (damage(&daemon::spool_dir(config))?, Vec::new()) };
    let mut out = io::stdout().lock();
    let told = told(&mut out, &damage, &kept);
    told.map_err(Trouble::Output)?;
    Ok(if damage.is_empty() || apply { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn told(out: &mut impl Write, damage: &[Damage], kept: &[std::path::PathBuf]) -> io::Result<()> {
    for Damage { path, bytes } in damage {
        writeln!(out, "{}: bytes {} to {} are no whole batch", path.display(), bytes.start, bytes.end)?;
    }
    for path in kept {
        writeln!(out, "moved to {}", path.display())?;
    }
    if damage.is_empty() { writeln!(out, "every record is whole") } else { Ok(()) }
}

fn export(config: &Config, args: &ExportArgs) -> Result<ExitCode, Trouble> {
    let mut reader = Reader::open(&daemon::spool_dir(config), args.from.and_then(|from| from.checked_sub(1)));
    let mut out = io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    loop {
        match reader.next()? {
            Next::Batch(batch) if args.to.is_some_and(|to| batch.number > to) => break,
            Next::Batch(batch) => out.write_all(&batch.bytes).map_err(Trouble::Output)?,
            Next::Gap { from, .. } if args.to.is_some_and(|to| from > to) => break,
            Next::Gap { from, to } => {
                let to = args.to.map_or(to, |last| last.min(to));
                eprintln!("sigtrail: batches {from} to {to} are not in the spool");
                code = ExitCode::from(INCOMPLETE);
            }
            Next::Nothing => break,
        }
    }
    out.flush().map_err(Trouble::Output)?;
    Ok(code)
}

fn retry(config: &Config, args: &RetryArgs) -> Result<ExitCode, Trouble> {
    let quarantine = quarantine_of(&daemon::spool_dir(config), &args.sink);
    let mut refused = refused_in(&quarantine)?;
    let missing = args.batches.iter().find(|batch| !refused.iter().any(|one| one.batch == **batch));
    if let Some(batch) = missing {
        let has: Vec<_> = refused.iter().map(|one| one.batch.to_string()).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        return Err(Trouble::Usage(format!("sink {} refused no batch {batch}; in quarantine: {has}", args.sink)));
    }
    refused.retain(|one| !one.again && (args.batches.is_empty() || args.batches.contains(&one.batch)));
    for one in &refused {
        let failed = |source| Trouble::File { doing: "marking", path: one.path(&quarantine), source };
        one.mark(&quarantine, true).map_err(failed)?;
    }
    let count = refused.len();
    writeln!(io::stdout(), "{count} batches will be offered again: reload the agent (SIGHUP), or start it")
        .map_err(Trouble::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// What a sink refused. A sink that refused nothing has no quarantine.
fn refused_in(quarantine: &Path) -> Result<Vec<Refused>, Trouble> {
    match Refused::list(quarantine) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| Trouble::File { doing: "listing", path: quarantine.to_owned(), source }),
    }
}
