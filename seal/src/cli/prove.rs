//! `sigtrail prove`: proofs that stand without the log they come from.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use thiserror::Error;

use super::input::{self, Input, Kind};
use super::parallel;
use super::{UsageError, identities};
use crate::batch::{Batch, BatchError};
use crate::consistency_proof::{ConsistencyError, ConsistencyProof, Head};
use crate::event_proof::{EventProof, EventProofError};
use crate::line::{SealLine, unredacted};
use crate::tree::{self, Consistency, Hash};

/// The most bytes of the lines of one batch that are held: as much as the spool stores.
const LONGEST: usize = crate::frame::MAX_PAYLOAD;

/// What to prove, and from which log.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ProveArgs {
    /// The event: the `seq` of its record
    #[arg(value_name = "EVENT", required = true)]
    event: Option<u64>,
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Clone, Debug, Subcommand)]
enum Other {
    /// Prove that a head of the log continues an older one, from the batches between the two
    Consistency {
        /// The size of the old head, in batches
        #[arg(value_name = "OLD")]
        old: u64,
        /// The size of the new head, in batches
        #[arg(value_name = "NEW")]
        new: u64,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Args, Clone, Debug)]
struct LogArgs {
    /// Files and directories with the log, as for `verify`
    #[arg(value_name = "FILE|DIR|-", required = true)]
    inputs: Vec<PathBuf>,
    /// The log, if the inputs hold several
    #[arg(long)]
    origin: Option<String>,
    /// A file with age identities to decrypt with
    #[arg(long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
}

#[derive(Debug, Error)]
enum ProveError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("the inputs hold several logs, choose one with --origin: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("cannot read {name}: {error}")]
    Read { name: String, error: io::Error },
    #[error("{name}: a seal line cannot be read: {error}; run `sigtrail verify`")]
    Seal { name: String, error: BatchError },
    #[error("no batch with event {event} in the inputs{}", held(.events.as_ref()))]
    NoEvent { event: u64, events: Option<(u64, u64)> },
    #[error("{name}: event {event} is in batch {batch}, of which only the seal is here")]
    Absent { name: String, event: u64, batch: u64 },
    #[error("{name}: event {event}, in batch {batch}, is redacted: its text is not here, only its hash")]
    Redacted { name: String, event: u64, batch: u64 },
    #[error("{name} is encrypted, the event may be in it: give --identity")]
    Encrypted { name: String },
    #[error("{name}: more than {LONGEST} bytes of event lines without a seal")]
    Long { name: String },
    #[error("batch {0} is not in the inputs: to prove it, all batches from OLD - 1 to NEW - 1 must be there")]
    NoBatch(u64),
    #[error("OLD is {old} and NEW is {new}: OLD must be at least 1 and not more than NEW")]
    Sizes { old: u64, new: u64 },
    #[error("{error}; run `sigtrail verify`")]
    Event { error: EventProofError },
    #[error("{0}; run `sigtrail verify`")]
    Consistency(#[from] ConsistencyError),
    #[error("cannot write the proof: {0}")]
    Write(#[source] io::Error),
}

fn held(events: Option<&(u64, u64)>) -> String {
    events.map_or_else(String::new, |(first, last)| format!(": they have events {first} to {last}"))
}

/// Makes a proof and prints it; the exit code is 0, or 1 if it cannot be made, or 3 for a wrong call.
pub fn prove(args: &ProveArgs) -> ExitCode {
    let made = match (&args.other, args.event) {
        (Some(Other::Consistency { old, new, log }), _) => consistency(*old, *new, log),
        (None, Some(event)) => one_event(event, &args.log),
        // clap has asked for it
        (None, None) => Ok(String::new()),
    };
    let written = made.and_then(|text| io::stdout().write_all(text.as_bytes()).map_err(ProveError::Write));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sigtrail prove: {error}");
            let wrong_call = matches!(error, ProveError::Usage(_) | ProveError::Several(_) | ProveError::Sizes { .. });
            ExitCode::from(if wrong_call { 3 } else { 1 })
        }
    }
}

/// The inputs of the one log that is meant.
fn inputs(log: &LogArgs) -> Result<Vec<Input>, ProveError> {
    let identities = identities(&log.identities)?;
    let mut inputs = input::find(&log.inputs, &identities, parallel::cores()).map_err(UsageError::Input)?;
    inputs.retain(|input| matches!(input.kind, Kind::Log | Kind::Encrypted));
    if let Some(origin) = &log.origin {
        inputs.retain(|input| input.origin.as_ref().is_none_or(|of| of == origin));
    }
    let origins: BTreeSet<_> = inputs.iter().filter_map(|input| input.origin.clone()).collect();
    if origins.len() > 1 { Err(ProveError::Several(origins.into_iter().collect())) } else { Ok(inputs) }
}

/// The lines of a batch that is not closed yet.
#[derive(Default)]
struct Open {
    leaves: Vec<Hash>,
    /// Where each line ends in `bytes`; a redacted one has no bytes.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Open {
    fn add(&mut self, line: &[u8]) {
        self.leaves.push(unredacted(line).unwrap_or_else(|| {
            self.bytes.extend_from_slice(line);
            tree::leaf(line)
        }));
        self.ends.push(self.bytes.len());
    }

    fn line(&self, index: usize) -> Option<&[u8]> {
        let begin = index.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
        self.bytes.get(*begin..*self.ends.get(index)?)
    }
}

fn one_event(event: u64, log: &LogArgs) -> Result<String, ProveError> {
    let mut events: Option<(u64, u64)> = None;
    // a copy of the batch with its lines may come behind its seals
    let mut without = None;
    for input in inputs(log)? {
        let name = input.name();
        if input.kind == Kind::Encrypted {
            without = Some(ProveError::Encrypted { name });
            continue;
        }
        let mut open = Open::default();
        let found = each_line(&input, |line| {
            if !SealLine::is_one(line) {
                open.add(line);
                return if open.bytes.len() > LONGEST {
                    ControlFlow::Break(Err(ProveError::Long { name: name.clone() }))
                } else {
                    ControlFlow::Continue(())
                };
            }
            let batch = match Batch::parse(line) {
                Ok(batch) => batch,
                Err(error) => return ControlFlow::Break(Err(ProveError::Seal { name: name.clone(), error })),
            };
            let of_batch = std::mem::take(&mut open);
            let header = &batch.header;
            let (first, next) = (header.first, header.first.saturating_add(header.events));
            if next > first {
                events = Some(events.map_or((first, next - 1), |(from, to)| (from.min(first), to.max(next - 1))));
            }
            if !(first..next).contains(&event) {
                return ControlFlow::Continue(());
            }
            let (index, batch) = ((event - first) as usize, header.batch);
            let name = || name.clone();
            match of_batch.line(index) {
                None if without.is_some() => {}
                None => without = Some(ProveError::Absent { name: name(), event, batch }),
                Some([]) => without = Some(ProveError::Redacted { name: name(), event, batch }),
                Some(text) => {
                    let made = EventProof::from_leaves(text, &of_batch.leaves, index, line);
                    return ControlFlow::Break(made.map_err(|error| ProveError::Event { error }));
                }
            }
            ControlFlow::Continue(())
        })?;
        if let ControlFlow::Break(proof) = found {
            return Ok(proof?.to_string());
        }
    }
    Err(without.unwrap_or(ProveError::NoEvent { event, events }))
}

fn consistency(old: u64, new: u64, log: &LogArgs) -> Result<String, ProveError> {
    if old == 0 || old > new {
        return Err(ProveError::Sizes { old, new });
    }
    // the old head, the proof so far, and the newest head
    let mut state: Option<(Head, Consistency, Head)> = None;
    let mut wanted = old - 1;
    for input in inputs(log)?.iter().filter(|input| input.kind == Kind::Log) {
        let name = input.name();
        let stopped = each_line(input, |line| {
            if !SealLine::is_one(line) {
                return ControlFlow::Continue(());
            }
            let batch = match Batch::parse(line) {
                Ok(batch) if batch.header.batch == wanted => batch,
                Ok(batch) if batch.header.batch < wanted => return ControlFlow::Continue(()),
                Ok(_) => return ControlFlow::Break(Err(ProveError::NoBatch(wanted))),
                Err(error) => return ControlFlow::Break(Err(ProveError::Seal { name: name.clone(), error })),
            };
            let head = Head::from(&batch);
            if let Some((_, proof, newest)) = &mut state {
                proof.push(batch.leaf);
                *newest = head;
            } else {
                let mut before = batch.before;
                before.push(batch.leaf);
                state = Consistency::new(before, new).map(|proof| (head.clone(), proof, head));
            }
            wanted += 1;
            if wanted < new { ControlFlow::Continue(()) } else { ControlFlow::Break(Ok(())) }
        })?;
        if let ControlFlow::Break(done) = stopped {
            done?;
            break;
        }
    }
    let (old, proof, newest) = state.ok_or(ProveError::NoBatch(wanted))?;
    let path = proof.finish().ok_or(ProveError::NoBatch(wanted))?;
    Ok(ConsistencyProof::new(path, old, newest)?.to_string())
}

fn each_line<T>(input: &Input, each: impl FnMut(&[u8]) -> ControlFlow<T>) -> Result<ControlFlow<T>, ProveError> {
    let read = input.open().and_then(|reader| input::lines(reader, each));
    read.map_err(|error| ProveError::Read { name: input.name(), error })
}
