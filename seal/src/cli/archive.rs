//! Logs that are not in files: an archive that the caller knows how to read, object by object. What is held in memory does
//! not grow with it.

use std::io::{self, BufRead, Write as _};
use std::process::ExitCode;

use super::input::{Identities, Packing, decoded};
use super::print::Inputs;
use super::{Manner, UsageError, VerifyArgs, exit_code, heard_since, identities, known};
use crate::verify::{Finding, Report, Trust, Verdict, Verifier, What};

/// An archive of logs.
pub trait Archive {
    /// The next object, `None` at the end: log by log, and in a log in the order of the batches.
    fn next(&mut self) -> Option<Result<Object, String>>;
    /// What is to be said of the archive as a whole, once it is read.
    fn remark(&self) -> Option<String>;
}

/// Some batches of a log.
pub struct Object {
    /// What it is called, in findings.
    pub name: String,
    /// The log that it says it is of.
    pub origin: String,
    /// What is to be said of it, whatever is in it.
    pub remark: Option<String>,
    /// Its bytes, plain or packed; `None` if there are none to be had.
    pub bytes: Option<io::Result<Box<dyn BufRead + Send>>>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("name", &self.name).field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Verifies an archive, and prints and exits as [`super::verify`] does. The inputs of `args` are not looked at.
pub fn verify_archive(args: &VerifyArgs, archive: &mut dyn Archive) -> ExitCode {
    exit_code(verify_all(args, archive))
}

fn verify_all(args: &VerifyArgs, archive: &mut dyn Archive) -> Result<Verdict, UsageError> {
    let (trust, stamps) = known(args)?;
    let identities = identities(&args.identities)?;
    let mut heads: Vec<_> = trust.heads.iter().map(|head| head.origin.clone()).collect();
    let manner = Manner { stamps: &stamps, json: args.json, many: false, heard_since: heard_since(args) };
    let mut tell = Tell { manner, held: None, logs: 0, worst: Verdict::Verified };
    let mut open: Option<Log> = None;
    while let Some(object) = archive.next() {
        let object = object.map_err(UsageError::Archive)?;
        if open.as_ref().is_none_or(|log| log.origin != object.origin) {
            heads.retain(|origin| *origin != object.origin);
            if let Some(log) = open.replace(Log::begin(&object.origin, &trust)) {
                tell.log(log)?;
            }
        }
        if let Some(log) = &mut open {
            log.read(object, &identities);
        }
    }
    // A log of which only a head is known is missing; without any log it is the one that is missing.
    heads.sort_unstable();
    heads.dedup();
    for log in open.into_iter().chain(heads.iter().map(|origin| Log::begin(origin, &trust))) {
        tell.log(log)?;
    }
    if tell.logs == 0 {
        let why = archive.remark().map_or_else(String::new, |remark| format!(" ({remark})"));
        return Err(UsageError::Archive(format!("there is no log in the archive{why}")));
    }
    tell.end(archive.remark())
}

/// A log that is being read.
struct Log {
    origin: String,
    verifier: Verifier,
    inputs: Inputs,
    /// What the verifier cannot find, because it is not in the lines.
    more: Vec<Finding>,
}

impl Log {
    /// Most findings that are kept of `more`: as many as of others.
    const MORE: usize = 1000;

    fn begin(origin: &str, trust: &Trust) -> Self {
        let mut trust = trust.clone();
        trust.heads.retain(|head| head.origin == origin);
        let verifier = Verifier::new(trust);
        Self { origin: origin.to_owned(), verifier, inputs: Inputs::default(), more: Vec::new() }
    }

    fn read(&mut self, object: Object, identities: &Identities) {
        if let Some(remark) = object.remark {
            self.inputs.remarks.push(remark);
        }
        let Some(bytes) = object.bytes else { return };
        let (at, before) = (self.verifier.inputs(), self.verifier.report().findings.count());
        let wrong = match bytes.and_then(|bytes| decoded(bytes, identities)) {
            Ok((_, Packing::Age)) if identities.is_empty() => Some(What::Encrypted),
            Ok((lines, _)) => self.verifier.read(lines).err().map(|error| What::Unreadable(error.to_string())),
            Err(error) => Some(What::Unreadable(error.to_string())),
        };
        if self.verifier.inputs() == at {
            // keeps the numbers of inputs in step
            self.verifier.end(false);
        }
        let findings = self.verifier.report().findings.count();
        if (wrong.is_some() || findings > before) && self.inputs.names.len() < 2 * Self::MORE {
            self.inputs.names.insert(at, object.name);
        }
        if let Some(what) = wrong
            && self.more.len() < Self::MORE
        {
            self.more.push(Finding { batch: None, input: at, line: 0, what });
        }
    }

    fn end(self) -> (String, Report, Inputs) {
        let mut report = self.verifier.finish();
        self.more.into_iter().for_each(|finding| report.found(finding));
        (self.origin, report, self.inputs)
    }
}

/// Prints logs. The first one waits: whether it is the only one decides how much is said of it.
struct Tell<'a> {
    manner: Manner<'a>,
    held: Option<(String, Report, Inputs)>,
    logs: u64,
    worst: Verdict,
}

impl Tell<'_> {
    fn log(&mut self, log: Log) -> Result<(), UsageError> {
        self.logs += 1;
        if let Some(held) = self.held.replace(log.end()) {
            self.print(held, true)?;
        }
        Ok(())
    }

    fn end(mut self, remark: Option<String>) -> Result<Verdict, UsageError> {
        let many = self.logs > 1;
        if let Some(mut held) = self.held.take() {
            if let Some(remark) = remark {
                held.2.remarks.push(remark);
            }
            self.print(held, many)?;
        }
        Ok(self.worst)
    }

    fn print(&mut self, (origin, report, inputs): (String, Report, Inputs), many: bool) -> Result<(), UsageError> {
        let told = Manner { many, ..self.manner }.tell(report, &inputs, Some(&origin));
        self.worst = self.worst.max(told.verdict);
        io::stdout().lock().write_all(told.text.as_bytes()).map_err(UsageError::Output)
    }
}
