//! `sigtrail search`: the records of a log that somebody asks for, as ausearch(8) finds them.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    process::ExitCode,
};

use clap::ValueEnum;
use serde_json::Value;

use super::{
    logs::{self, Found, Hit, Logs, Which},
    paint::Paint,
    print::{Frame, Printer},
    trouble::Trouble,
};
use crate::view;

/// What to look for, and how to show it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 found · 1 nothing found · 2 a part of the log could not be read · 3 usage")]
pub struct Args {
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    which: Which,
    /// How records are shown
    #[arg(long, value_enum, default_value_t = Format::Short)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Only the last so many
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
    /// The last first
    #[arg(long, short = 'r')]
    reverse: bool,
}

/// How a record is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line that a person reads
    Short,
    /// The record, and where it is in the log
    Json,
    /// The line as it was sealed
    Raw,
}

/// Bytes of the lines that are held for `-n` and `--reverse`.
const HELD: usize = 256 << 20;

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let format = if args.json { Format::Json } else { args.format };
    let mut printer = Printer::new(Paint::stdout());
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut found, mut failed) = (false, None);
    let mut held = Held { limit: args.lines, ..Held::default() };
    let holds = args.reverse || args.lines.is_some();
    let read = args.logs.named(args.logs.read.clone())?;
    let reading = logs::each(&read, &args.which.filter(), |next| {
        let Found::Record(hit) = next else { return ControlFlow::Continue(()) };
        found = true;
        let done = match shown(&hit, format, &mut printer) {
            Ok(text) if holds => held.keep(text),
            Ok(text) => out.write_all(&text).map_err(Trouble::Output),
            Err(trouble) => Err(trouble),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(trouble) => {
                failed = Some(trouble);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(trouble) = failed {
        return Err(trouble);
    }
    if args.reverse {
        held.lines.make_contiguous().reverse();
    }
    held.lines.iter().try_for_each(|line| out.write_all(line)).and_then(|()| out.flush()).map_err(Trouble::Output)?;
    Ok(logs::told(&reading, found))
}

/// The last lines.
#[derive(Default)]
struct Held {
    limit: Option<usize>,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Held {
    fn keep(&mut self, line: Vec<u8>) -> Result<(), Trouble> {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.limit.is_some_and(|limit| self.lines.len() > limit) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
        if self.bytes > HELD {
            let much = "too many records to turn them around: give -n, or ask for fewer";
            return Err(Trouble::Usage(much.to_owned()));
        }
        Ok(())
    }
}

fn shown(hit: &Hit<'_>, format: Format, printer: &mut Printer) -> Result<Vec<u8>, Trouble> {
    Ok(match format {
        Format::Raw => [hit.line, b"\n"].concat(),
        Format::Json => {
            let mut record: Value = serde_json::from_slice(hit.line)?;
            if let (Some(header), Some(fields)) = (hit.batch.header, record.as_object_mut()) {
                fields.insert("sigtrail".to_owned(), view::place(&header.origin, header.batch, hit.index));
            }
            format!("{record}\n").into_bytes()
        }
        Format::Short => short(hit, printer).as_bytes().to_vec(),
    })
}

/// The line that `tail` shows, with the date.
pub fn short<'a>(hit: &Hit<'_>, printer: &'a mut Printer) -> &'a str {
    let item = hit.item;
    let sample = item.inner("sample");
    let who = sample.as_ref().unwrap_or(item);
    let time = item.time().or(hit.sealed()).map(seal::text::time).unwrap_or_default();
    let (kind, user, comm) = (item.kind(), who.user(), who.bytes("comm"));
    let (error, rule) = (who.text("errno"), who.text("policy.rule").unwrap_or_default());
    let frame = Frame {
        time: &time.get(..23).unwrap_or_default().replace('T', " "),
        kind: &kind,
        user: user.as_deref().unwrap_or("-"),
        pid: who.number("pid").and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        comm: comm.as_deref().unwrap_or(b"sigtrail"),
        error: error.as_deref(),
        alert: who.is_alert().then_some(&*rule),
    };
    printer.framed(frame, |out| item.what(out))
}
