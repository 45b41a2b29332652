//! `sigtrail status`: how the running agent is.

use std::{io::Read as _, os::unix::net::UnixStream};

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
    let path = args.config.load()?.runtime_dir.join(SOCKET);
    let mut answer = String::new();
    let asked = UnixStream::connect(&path).and_then(|stream| stream.take(LIMIT).read_to_string(&mut answer));
    asked.map_err(|source| Trouble::NoAgent { path, source })?;
    let status: AgentStatus = serde_json::from_str(&answer)?;
    if args.json {
        println!("{answer}");
    } else {
        show(&status);
    }
    // nothing durable yet: not ready
    if status.pipeline.last_batch.is_none() { Err(Trouble::Failed) } else { Ok(()) }
}

fn show(status: &AgentStatus) {
    let paint = Paint::stdout();
    let pipeline = &status.pipeline;
    println!("sigtrail {} (pid {}), log {}", status.version, status.pid, pipeline.origin);
    let total = pipeline.total;
    let lost = if total.lost == 0 { Colour::Green } else { Colour::Red };
    println!(
        "events   {} received, {} kept, {}",
        total.received,
        total.kept,
        paint.text(lost, format!("{} lost", total.lost))
    );
    for counts in &pipeline.counts {
        let (hook, seen, filtered) = (&counts.hook, counts.seen, counts.filtered);
        println!(
            "  {hook:<20} {seen} seen, {filtered} not wanted, {} sent, {} lost, {} cut short",
            counts.sent, counts.lost, counts.truncated
        );
    }
    let down: Vec<_> = pipeline.hooks.iter().filter_map(|hook| Some((hook, hook.degraded.as_ref()?))).collect();
    println!("hooks    {} attached ({}), {} degraded", pipeline.hooks.len() - down.len(), pipeline.family, down.len());
    for (hook, why) in down {
        println!("  {} {}: {why}", paint.text(Colour::Red, &hook.program), hook.at);
    }
    println!("rate     {} events a second", pipeline.rate);
    println!("process  {} known", pipeline.processes);
    let none = || "none".to_owned();
    let sealed = pipeline.last_sealed.clone().unwrap_or_else(none);
    let number = pipeline.last_batch.map_or_else(none, |number| number.to_string());
    println!("sealed   batch {number} at {sealed}");
    println!("head     {}", pipeline.head.clone().unwrap_or_else(none));
    println!("spool    {} KiB", pipeline.spool_bytes / 1024);
    if let Some(trouble) = &pipeline.trouble {
        println!("  {}", paint.text(Colour::Red, trouble));
    }
    for sink in &status.sinks {
        let delivered = sink.delivered.map_or_else(none, |batch| batch.to_string());
        println!(
            "sink     {}: delivered up to {delivered}, {} behind, {} retries, {} missed",
            sink.name, sink.lag, sink.retries, sink.missed
        );
        if let Some(trouble) = &sink.trouble {
            println!("  {}", paint.text(Colour::Red, trouble));
        }
    }
}
