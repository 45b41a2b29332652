//! `sigtrail status`: how the running agent is.

use std::{
    io::{self, Read as _, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::{
    ConfigFile,
    paint::{Colour, Paint},
    trouble::Trouble,
};
use crate::daemon::control::{AgentStatus, SOCKET};

/// Ask the running agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// For a machine
    #[arg(long)]
    json: bool,
}

/// An answer is never longer.
const LIMIT: u64 = 1 << 20;

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let (answer, status) = ask(&args.config.load()?.runtime_dir.join(SOCKET))?;
    let mut out = io::stdout().lock();
    let shown = if args.json { writeln!(out, "{answer}") } else { show(&mut out, &status) };
    shown.map_err(Trouble::Output)?;
    // nothing durable yet: not ready
    if status.pipeline.last_batch.is_none() { Err(Trouble::Failed) } else { Ok(()) }
}

/// The answer of the agent at a control socket: as it came, and read.
pub(super) fn ask(path: &Path) -> Result<(String, AgentStatus), Trouble> {
    let mut answer = String::new();
    let asked = UnixStream::connect(path).and_then(|stream| stream.take(LIMIT).read_to_string(&mut answer));
    asked.map_err(|source| Trouble::NoAgent { path: path.to_owned(), source })?;
    let status = serde_json::from_str(&answer)?;
    Ok((answer, status))
}

fn show(out: &mut impl Write, status: &AgentStatus) -> io::Result<()> {
    let paint = Paint::stdout();
    let pipeline = &status.pipeline;
    writeln!(out, "sigtrail {} (pid {}), log {}", status.version, status.pid, pipeline.origin)?;
    let total = pipeline.total;
    let lost = if total.lost == 0 { Colour::Green } else { Colour::Red };
    writeln!(
        out,
        "events   {} received, {} kept, {}",
        total.received,
        total.kept,
        paint.text(lost, format!("{} lost", total.lost))
    )?;
    for counts in &pipeline.counts {
        let (hook, seen, filtered) = (&counts.hook, counts.seen, counts.filtered);
        writeln!(
            out,
            "  {hook:<20} {seen} seen, {filtered} not wanted, {} sent, {} lost, {} cut short",
            counts.sent, counts.lost, counts.truncated
        )?;
    }
    let down: Vec<_> = pipeline.hooks.iter().filter_map(|hook| Some((hook, hook.degraded.as_ref()?))).collect();
    writeln!(
        out,
        "hooks    {} attached ({}), {} degraded",
        pipeline.hooks.len() - down.len(),
        pipeline.family,
        down.len()
    )?;
    for (hook, why) in down {
        writeln!(out, "  {} {}: {why}", paint.text(Colour::Red, &hook.program), hook.at)?;
    }
    writeln!(out, "rate     {} events a second", pipeline.rate)?;
    writeln!(out, "process  {} known", pipeline.processes)?;
    let none = || "none".to_owned();
    let sealed = pipeline.last_sealed.clone().unwrap_or_else(none);
    let number = pipeline.last_batch.map_or_else(none, |number| number.to_string());
    writeln!(out, "sealed   batch {number} at {sealed}")?;
    writeln!(out, "head     {}", pipeline.head.clone().unwrap_or_else(none))?;
    writeln!(out, "spool    {} KiB", pipeline.spool_bytes / 1024)?;
    if let Some(time) = pipeline.selftest {
        writeln!(out, "test     an event of our own was sealed at {}", seal::text::time(time * 1_000_000_000))?;
    }
    for why in &pipeline.unconfined {
        writeln!(out, "  {}", paint.text(Colour::Yellow, why))?;
    }
    if let Some(trouble) = &pipeline.trouble {
        writeln!(out, "  {}", paint.text(Colour::Red, trouble))?;
    }
    for sink in &status.sinks {
        let delivered = sink.delivered.map_or_else(none, |batch| batch.to_string());
        writeln!(
            out,
            "sink     {}: delivered up to {delivered}, {} behind, {} retries, {} missed",
            sink.name, sink.lag, sink.retries, sink.missed
        )?;
        if let Some(trouble) = &sink.trouble {
            writeln!(out, "  {}", paint.text(Colour::Red, trouble))?;
        }
    }
    Ok(())
}
