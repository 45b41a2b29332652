//! `sigtrail tree`: who started whom, and what each process did.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    process::ExitCode,
};

use serde_json::json;

use super::{
    logs::{self, Found, Logs},
    paint::{Colour, Paint},
    trouble::Trouble,
    when::when,
};
use crate::{
    record::words::quote,
    review::{
        Filter,
        tree::{Limits, Note, Process, Tree, Wanted},
    },
};

/// Which processes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 shown · 1 nothing found · 2 a part of the log could not be read · 3 usage")]
pub struct Args {
    #[command(flatten)]
    logs: Logs,
    /// The process with this id, and all that it started
    #[arg(long, short = 'p', value_name = "PID")]
    pid: Option<i64>,
    /// The processes of this login session
    #[arg(long, value_name = "ID")]
    session: Option<i64>,
    /// The process with this `process.id`, which no other process ever has
    #[arg(long, value_name = "ID")]
    process: Option<String>,
    /// At this time or later, as in `search`
    #[arg(long, short = 'S', value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    since: Option<u64>,
    /// At this time or earlier
    #[arg(long, short = 'U', value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    until: Option<u64>,
    /// Lines about one process at most; as many alerts again
    #[arg(long, value_name = "N", default_value_t = Limits::default().notes)]
    notes: usize,
    /// For a machine: a line for each process, who started it first
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let wanted = Wanted { pid: args.pid, session: args.session, process: args.process.clone() };
    let mut tree = Tree::new(wanted, Limits { notes: args.notes, ..Limits::default() });
    let filter = Filter { since: args.since, until: args.until, ..Filter::default() };
    let reading = logs::each(&args.logs.named(args.logs.read.clone())?, &filter, |next| {
        if let Found::Record(hit) = next {
            tree.add(hit.item);
        }
        ControlFlow::Continue(())
    })?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut done = Ok(());
    let paint = Paint::stdout();
    tree.walk(|id, process, lasts| {
        if done.is_ok() {
            done = if args.json { object(&mut out, id, process) } else { drawn(&mut out, paint, process, lasts) };
        }
    });
    done.and_then(|()| out.flush()).map_err(Trouble::Output)?;
    if tree.beyond > 0 {
        eprintln!("sigtrail: {} records are of processes that are not shown: ask for fewer", tree.beyond);
    }
    Ok(logs::told(&reading, !tree.is_empty()))
}

fn object(out: &mut impl Write, id: &str, process: &Process) -> io::Result<()> {
    let notes = process.notes.iter().map(|note| {
        let Note { time, kind, words, error, alert, times } = note;
        json!({"time": seal::text::time(*time), "kind": kind, "words": words, "error": error, "alert": alert, "times": times})
    });
    let seen = process.seen.map(|(first, last)| [seal::text::time(first), seal::text::time(last)]);
    let value = json!({
        "id": id, "pid": process.pid, "program": process.program, "user": process.user, "seen": seen,
        "end": process.end, "counts": process.counts, "alerts": process.alerts,
        "notes": notes.collect::<Vec<_>>(), "notes_left_out": process.more, "children": process.children,
    });
    writeln!(out, "{value}")
}

fn drawn(out: &mut impl Write, paint: Paint, process: &Process, lasts: &[bool]) -> io::Result<()> {
    let word = |text: &str| {
        let mut word = String::new();
        quote(text.as_bytes(), &mut word);
        word
    };
    let grey = |text: String| paint.text(Colour::Grey, text);
    let (last, above) = lasts.split_last().map_or((None, lasts), |(last, above)| (Some(*last), above));
    let bars: String = above.iter().map(|last| if *last { "   " } else { "│  " }).collect();
    let (branch, stem) = match last {
        None => ("", ""),
        Some(true) => ("└─ ", "   "),
        Some(false) => ("├─ ", "│  "),
    };
    let below = format!("{bars}{stem}{}", if process.children.is_empty() { "   " } else { "│  " });
    let seen = process.seen.map(|(first, last)| {
        let [first, last] =
            [first, last].map(|ns| seal::text::time(ns).get(..23).unwrap_or_default().replace('T', " "));
        format!("{first} to {}", last.get(11..).unwrap_or_default())
    });
    let end = process.end.as_ref().map_or(String::new(), |end| format!(", ended: {end}"));
    writeln!(
        out,
        "{}{} {} {}  {}",
        grey(format!("{bars}{branch}")),
        paint.text(Colour::Blue, word(&process.program)),
        process.pid,
        word(&process.user),
        grey(format!("{}{end}", seen.unwrap_or_default())),
    )?;
    if !process.counts.is_empty() {
        writeln!(out, "{}{}", grey(below.clone()), grey(process.counted()))?;
    }
    for note in &process.notes {
        let time = seal::text::time(note.time);
        let kind = format!("{:<8}", word(&note.kind));
        let colour = if note.alert.is_some() { Colour::Yellow } else { Colour::Cyan };
        let (what, many) = (&note.words, note.many());
        write!(
            out,
            "{}{} {} {what}{many}",
            grey(below.clone()),
            grey(time[11..23].to_owned()),
            paint.text(colour, kind)
        )?;
        if let Some(error) = &note.error {
            write!(out, " = {}", paint.text(Colour::Red, word(error)))?;
        }
        if let Some(rule) = &note.alert {
            write!(out, "{}", paint.text(Colour::Yellow, format!(" ! {}", word(rule))))?;
        }
        writeln!(out)?;
    }
    if process.more > 0 {
        writeln!(out, "{}{}", grey(below), grey(format!("… and {} more", process.more)))?;
    }
    Ok(())
}
