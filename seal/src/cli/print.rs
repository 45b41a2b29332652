//! A report for people and for programs.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _};

use serde_json::{Value, json};

use super::stamp::Stamp;
use crate::text::{base64, hex, time};
use crate::verify::{Capped, Finding, Report, Severity, Verdict, What};

/// How many entries of a list people get to see; programs get all that are kept.
const SHOWN: usize = 20;
/// What is known of the inputs of a log beside what is in them.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// What they are called, by their numbers in the findings. Of an archive, those in which something was found.
    pub(super) names: BTreeMap<usize, String>,
    /// What their archive says of them.
    pub(super) remarks: Capped<String>,
    /// Where there is nothing of it, if that is all that is known.
    pub(super) directory: Option<String>,
}

/// How many findings of a log among many.
const FEW: usize = 3;

/// Nanoseconds in a second.
const NS: u64 = 1_000_000_000;

pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "verified",
        Verdict::Found(Severity::Tampered) => "tampered",
        Verdict::Found(Severity::Incomplete) => "incomplete",
    }
}

/// The report as one JSON object, with a LF.
pub(super) fn json(report: &Report, inputs: &Inputs, stamps: &[&Stamp]) -> String {
    let capped = |values: Vec<Value>, count: u64| json!({ "count": count, "list": values });
    let findings = report.findings.iter().map(|finding| {
        json!({
            "severity": word(Verdict::Found(finding.what.severity())),
            "batch": finding.batch,
            "input": inputs.names.get(&finding.input),
            "line": finding.line,
            "what": finding.what.to_string(),
        })
    });
    let gaps = report
        .gaps
        .iter()
        .map(|gap| json!({ "sink": gap.sink, "from": gap.from, "to": gap.to, "reason": gap.reason.name() }));
    let missing = report.missing.iter().map(|(from, to)| json!({ "from": from, "to": to }));
    let absent = report.absent_ranges.iter().map(|(from, to)| json!({ "from": from, "to": to }));
    let steps = report.steps.iter().map(|(batch, ns)| json!({ "batch": batch, "ns": ns }));
    let policies = report.policies.iter().map(|(batch, hash)| json!({ "batch": batch, "sha256": hex(hash) }));
    let receipts = report.receipts.iter().map(|(name, told)| {
        json!({
            "witness": name, "batch": told.batch, "size": told.size,
            "time": time(told.time.saturating_mul(NS)), "checked": told.checked,
        })
    });
    let stamps = shown_stamps(report, stamps)
        .map(|(stamp, time)| json!({ "input": stamp.name, "size": stamp.checkpoint.size, "time": time }));
    let remarks = inputs.remarks.iter().map(|remark| json!(remark)).collect();
    let head = report.last.as_ref().map(|head| {
        json!({ "origin": head.origin, "size": head.size, "root": base64(&head.root), "line": head.to_string() })
    });
    let value = json!({
        "verdict": word(report.verdict()),
        "origin": report.origin,
        "directory": inputs.directory,
        "host": report.host,
        "agent": report.agent,
        "older": report.older,
        "pinned": report.pinned,
        "from": report.wall.map(|(from, _)| time(from)),
        "to": report.wall.map(|(_, to)| time(to)),
        "silent_since": report.silent.map(time),
        "batches": report.batches,
        "duplicates": report.duplicates,
        "events": report.events,
        "redacted": report.redacted,
        "absent": report.absent,
        "absent_batches": capped(absent.collect(), report.absent_ranges.count()),
        "unsealed": report.unsealed,
        "lost": report.lost,
        "lost_by_hook": report.lost_by_hook,
        "gaps": capped(gaps.collect(), report.gaps.count()),
        "missing": capped(missing.collect(), report.missing.count()),
        "starts": report.starts,
        "unclean": capped(report.unclean.iter().map(|batch| json!(batch)).collect(), report.unclean.count()),
        "clock_steps": capped(steps.collect(), report.steps.count()),
        "policies": capped(policies.collect(), report.policies.count()),
        "rotations": capped(report.rotations.iter().map(|batch| json!(batch)).collect(), report.rotations.count()),
        "receipts": receipts.collect::<Vec<_>>(),
        "witnessed": report.witnessed,
        "stamps": stamps.collect::<Vec<_>>(),
        "last": head,
        "ends_with": report.last_kind.map(crate::BatchKind::name),
        "remarks": capped(remarks, inputs.remarks.count()),
        "findings": capped(findings.collect(), report.findings.count()),
    });
    format!("{value:#}\n")
}

/// The verdict in capitals, and in colour for a terminal.
pub(super) fn painted(verdict: Verdict, colour: bool) -> String {
    let word = word(verdict).to_uppercase();
    let paint = match verdict {
        Verdict::Verified => 32,
        Verdict::Found(Severity::Incomplete) => 33,
        Verdict::Found(Severity::Tampered) => 31,
    };
    if colour { format!("\x1b[1;{paint}m{word}\x1b[0m") } else { word }
}

/// Whether people look at it.
pub(super) fn colour() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One log among many: a line with its verdict, and below it the first of what is wrong.
pub(super) fn line(report: &Report, inputs: &Inputs) -> String {
    let name = report.origin.as_deref().or(inputs.directory.as_deref());
    let name = name.map_or_else(|| "(no log)".to_owned(), shown);
    let pad = " ".repeat(10_usize.saturating_sub(word(report.verdict()).len()));
    let mut text = vec![format!("{}{pad} {name}", painted(report.verdict(), colour()))];
    if let (Some(host), Some((from, to))) = (&report.host, report.wall) {
        let span = format!("{} to {}", time(from), time(to));
        text.push(format!("  {}  {} events, {}  {span}", shown(host), report.events, lacks(report)));
    }
    let quiet = |finding: &&Finding| matches!(finding.what, What::Quiet { .. });
    if let Some(finding) = report.findings.iter().find(quiet) {
        text.push(format!("  {finding}"));
    }
    if !report.pinned {
        text.push("  (key not pinned)".to_owned());
    }
    text.push("\n".to_owned());
    let others = report.findings.iter().filter(|it| Some(*it) != report.first_tampered.as_ref() && !quiet(it));
    let findings = report.first_tampered.iter().chain(others).take(FEW);
    let mut told = u64::from(report.silent.is_some());
    for finding in findings {
        text.push(format!("           {}\n", place(finding, inputs)));
        told += 1;
    }
    for remark in inputs.remarks.iter().take(FEW) {
        text.push(format!("           {}\n", shown(remark)));
    }
    if report.findings.count() > told {
        text.push(format!("           and {} more: verify this log alone\n", report.findings.count() - told));
    }
    text.concat()
}

/// What a log among many lacks.
fn lacks(report: &Report) -> String {
    let missing = report.missing.iter().map(|(from, to)| to - from + 1).fold(0, u64::saturating_add);
    let counts = [
        (missing, "missing"),
        (report.absent, "only sealed"),
        (report.redacted, "redacted"),
        (report.lost, "lost"),
        (report.gaps.count(), if report.gaps.count() == 1 { "gap" } else { "gaps" }),
    ];
    let lacks: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    match report.findings.count() > u64::from(report.silent.is_some()) {
        _ if !lacks.is_empty() => lacks.join(", "),
        true => "not complete".to_owned(),
        false => "complete".to_owned(),
    }
}

/// How many logs have which verdict, and how many of them are silent.
pub(super) fn total(verdicts: &BTreeMap<Verdict, usize>, silent: usize) -> String {
    let mut parts: Vec<_> = verdicts.iter().map(|(verdict, count)| format!("{count} {}", word(*verdict))).collect();
    if silent > 0 {
        parts.push(format!("{silent} silent"));
    }
    format!("{} logs: {}\n", verdicts.values().sum::<usize>(), parts.join(", "))
}

/// The report as text: what the log says, what is wrong, and one line with the verdict.
pub(super) fn human(report: &Report, inputs: &Inputs, stamps: &[&Stamp]) -> String {
    Human { report, inputs, stamps, colour: colour() }.to_string()
}

struct Human<'a> {
    report: &'a Report,
    inputs: &'a Inputs,
    stamps: &'a [&'a Stamp],
    colour: bool,
}

impl fmt::Display for Human<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        summary(f, self.report, self.stamps)?;
        list(f, "archive", self.inputs.remarks.count(), self.inputs.remarks.iter().map(|remark| shown(remark)))?;
        findings(f, self.report, self.inputs)?;
        verdict(f, self.report, self.inputs, self.colour)
    }
}

/// The stamps of heads that the log shows, with their times.
fn shown_stamps<'a>(report: &Report, stamps: &[&'a Stamp]) -> impl Iterator<Item = (&'a Stamp, &'a str)> {
    let shown = stamps.iter().filter(|stamp| report.heads.contains(&stamp.checkpoint));
    shown.filter_map(|stamp| Some((*stamp, stamp.time.as_deref()?)))
}

fn summary(out: &mut fmt::Formatter<'_>, report: &Report, stamps: &[&Stamp]) -> fmt::Result {
    if let Some(origin) = &report.origin {
        writeln!(out, "log            {}", shown(origin))?;
    }
    if let (Some(host), Some(agent)) = (&report.host, &report.agent) {
        writeln!(out, "host           {} (agent {})", shown(host), shown(agent))?;
    }
    if let Some((from, to)) = report.wall {
        writeln!(out, "time           {} to {}", time(from), time(to))?;
    }
    if report.older > 0 {
        writeln!(out, "before that    {} batches, not reported on", report.older)?;
    }
    write!(out, "batches        {}", report.batches)?;
    if report.duplicates > 0 {
        write!(out, " ({} there more than once)", report.duplicates)?;
    }
    writeln!(out, "\nevents         {}", report.events)?;
    writeln!(out, "lost           {}", report.lost)?;
    for (hook, lost) in report.lost_by_hook.iter().take(SHOWN) {
        writeln!(out, "               {lost} by {}", shown(hook))?;
    }
    if report.redacted > 0 {
        writeln!(out, "redacted       {}", report.redacted)?;
    }
    let absent = report.absent_ranges.iter().map(|(from, to)| format!("batches {from}-{to}"));
    list(out, "only sealed", report.absent, absent)?;
    let gaps = report.gaps.iter().map(|gap| shown(&gap.to_string()));
    list(out, "gaps", report.gaps.count(), gaps)?;
    list(
        out,
        "missing",
        report.missing.count(),
        report.missing.iter().map(|(from, to)| format!("batches {from}-{to}")),
    )?;
    writeln!(out, "starts         {}", report.starts)?;
    list(
        out,
        "unclean stops",
        report.unclean.count(),
        report.unclean.iter().map(|batch| format!("before batch {batch}")),
    )?;
    let steps = report.steps.iter().map(|(batch, ns)| format!("batch {batch}: {:+.3} s", *ns as f64 / 1e9));
    list(out, "clock steps", report.steps.count(), steps)?;
    let policies = report.policies.iter().map(|(batch, hash)| format!("batch {batch}: sha256:{}", hex(hash)));
    list(out, "policy changes", report.policies.count(), policies)?;
    list(
        out,
        "key rotations",
        report.rotations.count(),
        report.rotations.iter().map(|batch| format!("batch {batch}")),
    )?;
    for (at, (name, told)) in report.receipts.iter().take(SHOWN).enumerate() {
        let checked = if told.checked { "" } else { ", not checked (--policy)" };
        let label = if at == 0 { "last receipts" } else { "" };
        let when = time(told.time.saturating_mul(NS));
        writeln!(out, "{label:<14} {} for {} batches at {when}{checked}", shown(name), told.size)?;
    }
    if let Some(size) = report.witnessed {
        writeln!(out, "witnessed      {size} batches, as the policy wants")?;
    }
    for (stamp, time) in shown_stamps(report, stamps) {
        writeln!(out, "stamped        {} batches at {} ({})", stamp.checkpoint.size, shown(time), shown(&stamp.name))?;
    }
    if let Some(last) = &report.last {
        writeln!(out, "head           {}", shown(&last.to_string()))?;
    }
    if let Some(kind) = report.last_kind.filter(|kind| *kind != crate::BatchKind::Stop) {
        writeln!(out, "               the last batch is `{}`: the log goes on, or its end is cut off", kind.name())?;
    }
    if !report.pinned && report.batches > 0 {
        writeln!(out, "key            not pinned: the log was checked with the key it names itself (use --key)")?;
    }
    Ok(())
}

fn findings(out: &mut fmt::Formatter<'_>, report: &Report, inputs: &Inputs) -> fmt::Result {
    for finding in report.findings.iter().take(SHOWN) {
        writeln!(out, "{:<14} {}", word(Verdict::Found(finding.what.severity())), place(finding, inputs))?;
    }
    if report.findings.count() > SHOWN as u64 {
        writeln!(out, "               and {} more", report.findings.count() - SHOWN as u64)?;
    }
    Ok(())
}

fn verdict(out: &mut fmt::Formatter<'_>, report: &Report, inputs: &Inputs, colour: bool) -> fmt::Result {
    let verdict = report.verdict();
    let worst = match verdict {
        Verdict::Verified => None,
        Verdict::Found(Severity::Tampered) => report.first_tampered.as_ref(),
        Verdict::Found(Severity::Incomplete) => report.findings.iter().next(),
    };
    write!(out, "{}", painted(verdict, colour))?;
    match worst {
        Some(finding) if inputs.names.contains_key(&finding.input) => {
            writeln!(out, ": first at {}", place(finding, inputs))
        }
        Some(finding) => writeln!(out, ": {}", place(finding, inputs)),
        None if verdict == Verdict::Verified => {
            let since = if report.older > 0 { " since then" } else { "" };
            writeln!(out, ": every line of every batch{since} is as it was sealed")
        }
        None => writeln!(out),
    }
}

fn list(out: &mut fmt::Formatter<'_>, name: &str, count: u64, entries: impl Iterator<Item = String>) -> fmt::Result {
    if count > 0 {
        writeln!(out, "{name:<14} {count}")?;
        for entry in entries.take(SHOWN) {
            writeln!(out, "               {entry}")?;
        }
    }
    Ok(())
}

fn place(finding: &Finding, inputs: &Inputs) -> String {
    match inputs.names.get(&finding.input) {
        Some(name) => shown(&format!("{name}: {finding}")),
        // found at the end of all inputs
        None => shown(&finding.to_string()),
    }
}

/// The text without control characters: what a log says must not move the cursor of who reads it.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
