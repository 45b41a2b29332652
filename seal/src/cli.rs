//! The command line of the auditor: `sigtrail-verify` and `sigtrail verify`; and `prove` and `redact`, which read and
//! write the same files.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Parser};
use thiserror::Error;

use crate::note::Vkey;
use crate::proof::Checkpoint;
use crate::quorum::Policy;
use crate::revocation::Revocation;
use crate::text::untime;
use crate::verify::{Finding, Report, Severity, Trust, Verdict, Verifier, What};

mod archive;
mod bundle;
mod fleet;
mod input;
mod parallel;
mod print;
mod proof;
mod prove;
mod read;
mod redact;
mod stamp;

pub use archive::{Archive, Object, verify_archive};
pub use bundle::{Checked, check_bundle};
pub use fleet::{FleetVerb, fleet};
pub use input::InputError;
pub use prove::{ProveArgs, prove};
pub use read::{Opened, ReadArgs, Reading, read};
pub use redact::{RedactArgs, redact};

use input::{Identities, Input, Kind};
use print::Inputs;
use stamp::Stamp;

/// Verify a sealed log of sigtrail
///
/// Exit code: 0 verified, 1 tampered, 2 incomplete, 3 wrong call.
#[derive(Debug, Parser)]
#[command(name = "sigtrail-verify", version)]
pub struct Auditor {
    /// What to verify.
    #[command(flatten)]
    pub verify: VerifyArgs,
}

/// What to verify, and what is known before.
#[derive(Args, Clone, Debug, Default)]
pub struct VerifyArgs {
    /// Files and directories with sealed logs, of one host or of many, with proofs that `sigtrail prove` made, or bundles
    /// of `sigtrail capture`; `-` for standard input. zstd, gzip, age and spool segments are recognised
    #[arg(value_name = "FILE|DIR|-", required = true)]
    pub inputs: Vec<PathBuf>,
    /// A host key known to be right (name+id+key), or a file with one a line; may be given more than once
    #[arg(long = "key", value_name = "VKEY|FILE")]
    pub keys: Vec<String>,
    /// A head known from elsewhere ("origin size root"), or a file with one a line; may be given more than once
    #[arg(long = "known-head", value_name = "HEAD|FILE")]
    pub heads: Vec<String>,
    /// A note that revokes a host key, made by `sigtrail fleet revoke`; may be given more than once
    #[arg(long = "revoked", value_name = "FILE", requires = "fleet")]
    pub revoked: Vec<PathBuf>,
    /// A key that may revoke (name+id+key), or a file with one a line; may be given more than once
    #[arg(long, value_name = "VKEY|FILE")]
    pub fleet: Vec<String>,
    /// The input is known to begin with this batch
    #[arg(long, value_name = "BATCH")]
    pub from: Option<u64>,
    /// A policy in the form of C2SP tlog-policy: which logs, and which witnesses must have cosigned
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A time stamp of RFC 3161 over a head of the log: FILE.tsr, and beside it FILE with the text of the checkpoint; may
    /// be given more than once. It is checked by the openssl command
    #[arg(long = "stamp", value_name = "FILE.tsr", requires = "tsa")]
    pub stamps: Vec<PathBuf>,
    /// Certificates, in PEM, of the time stamp authority that is believed
    #[arg(long, value_name = "FILE")]
    pub tsa: Option<PathBuf>,
    /// Report on what was sealed at this time (RFC 3339, in UTC) or later; what is before may be incomplete, but not changed
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
    /// A file with age identities (AGE-SECRET-KEY-1…) to decrypt with; may be given more than once
    #[arg(long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
    /// A host is silent when its last batch is older than this, by its own clock: 90s, 10m, 36h or 2d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub silent_after: Option<u64>,
    /// The time that is taken for now (RFC 3339, in UTC)
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "silent_after")]
    pub now: Option<u64>,
    /// How many logs are verified at once; as many as there are cores if it is not given
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Print the report as JSON: one object for each log or proof
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
    /// Neither a key nor a file with keys.
    #[error("--fleet {0}: neither a verifier key (name+id+key) nor a file with one a line")]
    Fleet(String),
    /// No revocation.
    #[error("--revoked {}: {why}", path.display())]
    Revoked {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No time stamp.
    #[error("--stamp {}: {why}", path.display())]
    Stamp {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No file with identities.
    #[error("--identity {path}{}: {why}", .line.map_or_else(String::new, |line| format!(", line {line}")))]
    Identity {
        /// The file.
        path: String,
        /// The line of it, counted from 1.
        line: Option<usize>,
        /// Why.
        why: String,
    },
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
    /// An archive cannot be read, or not to its end.
    #[error("{0}")]
    Archive(String),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Output(#[source] io::Error),
}

/// Verifies and prints; the exit code is that of the worst log or proof: 0 for verified, 1 for tampered, 2 for incomplete.
/// 3 is for a wrong call.
pub fn verify(args: &VerifyArgs) -> ExitCode {
    exit_code(verify_to(args, &mut io::stdout().lock()))
}

fn exit_code(verdict: Result<Verdict, UsageError>) -> ExitCode {
    match verdict {
        Ok(Verdict::Verified) => ExitCode::SUCCESS,
        Ok(Verdict::Found(Severity::Tampered)) => ExitCode::from(1),
        Ok(Verdict::Found(Severity::Incomplete)) => ExitCode::from(2),
        Err(error) => {
            eprintln!("sigtrail verify: {error}");
            ExitCode::from(3)
        }
    }
}

/// What is known before anything is read: whom to trust, and time stamps. Heads that are stamped are known heads.
fn known(args: &VerifyArgs) -> Result<(Trust, Vec<Stamp>), UsageError> {
    let fleet = each(&args.fleet, |text| Vkey::parse(text).ok(), UsageError::Fleet)?;
    let stamps = args.stamps.iter().zip(args.tsa.iter().cycle()).map(|(path, tsa)| stamp::read(path, tsa));
    let stamps = stamps.collect::<Result<Vec<_>, _>>()?;
    let mut trust = Trust {
        pins: each(&args.keys, |text| Vkey::parse(text).ok(), UsageError::Key)?,
        heads: each(&args.heads, Checkpoint::from_line, UsageError::Head)?,
        revoked: args.revoked.iter().map(|path| revoked(path, &fleet)).collect::<Result<_, _>>()?,
        from: args.from,
        since: args.since,
        policy: args.policy.as_deref().map(policy).transpose()?,
    };
    trust.heads.extend(stamps.iter().filter(|stamp| stamp.time.is_some()).map(|stamp| stamp.checkpoint.clone()));
    Ok((trust, stamps))
}

/// Since when a host must have been heard of, or it is silent.
fn heard_since(args: &VerifyArgs) -> Option<u64> {
    let now = args.now.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64);
    args.silent_after.map(|longest| now.saturating_sub(longest))
}

/// Verifies and writes the report: the worst verdict.
///
/// # Errors
/// Nothing could be verified.
pub fn verify_to(args: &VerifyArgs, out: &mut impl io::Write) -> Result<Verdict, UsageError> {
    let (trust, stamps) = known(args)?;
    let jobs = args.jobs.unwrap_or_else(parallel::cores);
    let inputs = input::find(&args.inputs, &identities(&args.identities)?, jobs)?;
    let (bundles, inputs): (Vec<_>, Vec<_>) = inputs.iter().partition(|input| input.kind == Kind::Bundle);
    let (proofs, logs): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| input.kind == Kind::Proof);
    let mut worst = Verdict::Verified;
    let mut tell = |text: String, verdict: Verdict| {
        worst = worst.max(verdict);
        out.write_all(text.as_bytes()).map_err(UsageError::Output)
    };
    for input in &bundles {
        let checked = match input.open() {
            Ok(reader) => check_bundle(reader, trust.clone()),
            Err(error) => return Err(InputError::Path { path: input.name(), error }.into()),
        };
        let text = if args.json { checked.json(&input.name()) } else { checked.human(&input.name()) };
        tell(text, checked.verdict())?;
    }
    for input in proofs {
        let checked = proof::check(input, &trust, &stamps);
        let text = if args.json { checked.json() } else { checked.human() };
        tell(text, checked.verdict())?;
    }
    let known: Vec<_> = trust.heads.iter().chain(stamps.iter().map(|stamp| &stamp.checkpoint)).collect();
    let logs = by_log(logs, &known);
    let many = logs.len() > 1;
    let manner = Manner { stamps: &stamps, json: args.json, many, heard_since: heard_since(args) };
    let verify_one = |log: &Log| {
        let mut trust = trust.clone();
        trust.heads.retain(|head| !many || Some(&*head.origin) == log.origin);
        let (report, inputs) = report(log, trust, !many);
        manner.tell(report, &inputs, log.origin)
    };
    let mut verdicts = BTreeMap::<Verdict, usize>::new();
    let mut silent = 0;
    parallel::in_order(&logs, jobs, verify_one, |told| {
        *verdicts.entry(told.verdict).or_default() += 1;
        silent += usize::from(told.silent);
        tell(told.text, told.verdict)
    })?;
    if many && !args.json {
        tell(print::total(&verdicts, silent), Verdict::Verified)?;
    }
    Ok(worst)
}

/// How the logs are told of.
#[derive(Clone, Copy)]
struct Manner<'a> {
    stamps: &'a [Stamp],
    json: bool,
    many: bool,
    heard_since: Option<u64>,
}

/// What is said about a log.
struct Told {
    text: String,
    verdict: Verdict,
    silent: bool,
}

impl Manner<'_> {
    /// The last that is found, and the text about all.
    fn tell(&self, mut report: Report, inputs: &Inputs, origin: Option<&str>) -> Told {
        // no input's: it is found at the end of all
        let input = usize::MAX;
        let of_log = |stamp: &&Stamp| !self.many || Some(&*stamp.checkpoint.origin) == origin;
        let stamps: Vec<_> = self.stamps.iter().filter(of_log).collect();
        for stamp in stamps.iter().filter(|stamp| stamp.time.is_none()) {
            let what = What::Stamp(stamp.name.clone());
            report.found(Finding { batch: None, input, line: 0, what });
        }
        if let Some(time) = self.heard_since {
            report.heard_since(time, input);
        }
        report.origin = report.origin.or(origin.map(str::to_owned));
        let text = match (self.json, self.many) {
            (true, _) => print::json(&report, inputs, &stamps),
            (false, false) => print::human(&report, inputs, &stamps),
            (false, true) => print::line(&report, inputs),
        };
        Told { text, verdict: report.verdict(), silent: report.silent.is_some() }
    }
}

/// A log, and where it is.
struct Log<'a> {
    origin: Option<&'a str>,
    /// Where there is nothing of it, if that is all that is known.
    directory: Option<String>,
    inputs: Vec<&'a Input>,
}

/// The inputs of each log, by its origin. What belongs to none that can be told belongs to the only one, or stands for
/// itself. Among many, a log of which only a head is known has no inputs. Directories of which not even the origin is
/// known come last.
fn by_log<'a>(inputs: Vec<&'a Input>, heads: &[&'a Checkpoint]) -> Vec<Log<'a>> {
    let (inputs, unknown): (Vec<_>, Vec<_>) =
        inputs.into_iter().partition(|input| input.kind != Kind::Nothing || input.origin.is_some());
    let mut logs = BTreeMap::<Option<&str>, Vec<&Input>>::new();
    for input in &inputs {
        logs.entry(input.origin.as_deref()).or_default().push(input);
    }
    if logs.len() == 2 && unknown.is_empty() && logs.contains_key(&None) {
        // the only log, and what is of none: together, in the order they have
        return vec![Log { origin: logs.into_keys().flatten().next(), directory: None, inputs }];
    }
    if logs.len() + unknown.len() > 1 {
        for head in heads {
            logs.entry(Some(&head.origin)).or_default();
        }
    }
    let logs = logs.into_iter().map(|(origin, inputs)| Log { origin, directory: None, inputs });
    let unknown =
        unknown.into_iter().map(|input| Log { origin: None, directory: Some(input.name()), inputs: vec![input] });
    logs.chain(unknown).collect()
}

/// Verifies one log, and tells its progress if it is alone.
fn report(log: &Log, trust: Trust, alone: bool) -> (Report, Inputs) {
    let mut verifier = Verifier::new(trust);
    let mut extra = Vec::new();
    let mut names = BTreeMap::new();
    let progress = alone && io::stderr().is_terminal();
    for (number, one) in log.inputs.iter().enumerate() {
        let told = progress.then(|| format!("input {} of {}", number + 1, log.inputs.len()));
        let at = verifier.inputs();
        names.insert(at, one.name());
        let mut find = |what| extra.push(Finding { batch: None, input: at, line: 0, what });
        match one.kind {
            Kind::Log => {
                if let Err(error) = one.read(&mut verifier, told) {
                    find(What::Unreadable(error.to_string()));
                }
                continue;
            }
            Kind::Encrypted => find(What::Encrypted),
            Kind::Proof | Kind::Bundle | Kind::Other => find(What::NotALog),
            Kind::Nothing => {}
        }
        // keeps the numbers of inputs and names in step
        verifier.end(false);
    }
    let mut report = verifier.finish();
    for finding in extra {
        report.found(finding);
    }
    (report, Inputs { names, directory: log.directory.clone(), ..Inputs::default() })
}

/// The identities in the files, one a line, as age-keygen(1) writes them.
fn identities(paths: &[PathBuf]) -> Result<Identities, UsageError> {
    let mut found = Vec::new();
    for path in paths {
        let wrong =
            |line, why: &str| UsageError::Identity { path: path.display().to_string(), line, why: why.to_owned() };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(None, &error.to_string()))?;
        let before = found.len();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if !line.is_empty() && !line.starts_with('#') {
                let expected = "no X25519 identity: a line is `AGE-SECRET-KEY-1…`, as age-keygen writes it";
                found.push(line.parse().map_err(|_| wrong(Some(number), expected))?);
            }
        }
        if found.len() == before {
            return Err(wrong(None, "no identity in the file: a line is `AGE-SECRET-KEY-1…`"));
        }
    }
    Ok(Identities::from(found))
}

/// A time as people write it: `2026-11-22`, `2026-11-22T21:06:20Z`, or with a fraction of the second.
fn moment(text: &str) -> Result<u64, String> {
    let whole = match text.strip_suffix('Z') {
        None => format!("{text}T00:00:00.000000000Z"),
        Some(time) => match time.split_once('.') {
            None => format!("{time}.000000000Z"),
            Some((second, fraction)) => format!("{second}.{fraction:0<9}Z"),
        },
    };
    untime(&whole).ok_or_else(|| "a time is `2026-11-22` or `2026-11-22T21:06:20Z`, in UTC".to_owned())
}

/// A time span as people write it: `90s`, `10m`, `36h`, `2d`; in nanoseconds.
fn span(text: &str) -> Result<u64, String> {
    let seconds = |unit| match unit {
        's' => Some(1_u64),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let wrong = || "a time span is a number with its unit: `90s`, `10m`, `36h` or `2d`".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    let nanoseconds = seconds(unit).and_then(|unit| number.checked_mul(unit)?.checked_mul(1_000_000_000));
    nanoseconds.filter(|it| *it > 0).ok_or_else(wrong)
}

fn policy(path: &Path) -> Result<Policy, UsageError> {
    let wrong = |why: String| UsageError::Policy { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Policy::parse(&text).map_err(|error| wrong(error.to_string()))
}

fn revoked(path: &Path, fleet: &[Vkey]) -> Result<Revocation, UsageError> {
    let wrong = |why: String| UsageError::Revoked { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Revocation::verify(&text, fleet).map_err(|error| wrong(error.to_string()))
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
