//! What ends a verb early, as a person sees it.

use std::{io, path::PathBuf, process::ExitCode};

use thiserror::Error;

use crate::{
    config::ConfigError,
    daemon::DaemonError,
    document::Problems,
    enrich::EnrichError,
    pipeline::LogError,
    policy::PolicyError,
    source::{ReplayError, SourceError},
    spool::SpoolError,
};

/// Why a verb did not do what it was asked for.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The agent.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The kernel half.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A recorded stream.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The process table.
    #[error(transparent)]
    Enrich(#[from] EnrichError),
    /// No agent answers.
    #[error("no agent answers at {path}: {source}; is it running, and with this configuration?")]
    NoAgent {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agent made no bundle.
    #[error("no bundle: {0}")]
    Capture(String),
    /// A file could not be used.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the agent answered is no state.
    #[error("the agent's answer makes no sense: {0}; are the versions the same?")]
    Answer(#[from] serde_json::Error),
    /// A log cannot be read, or nothing is there to read.
    #[error(transparent)]
    Log(#[from] seal::cli::UsageError),
    /// Words on the command line that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Standard output.
    #[error("writing to standard output: {0}")]
    Output(io::Error),
    /// The check that was asked for failed; the reasons are printed already.
    #[error("")]
    Failed,
}

/// What a shell tells of a program that SIGPIPE ended.
const READER_GONE: u8 = 141;

impl Trouble {
    /// Says it on standard error; the exit code.
    pub fn show(self) -> ExitCode {
        match &self {
            // a reader that went away (`| head`) wants no message
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::from(READER_GONE),
            Self::Failed => return ExitCode::FAILURE,
            Self::Config(ConfigError::Wrong(problems)) | Self::Policy(PolicyError::Wrong(problems)) => list(problems),
            other => {
                eprint!("sigtrail: {other}");
                let mut source = std::error::Error::source(other);
                while let Some(inner) = source {
                    // transparent errors have said it already
                    if !other.to_string().contains(&inner.to_string()) {
                        eprint!(": {inner}");
                    }
                    source = inner.source();
                }
                eprintln!();
            }
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Policy(_)
            | Self::Usage(_)
            | Self::Log(_)
            | Self::File { .. }
            | Self::Daemon(DaemonError::Policy(_) | DaemonError::Sink { .. } | DaemonError::Log(LogError::Keys(_))) => {
                3
            }
            _ => 1,
        }
    }
}

fn list(problems: &Problems) {
    for problem in &problems.0 {
        eprintln!("sigtrail: {problem}");
    }
}
