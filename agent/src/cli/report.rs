//! `sigtrail report`: what a log comes to, as aureport(8) shows it, or as a page.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use comfy_table::{CellAlignment, ContentArrangement, Table as Drawn, presets};
use seal::cli::{ReadArgs, Reading, VerifyArgs};
use serde_json::{Value, json};

use super::{
    logs::{self, Found, Logs, Which},
    trouble::Trouble,
};
use crate::review::{
    page::Page,
    table::{PLANS, Plan, Table},
};

/// What to report on.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    which: Which,
    /// Rows of a table; the others are counted
    #[arg(long, short = 'n', value_name = "N", default_value_t = 40)]
    rows: usize,
    /// For a machine: all rows
    #[arg(long)]
    json: bool,
    /// Write one page with everything: verification, timeline, processes, tables. It needs no network and no script
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// For the page: a host key known to be right (name+id+key), or a file with one a line
    #[arg(long = "verify-key", value_name = "VKEY|FILE", requires = "html")]
    keys: Vec<String>,
}

const HELP: &str = "\
Tables: summary, logins, privileged, failed, files, connections, programs, losses, users, policy, or all. They are named
among the logs: `sigtrail report failed files /var/log/sigtrail`. A file of such a name is `./files`.

Exit codes: 0 shown · 1 no records · 2 a part of the log could not be read · 3 usage";

/// The tables that are named among the logs, and the logs.
fn chosen(args: &Args) -> Result<(Vec<&'static Plan>, ReadArgs), Trouble> {
    let mut read = args.logs.read.clone();
    let mut plans = Vec::new();
    read.inputs.retain(|input| {
        let named: Vec<_> =
            PLANS.iter().filter(|plan| input == Path::new(plan.name) || input == Path::new("all")).collect();
        let is_log = named.is_empty();
        plans.extend(named);
        is_log
    });
    if plans.is_empty() {
        plans.extend(PLANS.first());
    }
    Ok((plans, args.logs.named(read)?))
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    if let Some(path) = &args.html {
        return page(args, path);
    }
    let (plans, read) = chosen(args)?;
    let mut tables: Vec<_> = plans.into_iter().map(Table::new).collect();
    let (reading, records) = fill(args, &read, &mut tables)?;
    let mut out = io::stdout().lock();
    let shown = if args.json {
        let told = json!({
            "batches": reading.batches, "records": records, "redacted": reading.redacted,
            "absent": reading.absent, "troubles": reading.troubles,
            "tables": tables.iter().map(Table::json).collect::<Value>(),
        });
        writeln!(out, "{told}")
    } else {
        tables.iter().try_for_each(|table| show(&mut out, table, args.rows))
    };
    shown.map_err(Trouble::Output)?;
    Ok(logs::told(&reading, records > 0))
}

fn fill(args: &Args, read: &ReadArgs, tables: &mut [Table]) -> Result<(Reading, u64), Trouble> {
    let mut records = 0;
    let reading = logs::each(read, &args.which.filter(), |next| {
        match next {
            Found::Batch(header) => tables.iter_mut().for_each(|table| table.add_header(header)),
            Found::Record(hit) => {
                records += 1;
                for table in tables.iter_mut() {
                    table.add(hit.item, hit.sealed());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok((reading, records))
}

fn show(out: &mut impl Write, table: &Table, limit: usize) -> io::Result<()> {
    let rows = table.rows();
    writeln!(out, "{}", table.plan.title)?;
    if rows.is_empty() {
        return writeln!(out, "  none\n");
    }
    let mut drawn = Drawn::new();
    drawn.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    drawn.set_header(table.columns());
    for row in rows.iter().take(limit) {
        drawn.add_row(row.cells(|ns| short(ns).into()).iter().map(cell));
    }
    let keys = table.columns().len() - 2 - rows[0].tallies.len() - 1;
    for (at, column) in drawn.column_iter_mut().enumerate() {
        if (keys..=keys + rows[0].tallies.len()).contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", drawn.trim_fmt())?;
    let more = rows.len().saturating_sub(limit);
    if more > 0 {
        writeln!(out, "  … and {more} more rows: -n shows more, --json all")?;
    }
    if table.beyond > 0 {
        writeln!(out, "  … and {} records of which there was no room for a row", table.beyond)?;
    }
    writeln!(out)
}

/// A time as far as a person wants it.
fn short(ns: u64) -> String {
    seal::text::time(ns).get(..19).unwrap_or_default().replace('T', " ")
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let harmless = |char: char| if char.is_control() { '\u{fffd}' } else { char };
            text.chars().map(harmless).collect()
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn page(args: &Args, path: &Path) -> Result<ExitCode, Trouble> {
    let (_, read) = chosen(args)?;
    if read.inputs.iter().any(|input| input.as_os_str() == "-") {
        let twice = "a page is made of a log that can be read twice: write standard input to a file before";
        return Err(Trouble::Usage(twice.to_owned()));
    }
    let mut verified = Vec::new();
    let verify = VerifyArgs {
        inputs: read.inputs.clone(),
        identities: read.identities.clone(),
        keys: args.keys.clone(),
        json: true,
        ..VerifyArgs::default()
    };
    seal::cli::verify_to(&verify, &mut verified)?;
    let reports = serde_json::Deserializer::from_slice(&verified).into_iter().collect::<Result<Vec<Value>, _>>()?;
    let mut page = Page::new(reports);
    let reading = logs::each(&read, &args.which.filter(), |next| {
        match next {
            Found::Batch(header) => page.add_header(header),
            Found::Record(hit) => page.add(hit.item, hit.sealed()),
        }
        ControlFlow::Continue(())
    })?;
    let failed = |source| Trouble::File { doing: "writing", path: path.to_owned(), source };
    // it says as much as the log
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    let mut out = BufWriter::new(file);
    out.write_all(page.html(&reading).as_bytes()).and_then(|()| out.flush()).map_err(failed)?;
    Ok(logs::told(&reading, page.records() > 0))
}
