//! The lines of a log, batch by batch, for who looks at them and does not verify them: from whatever `verify` reads, in
//! the same order, each batch once.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use super::input::{self, Input, Kind};
use super::print::shown;
use super::{UsageError, identities, parallel};
use crate::batch::Batch;
use crate::bundle::{BLOCK, EVENTS, Head};
use crate::header::Header;
use crate::line::{SealLine, unredacted};

/// The most bytes of lines that are held until their seal comes: as much as the spool stores.
const LONGEST: usize = crate::frame::MAX_PAYLOAD;

/// So many batches are remembered, to tell none twice.
const REMEMBERED: usize = 1 << 18;

/// So many troubles are told one by one.
const TROUBLES: usize = 20;

/// Which log to read.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadArgs {
    /// Files and directories with sealed logs; `-` for standard input. zstd, gzip, age and spool segments are recognised
    #[arg(value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// A file with age identities (AGE-SECRET-KEY-1…) to decrypt with; may be given more than once
    #[arg(long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
}

/// A batch with its lines, which nobody has verified.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// What its seal says; `None` for lines without one.
    pub header: Option<&'a Header>,
    bytes: &'a [u8],
}

impl<'a> Opened<'a> {
    /// The event lines that have their text, each with its place in the batch.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let lines = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes).split(|byte| *byte == b'\n');
        (0..).zip(lines).filter(|(_, line)| !line.is_empty() && unredacted(line).is_none())
    }
}

/// What was read, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Batches that were given.
    pub batches: u64,
    /// Their event lines.
    pub lines: u64,
    /// Lines of which only the hash is left.
    pub redacted: u64,
    /// Lines of batches of which only the seal is here.
    pub absent: u64,
    /// Lines without a seal.
    pub unsealed: u64,
    /// What could not be read; of many the first.
    pub troubles: Vec<String>,
}

impl Reading {
    fn trouble(&mut self, input: &Input, why: impl std::fmt::Display) {
        if self.troubles.len() < TROUBLES {
            self.troubles.push(format!("{}: {why}", shown(&input.name())));
        }
    }
}

/// Reads the log and gives each batch, as far as `each` wants. What cannot be read is told in the end and ends nothing.
///
/// # Errors
/// The paths name no log, or a file of identities has none.
pub fn read(args: &ReadArgs, mut each: impl FnMut(Opened<'_>) -> ControlFlow<()>) -> Result<Reading, UsageError> {
    let inputs = input::find(&args.inputs, &identities(&args.identities)?, parallel::cores())?;
    let mut done = Walk { reading: Reading::default(), known: HashSet::new() };
    for input in &inputs {
        match input.kind {
            Kind::Log => {
                if done.input(input, &mut each).is_break() {
                    break;
                }
            }
            Kind::Bundle => {
                if done.bundle(input, &mut each).is_break() {
                    break;
                }
            }
            Kind::Encrypted => done.reading.trouble(input, "it is encrypted: give --identity"),
            Kind::Proof | Kind::Other => done.reading.trouble(input, "it is no sealed log"),
            Kind::Nothing => {}
        }
    }
    Ok(done.reading)
}

struct Walk {
    reading: Reading,
    /// The leaves of batches whose lines were given.
    known: HashSet<[u8; 32]>,
}

impl Walk {
    fn input(&mut self, input: &Input, each: &mut impl FnMut(Opened<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut lines = Vec::new();
        // lines of the open batch were given before its seal came
        let mut cut = false;
        let read = input.open().and_then(|reader| {
            input::lines(reader, |line| {
                if !SealLine::is_one(line) {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                    if lines.len() < LONGEST {
                        return ControlFlow::Continue(());
                    }
                    cut = true;
                    let done = self.give(None, &lines, each);
                    lines.clear();
                    return done;
                }
                let seal = Batch::parse(line);
                let done = match seal {
                    Ok(batch) if !cut => self.batch(&batch, &lines, each),
                    Ok(_) => self.give(None, &lines, each),
                    Err(error) => {
                        self.reading.trouble(input, format_args!("a seal line cannot be read: {error}"));
                        self.give(None, &lines, each)
                    }
                };
                lines.clear();
                cut = false;
                done
            })
        });
        match read {
            Ok(ControlFlow::Break(())) => return ControlFlow::Break(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(error) => self.reading.trouble(input, format_args!("it cannot be read to its end: {error}")),
        }
        self.give(None, &lines, each)
    }

    /// The events of a capture.
    fn bundle(&mut self, input: &Input, each: &mut impl FnMut(Opened<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let read = input.open().and_then(|mut reader| {
            let mut block = [0; BLOCK];
            loop {
                reader.read_exact(&mut block)?;
                let Some(head) = Head::parse(&block) else { return Ok(ControlFlow::Continue(())) };
                let mut bytes = Vec::new();
                if head.name.starts_with(EVENTS) && head.size <= LONGEST as u64 {
                    (&mut reader).take(head.size).read_to_end(&mut bytes)?;
                } else {
                    io::copy(&mut (&mut reader).take(head.size), &mut io::sink())?;
                }
                reader.read_exact(&mut block[..head.padding()])?;
                if self.give(None, &bytes, each).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        });
        read.unwrap_or_else(|error| {
            self.reading.trouble(input, format_args!("it cannot be read to its end: {error}"));
            ControlFlow::Continue(())
        })
    }

    fn batch(
        &mut self,
        batch: &Batch,
        lines: &[u8],
        each: &mut impl FnMut(Opened<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if lines.is_empty() && batch.header.events > 0 {
            // the lines may be in another input
            if !self.known.contains(&batch.leaf) {
                self.reading.absent += batch.header.events;
            }
            return ControlFlow::Continue(());
        }
        let room = self.known.len() < REMEMBERED;
        if self.known.contains(&batch.leaf) || room && !self.known.insert(batch.leaf) {
            return ControlFlow::Continue(());
        }
        self.give(Some(&batch.header), lines, each)
    }

    fn give(
        &mut self,
        header: Option<&Header>,
        bytes: &[u8],
        each: &mut impl FnMut(Opened<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if bytes.is_empty() && header.is_none() {
            return ControlFlow::Continue(());
        }
        let opened = Opened { header, bytes };
        let all = bytes.split_inclusive(|byte| *byte == b'\n').count() as u64;
        let readable = opened.lines().count() as u64;
        self.reading.batches += 1;
        self.reading.lines += all;
        self.reading.redacted += all - readable;
        if header.is_none() {
            self.reading.unsealed += all;
        }
        each(opened)
    }
}
