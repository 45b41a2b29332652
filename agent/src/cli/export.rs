//! `sigtrail export`: records for other tools, one after the other.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::ExitCode,
};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{
    logs::{self, Found, Hit, Logs, Which},
    trouble::Trouble,
};
use crate::{
    review::export::{COLUMNS, cells, csv, timesketch},
    view::{self, View},
};

/// What to write, and in which words.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 written · 1 no records · 2 a part of the log could not be read · 3 usage")]
pub struct Args {
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    which: Which,
    /// The words
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// The file; else standard output. Timesketch wants a name that ends with .jsonl
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The words of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Ours, as in docs/events.md, with the place in the log
    Ndjson,
    /// The Elastic Common Schema
    Ecs,
    /// The Open Cybersecurity Schema Framework
    Ocsf,
    /// JSON lines for Timesketch
    Timesketch,
    /// A table with fixed columns
    Csv,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let read = args.logs.named(args.logs.read.clone())?;
    let Some(path) = &args.out else {
        return write(args, &read, &mut BufWriter::new(io::stdout().lock()), Trouble::Output);
    };
    let failed = |source| Trouble::File { doing: "writing", path: path.clone(), source };
    // it says as much as the log
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    write(args, &read, &mut BufWriter::new(file), failed)
}

fn write(
    args: &Args,
    read: &seal::cli::ReadArgs,
    out: &mut impl Write,
    failed: impl Fn(io::Error) -> Trouble,
) -> Result<ExitCode, Trouble> {
    if args.format == Format::Csv {
        out.write_all(csv(COLUMNS).as_bytes()).map_err(&failed)?;
    }
    let (mut any, mut trouble) = (false, None);
    let reading = logs::each(read, &args.which.filter(), |next| {
        let Found::Record(hit) = next else { return ControlFlow::Continue(()) };
        any = true;
        let done = rendered(&hit, args.format)
            .map_err(Trouble::from)
            .and_then(|text| out.write_all(text.as_bytes()).map_err(&failed));
        done.map_or_else(
            |error| {
                trouble = Some(error);
                ControlFlow::Break(())
            },
            |()| ControlFlow::Continue(()),
        )
    })?;
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    out.flush().map_err(&failed)?;
    Ok(logs::told(&reading, any))
}

fn rendered(hit: &Hit<'_>, format: Format) -> Result<String, serde_json::Error> {
    // lines without a seal have no place
    let (origin, batch) = hit.batch.header.map_or(("", 0), |header| (header.origin.as_str(), header.batch));
    let sealed = hit.sealed().unwrap_or(0);
    let time = hit.item.time().unwrap_or(sealed);
    if format == Format::Csv {
        let place = hit.batch.header.map(|_| (origin, batch, hit.index));
        return Ok(csv(&cells(hit.item, &seal::text::time(time), place)));
    }
    let fields: Map<String, Value> = serde_json::from_slice(hit.line)?;
    let place = view::place(origin, batch, hit.index);
    let view = match format {
        Format::Timesketch => return Ok(format!("{}\n", timesketch(hit.item, &fields, time, &place))),
        Format::Ecs => View::Ecs,
        Format::Ocsf => View::Ocsf,
        Format::Ndjson | Format::Csv => View::Sigtrail,
    };
    // a JSON parser has read it: it is UTF-8
    let line = std::str::from_utf8(hit.line).unwrap_or_default();
    let event = view::Event { origin, batch, index: hit.index, sealed: sealed / 1_000_000_000, line, fields };
    Ok(format!("{}\n", event.render(view)))
}
