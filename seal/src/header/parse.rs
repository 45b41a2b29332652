//! The strict reader of headers.

use std::iter::Peekable;
use std::str::{FromStr, Split};

use thiserror::Error;

use super::{Account, Agent, BatchKind, Clock, Cpu, Facts, Gap, GapReason, Header, MAX_HEADER, VERSION};
use crate::key::chain_name;
use crate::note::{Vkey, is_name};
use crate::state::MAX_ORIGIN;
use crate::text::{decimal, is_plain, is_word, unbase64_hash, unhex, untime};
use crate::tree::Hash;

/// Why a text is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// More than [`MAX_HEADER`] bytes.
    #[error("the header has {0} bytes, {MAX_HEADER} are allowed")]
    TooLong(usize),
    /// The first line is another one.
    #[error("the header does not begin with `{VERSION}`: a newer version of sigtrail can read what a newer one wrote")]
    Version,
    /// A line is missing, out of its place, or its value has another form.
    #[error("the header has no valid `{0}` line where it belongs")]
    Line(&'static str),
    /// A line follows that has no place, or the last LF is missing.
    #[error("the header has a line that does not belong where it stands, or no last LF")]
    Rest,
    /// The values are spelled otherwise than they would be written.
    #[error("the header is not spelled as it would be written")]
    Spelling,
}

use HeaderError::Line;

struct Lines<'a>(Peekable<Split<'a, char>>);

impl<'a> Lines<'a> {
    fn optional(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(key)?.strip_prefix(' ')?;
        self.0.next();
        Some(value)
    }

    /// The value of the line with this key, made into what it stands for.
    fn one<T>(&mut self, key: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, HeaderError> {
        self.optional(key).and_then(read).ok_or(Line(key))
    }

    fn many<T>(&mut self, key: &'static str, read: impl Fn(&'a str) -> Option<T>) -> Result<Vec<T>, HeaderError> {
        let mut values = Vec::new();
        while let Some(value) = self.optional(key) {
            values.push(read(value).ok_or(Line(key))?);
        }
        Ok(values)
    }
}

fn words<const N: usize>(value: &str) -> Option<[&str; N]> {
    let words: Vec<_> = value.splitn(N + 1, ' ').collect();
    words.try_into().ok()
}

fn pair<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    let [open, close] = words(value)?;
    Some((read(open)?, read(close)?))
}

fn sha256(value: &str) -> Option<Hash> {
    unhex(value.strip_prefix("sha256:")?)
}

fn plain(value: &str) -> Option<String> {
    is_plain(value).then(|| value.to_owned())
}

fn word(value: &str) -> Option<String> {
    is_word(value).then(|| value.to_owned())
}

fn vkey(value: &str, name: &str) -> Option<Vkey> {
    Vkey::parse(value).ok().filter(|key| key.name() == name)
}

fn clock(value: &str) -> Option<Clock> {
    let [sync, maxerr, step] = words(value)?;
    let sync = match sync {
        "sync=0" => false,
        "sync=1" => true,
        _ => return None,
    };
    let step_ns = i64::from_str(step.strip_prefix("step_ns=")?).ok()?;
    Some(Clock { sync, maxerr_us: decimal(maxerr.strip_prefix("maxerr_us=")?)?, step_ns })
}

fn agent(value: &str) -> Option<Agent> {
    let [version, exe, "bpf", bpf] = words(value)? else { return None };
    Some(Agent { version: word(version)?, exe: sha256(exe)?, bpf: sha256(bpf)? })
}

fn cpu(value: &str) -> Option<Cpu> {
    let [id, from, to, lost] = words(value)?;
    let cpu =
        Cpu { id: u32::try_from(decimal(id)?).ok()?, first: decimal(from)?, last: decimal(to)?, lost: decimal(lost)? };
    (cpu.first <= cpu.last).then_some(cpu)
}

fn account(value: &str) -> Option<Account> {
    // a zero is not written: the check of the spelling finds one that is
    let (value, merge) = value.split_once(" merge=").map_or((value, "0"), |(value, merge)| (value, merge));
    let [hook, seen, kfilter, lost, recv, ufilter, emit, trunc] = words(value)?;
    let count = |text: &str, key| decimal(text.strip_prefix(key)?);
    Some(Account {
        hook: word(hook)?,
        seen: count(seen, "seen=")?,
        kfilter: count(kfilter, "kfilter=")?,
        lost: count(lost, "lost=")?,
        recv: count(recv, "recv=")?,
        ufilter: count(ufilter, "ufilter=")?,
        emit: count(emit, "emit=")?,
        trunc: count(trunc, "trunc=")?,
        merge: decimal(merge)?,
    })
}

fn gap(value: &str) -> Option<Gap> {
    let [sink, range, reason] = words(value)?;
    let (from, to) = range.split_once('-')?;
    let reason = GapReason::ALL.into_iter().find(|one| one.name() == reason)?;
    let gap = Gap { sink: word(sink)?, from: decimal(from)?, to: decimal(to)?, reason };
    (gap.from <= gap.to).then_some(gap)
}

impl Header {
    /// Reads a header. What is read writes back to the same bytes: a value has one spelling only.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        if text.len() > MAX_HEADER {
            return Err(HeaderError::TooLong(text.len()));
        }
        let mut lines = Lines(text.split('\n').peekable());
        if lines.0.next() != Some(VERSION) {
            return Err(HeaderError::Version);
        }
        let origin =
            lines.one("origin", |value| (is_name(value) && value.len() <= MAX_ORIGIN).then(|| value.to_owned()))?;
        let batch = lines.one("batch", decimal)?;
        let prev = lines.one("prev", unbase64_hash)?;
        let kind = lines.one("kind", |value| BatchKind::ALL.into_iter().find(|kind| kind.name() == value))?;
        let events = lines.one("events", decimal)?;
        let first = lines.one("first", decimal)?;
        let root = lines.one("root", unbase64_hash)?;
        let bytes = lines.one("bytes", decimal)?;
        let boot = lines.one("boot", word)?;
        let host = lines.one("host", plain)?;
        let mono = lines.one("mono", |value| pair(value, decimal))?;
        let wall = lines.one("wall", |value| pair(value, untime))?;
        let clock = lines.one("clock", clock)?;
        let agent = lines.one("agent", agent)?;
        let policy = lines.one("policy", sha256)?;
        let load = lines.optional("load").map(|value| decimal(value).ok_or(Line("load"))).transpose()?;
        let cpus = lines.many("cpu", cpu)?;
        let accounts = lines.many("acct", account)?;
        let lost = lines.one("lost", decimal)?;
        let gaps = lines.many("gap", gap)?;
        let receipts = lines.many("receipt", plain)?;
        let next = lines.one("next", |value| vkey(value, &chain_name(&origin)))?;
        let hostkey = lines.optional("hostkey").map(|value| vkey(value, &origin).ok_or(Line("hostkey"))).transpose()?;
        let mut extensions = Vec::new();
        while let Some(line) = lines.0.next_if(|line| line.starts_with("x-")) {
            let (name, value) = line.split_once(' ').ok_or(Line("x-"))?;
            let (Some(name), Some(value)) = (word(name), plain(value)) else { return Err(Line("x-")) };
            extensions.push((name, value));
        }
        if lines.0.next() != Some("") || lines.0.next().is_some() {
            return Err(HeaderError::Rest);
        }

        if !cpus.is_sorted_by(|one, after| one.id < after.id) {
            return Err(Line("cpu"));
        }
        if (kind == BatchKind::Rotate) != hostkey.is_some() {
            return Err(Line("hostkey"));
        }
        if (kind == BatchKind::Genesis) != (batch == 0) {
            return Err(Line("kind"));
        }
        let mut hooks: Vec<_> = accounts.iter().map(|account| &account.hook).collect();
        hooks.sort_unstable();
        if !hooks.is_sorted_by(|one, after| one < after) {
            return Err(Line("acct"));
        }

        let facts = Facts {
            kind,
            boot,
            host,
            mono,
            wall,
            clock,
            agent,
            policy,
            load,
            cpus,
            accounts,
            lost,
            gaps,
            receipts,
            extensions,
        };
        let header = Self { origin, batch, prev, events, first, root, bytes, facts, next, hostkey };
        if header.to_string() != text {
            return Err(HeaderError::Spelling);
        }
        Ok(header)
    }
}
