//! The logs that `search`, `tree`, `report` and `export` read, and which records of them.

use std::{ops::ControlFlow, path::PathBuf, process::ExitCode};

use clap::{ArgAction, ValueEnum};
use memchr::memmem::Finder;
use seal::{
    Header,
    cli::{Opened, ReadArgs, Reading},
};

use super::{ConfigFile, trouble::Trouble, when::when};
use crate::{
    config::{Config, Sink},
    daemon,
    policy::pattern::{Net, Pattern},
    review::{
        Filter, Item,
        filter::{beginning, glob},
    },
};

/// Which log to read.
#[derive(Debug, clap::Args)]
pub struct Logs {
    #[command(flatten)]
    pub read: ReadArgs,
    #[command(flatten)]
    config: ConfigFile,
}

impl Logs {
    /// What to read: what is named here, else what the configuration says that the agent of this host writes.
    pub fn named(&self, read: ReadArgs) -> Result<ReadArgs, Trouble> {
        if !read.inputs.is_empty() {
            return Ok(read);
        }
        let inputs = written(&self.config.load()?);
        for input in &inputs {
            eprintln!("sigtrail: reading {}", input.display());
        }
        Ok(ReadArgs { inputs, ..read })
    }
}

/// The directories of the file sinks that are there, else the spool.
fn written(config: &Config) -> Vec<PathBuf> {
    let dir = |sink: &Sink| match sink {
        Sink::File(file) if file.dir.is_dir() => Some(file.dir.clone()),
        _ => None,
    };
    let dirs: Vec<_> = config.sinks.iter().filter_map(dir).collect();
    if dirs.is_empty() { vec![daemon::spool_dir(config)] } else { dirs }
}

/// Which records are wanted: all that is given must hold; of what is given more than once, one.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which records")]
pub struct Which {
    /// At this time or later: 2026-11-24, "2026-11-24 08:30" (UTC), "10 min ago", today, yesterday, boot
    #[arg(long, short = 'S', value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    pub since: Option<u64>,
    /// At this time or earlier
    #[arg(long, short = 'U', value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    pub until: Option<u64>,
    /// Of these kinds; `*` and `?` as in a shell
    #[arg(long, short = 'k', value_name = "KIND", value_delimiter = ',', value_parser = pattern)]
    kind: Vec<Pattern>,
    /// With the rights of this user, or logged in as this one: a name or a number
    #[arg(long, short = 'u', value_name = "USER")]
    user: Vec<String>,
    /// In this login session
    #[arg(long, value_name = "ID")]
    session: Vec<i64>,
    /// By this process id
    #[arg(long, short = 'p', value_name = "PID")]
    pid: Vec<i64>,
    /// By this program: its path, the last part of it, or what the process calls itself; `*` and `?` as in a shell
    #[arg(long, value_name = "EXE", value_parser = pattern)]
    process: Vec<Pattern>,
    /// About this file; `*` (of any length, `/` too) and `?`
    #[arg(long, short = 'f', value_name = "GLOB", value_parser = pattern)]
    path: Vec<Pattern>,
    /// With this internet address on either end: 192.0.2.7 or 192.0.2.0/24
    #[arg(long, value_name = "CIDR", value_parser = net)]
    address: Vec<Net>,
    /// That this rule kept
    #[arg(long, visible_alias = "key", value_name = "RULE", value_parser = pattern)]
    rule: Vec<Pattern>,
    /// Of this systemd unit
    #[arg(long, value_name = "UNIT", value_parser = pattern)]
    unit: Vec<Pattern>,
    /// Of this container; the beginning of its id will do
    #[arg(long, value_name = "ID", value_parser = start)]
    container: Vec<Pattern>,
    /// Only what succeeded
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "failed")]
    success: bool,
    /// Only what failed
    #[arg(long, action = ArgAction::SetTrue)]
    failed: bool,
    /// With this verdict
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<Verdict>,
    /// With this text anywhere in the line
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
}

/// Verdicts that records have.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    Keep,
    Alert,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    glob(text).map_err(|error| error.to_string())
}

fn start(text: &str) -> Result<Pattern, String> {
    beginning(text).map_err(|error| error.to_string())
}

fn net(text: &str) -> Result<Net, String> {
    Net::parse(text).map_err(|error| error.to_string())
}

impl Which {
    /// The filter.
    pub fn filter(&self) -> Filter {
        Filter {
            since: self.since,
            until: self.until,
            kinds: self.kind.clone(),
            users: self.user.clone(),
            sessions: self.session.clone(),
            pids: self.pid.clone(),
            processes: self.process.clone(),
            paths: self.path.clone(),
            nets: self.address.clone(),
            rules: self.rule.clone(),
            units: self.unit.clone(),
            containers: self.container.clone(),
            success: if self.failed { Some(false) } else { self.success.then_some(true) },
            verdict: self.verdict.map(|verdict| match verdict {
                Verdict::Keep => "keep".to_owned(),
                Verdict::Alert => "alert".to_owned(),
            }),
            texts: self.text.iter().map(|text| Finder::new(text).into_owned()).collect(),
        }
    }
}

/// A record that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Its line.
    pub line: &'a [u8],
    /// What is in it.
    pub item: &'a Item<'a>,
    /// Its place in the batch.
    pub index: u64,
    /// The batch.
    pub batch: Opened<'a>,
}

impl Hit<'_> {
    /// When the batch was sealed, in nanoseconds since 1970.
    pub fn sealed(&self) -> Option<u64> {
        self.batch.header.map(|header| header.facts.wall.1)
    }
}

/// What is found on the way through a log.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A batch begins, which has a seal.
    Batch(&'a Header),
    /// A record of it is wanted.
    Record(Hit<'a>),
}

/// Gives each batch, and each record of it that is wanted, as far as `each` wants. Lines that are no records are told as a
/// trouble.
pub fn each(
    read: &ReadArgs,
    filter: &Filter,
    mut each: impl FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<Reading, Trouble> {
    let mut strange = 0_u64;
    let mut reading = seal::cli::read(read, |opened| {
        opened.header.map_or(ControlFlow::Continue(()), |header| each(Found::Batch(header)))?;
        let sealed = opened.header.map(|header| header.facts.wall.1);
        for (index, line) in opened.lines() {
            if !filter.may_want(line) {
                continue;
            }
            let Some(item) = Item::parse(line) else {
                strange += 1;
                continue;
            };
            if filter.wants(&item, sealed) {
                each(Found::Record(Hit { line, item: &item, index, batch: opened }))?;
            }
        }
        ControlFlow::Continue(())
    })?;
    if strange > 0 {
        reading.troubles.push(format!("{strange} lines are no records"));
    }
    Ok(reading)
}

/// Ends with 2 when something could not be read.
const INCOMPLETE: u8 = 2;

/// Says on standard error what is not among the records; the exit code.
pub fn told(reading: &Reading, found: bool) -> ExitCode {
    for trouble in &reading.troubles {
        eprintln!("sigtrail: {trouble}");
    }
    for (count, what) in [
        (reading.redacted, "records are redacted: their text is gone, their place is not"),
        (reading.absent, "records are not here: of their batches there are only the seals"),
    ] {
        if count > 0 {
            eprintln!("sigtrail: {count} {what}");
        }
    }
    match (found, reading.troubles.is_empty()) {
        (_, false) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
        (false, true) => ExitCode::FAILURE,
    }
}
