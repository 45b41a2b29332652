//! The command line of the verifier: `sigtrail-verify` and `sigtrail verify` are this.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use crate::note::Vkey;
use crate::proof::Checkpoint;
use crate::quorum::Policy;
use crate::verify::{Finding, Report, Severity, Trust, Verdict, Verifier, What};

mod input;
mod print;

pub use input::InputError;

/// What to verify, and what is known before.
#[derive(Args, Clone, Debug, Default)]
pub struct VerifyArgs {
    /// Files and directories with a sealed log, `-` for standard input; zstd, gzip and spool segments are recognised
    #[arg(value_name = "FILE|DIR|-", required = true)]
    pub inputs: Vec<PathBuf>,
    /// A host key known to be right (name+id+key), or a file with one a line; may be given more than once
    #[arg(long = "key", value_name = "VKEY|FILE")]
    pub keys: Vec<String>,
    /// A head known from elsewhere ("origin size root"), or a file with one a line; may be given more than once
    #[arg(long = "known-head", value_name = "HEAD|FILE")]
    pub heads: Vec<String>,
    /// The input is known to begin with this batch
    #[arg(long, value_name = "BATCH")]
    pub from: Option<u64>,
    /// A policy in the form of C2SP tlog-policy: which logs, and which witnesses must have cosigned
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Why nothing can be verified: the fault of the call, not of the log.
#[derive(Debug, Error)]
pub enum UsageError {
    /// Neither a key nor a file with keys.
    #[error("--key {0}: neither a verifier key (name+id+key) nor a file with one a line")]
    Key(String),
    /// Neither a head nor a file with heads.
    #[error("--known-head {0}: neither a head (\"origin size root\") nor a file with one a line")]
    Head(String),
    /// No policy.
    #[error("--policy {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A path that cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Output(#[source] io::Error),
}

/// Verifies and prints; the exit code is 0 for verified, 1 for tampered, 2 for incomplete, 3 for a wrong call.
pub fn verify(args: &VerifyArgs) -> ExitCode {
    let printed = report(args).and_then(|(report, names)| {
        let text = if args.json { print::json(&report, &names) } else { print::human(&report, &names) };
        io::stdout().write_all(text.as_bytes()).map_err(UsageError::Output)?;
        Ok(report.verdict())
    });
    match printed {
        Ok(Verdict::Verified) => ExitCode::SUCCESS,
        Ok(Verdict::Found(Severity::Tampered)) => ExitCode::from(1),
        Ok(Verdict::Found(Severity::Incomplete)) => ExitCode::from(2),
        Err(error) => {
            eprintln!("sigtrail verify: {error}");
            ExitCode::from(3)
        }
    }
}

/// Verifies; the names are those of the inputs by the numbers in the findings.
pub fn report(args: &VerifyArgs) -> Result<(Report, Vec<String>), UsageError> {
    let trust = Trust {
        pins: each(&args.keys, |text| Vkey::parse(text).ok(), UsageError::Key)?,
        heads: each(&args.heads, Checkpoint::from_line, UsageError::Head)?,
        from: args.from,
        policy: args.policy.as_deref().map(policy).transpose()?,
    };
    let inputs = input::find(&args.inputs)?;
    let mut verifier = Verifier::new(trust);
    let mut extra = Vec::new();
    let mut names = Vec::new();
    let progress = io::stderr().is_terminal();
    for (number, one) in inputs.iter().enumerate() {
        let told = progress.then(|| format!("input {} of {}", number + 1, inputs.len()));
        names.push(one.name());
        let at = verifier.inputs();
        if !one.is_log {
            // keeps the numbers of inputs and names in step
            verifier.end(false);
            extra.push(Finding { batch: None, input: at, line: 0, what: What::NotALog });
        } else if let Err(error) = one.read(&mut verifier, told) {
            extra.push(Finding { batch: None, input: at, line: 0, what: What::Unreadable(error.to_string()) });
        }
    }
    let mut report = verifier.finish();
    for finding in extra {
        report.found(finding);
    }
    Ok((report, names))
}

fn policy(path: &Path) -> Result<Policy, UsageError> {
    let wrong = |why: String| UsageError::Policy { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Policy::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// Each text is a value itself, or names a file with one value a line.
fn each<T>(
    texts: &[String],
    read: impl Fn(&str) -> Option<T>,
    wrong: impl Fn(String) -> UsageError,
) -> Result<Vec<T>, UsageError> {
    let mut values = Vec::new();
    for text in texts {
        if let Some(value) = read(text) {
            values.push(value);
            continue;
        }
        let file = std::fs::read_to_string(text).map_err(|_| wrong(text.clone()))?;
        let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let before = values.len();
        for line in lines {
            values.push(read(line).ok_or_else(|| wrong(text.clone()))?);
        }
        if values.len() == before {
            return Err(wrong(text.clone()));
        }
    }
    Ok(values)
}
