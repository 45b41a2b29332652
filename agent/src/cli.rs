//! The command line, one file per verb.
//!
//! Exit codes: 0 all is well; 1 it is not (a verdict, a failure at run time); 2 incomplete (`verify` only); 3 the call
//! cannot be done as it was typed (usage, a file that is not there, a config or policy that makes no sense).

mod capture;
mod config;
mod detach;
mod docs;
mod doctor;
mod enroll;
mod export;
mod log;
mod logs;
mod pages;
mod paint;
mod policy;
mod print;
mod probe;
mod report;
mod run;
mod search;
mod spool;
mod status;
mod tail;
mod top;
mod tree;
mod trouble;
mod verify;
mod when;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::config::Config;
use trouble::Trouble;

/// Who did what on this host, from the kernel, sealed so that anyone can verify it.
#[derive(Debug, Parser)]
#[command(name = "sigtrail", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str =
    "Exit codes: 0 ok · 1 failure, or a log that was tampered with · 2 a log that is incomplete · 3 usage";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Collect, seal and deliver until SIGTERM
    Run(run::Args),
    /// Show what happens on this host, live; needs no configuration and no running agent
    Tail(tail::Args),
    /// Show the running agent, live: rates, sinks, losses
    Top(top::Args),
    /// Find records of a log: by time, user, session, process, file, address, rule
    Search(Box<search::Args>),
    /// Show who started whom, and what each process did
    Tree(tree::Args),
    /// Show what a log comes to, in tables or as a page
    Report(Box<report::Args>),
    /// Write records in the words of other tools
    Export(Box<export::Args>),
    /// Check a sealed log: files, directories, bodies of requests, or `-`; or an archive, `s3://BUCKET/PREFIX`
    Verify(Box<verify::Args>),
    /// Prove one event, or that a head of the log continues an older one, by a text that stands without the log
    Prove(seal::cli::ProveArgs),
    /// Take the text of events out of files; what is left still verifies
    Redact(seal::cli::RedactArgs),
    /// Work with policies
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Show what this kernel offers, what will be used, and what is missing
    Probe(probe::Args),
    /// Capture what happened and what is there, for a responder, as one sealed bundle
    Capture(Box<capture::Args>),
    /// Ask the running agent how it is
    Status(status::Args),
    /// Look for what is wrong with this set-up, and say what to do
    Doctor(doctor::Args),
    /// Remove the programs that an agent left in the kernel, which was killed and shall not start again
    Detach(detach::Args),
    /// Make the keys of this host's log and print the enrolment note
    #[command(visible_alias = "keygen")]
    Enroll(enroll::Args),
    /// The operator's key, off the hosts: vouch for a host, revoke a host key
    #[command(subcommand)]
    Fleet(seal::cli::FleetVerb),
    /// What waits on the disk for the sinks: show, verify, repair, print, offer again
    #[command(subcommand)]
    Spool(spool::Verb),
    /// Show the configuration: with all defaults, or check a file
    Config(config::Args),
    /// Print what a shell completes command lines with: `sigtrail completions bash`
    Completions(pages::Completions),
    /// Write the reference pages
    #[command(hide = true)]
    Docs(docs::Args),
    /// Write man pages and completions
    #[command(hide = true)]
    Pages(pages::Args),
}

/// The configuration file that most verbs read.
#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// Configuration file; without one, every setting has its default
    #[arg(long, value_name = "FILE", env = "SIGTRAIL_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Trouble> {
        match &self.config {
            Some(path) => Ok(Config::load(path)?),
            None => Ok(Config::default()),
        }
    }
}

/// Runs the verb of the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are no errors; clap writes them to standard output
            let code = if error.use_stderr() { ExitCode::from(3) } else { ExitCode::SUCCESS };
            return if error.print().is_ok() { code } else { ExitCode::from(3) };
        }
    };
    let done = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Tail(args) => tail::run(&args),
        Verb::Verify(args) => return verify::run(&args),
        Verb::Prove(args) => return seal::cli::prove(&args),
        Verb::Fleet(verb) => return seal::cli::fleet(&verb),
        Verb::Redact(args) => return seal::cli::redact(&args),
        Verb::Spool(verb) => return code(spool::run(&verb)),
        Verb::Top(args) => top::run(&args),
        Verb::Search(args) => return code(search::run(&args)),
        Verb::Tree(args) => return code(tree::run(&args)),
        Verb::Report(args) => return code(report::run(&args)),
        Verb::Export(args) => return code(export::run(&args)),
        Verb::Policy(verb) => policy::run(&verb),
        Verb::Probe(args) => probe::run(&args),
        Verb::Capture(args) => capture::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Detach(args) => detach::run(&args),
        Verb::Enroll(args) => enroll::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Completions(args) => pages::complete(&args),
        Verb::Docs(args) => docs::run(&args),
        Verb::Pages(args) => pages::write(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.show(),
    }
}

/// The exit code of a verb that has more than two.
fn code(done: Result<ExitCode, Trouble>) -> ExitCode {
    done.unwrap_or_else(Trouble::show)
}
