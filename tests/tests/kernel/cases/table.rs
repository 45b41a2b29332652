//! The table of cases, `cases.txt`: its head says what a line means. Whatever is not exactly so is refused.

use std::{collections::BTreeMap, net::IpAddr};

use common::{Call, Kind, call};
use nix::libc;

use crate::actor::Arg;

/// A process of its own, and what it does.
pub struct Section {
    pub name: String,
    pub steps: Vec<Step>,
}

/// A call, and what comes of it.
pub struct Step {
    /// The line of the table.
    pub line: usize,
    /// The name of the case that begins here.
    pub name: Option<String>,
    /// The variable that keeps the result.
    pub keeps: Option<String>,
    /// By `int $0x80`.
    pub compat: bool,
    /// By the first of two numbers that such a call has.
    pub short: bool,
    /// The name of the call; `fork` is one of the actor's own.
    pub call: String,
    pub args: Vec<String>,
    /// Names of errors; empty after a success.
    pub errors: Vec<String>,
    /// Any result will do.
    pub any: bool,
    /// Why it makes no event, if it makes none.
    pub quiet: Option<String>,
}

/// Calls of the table that make no event: they prepare others. Numbers of x86_64.
const MORE: &[(&str, i64)] = &[("chdir", libc::SYS_chdir), ("close", libc::SYS_close), ("socket", libc::SYS_socket)];

/// The call of 32-bit programs that does one of others.
pub const SOCKETCALL: &str = "socketcall";

/// The number of a call for a 64-bit program or for a 32-bit one: the first or the last of those that it has there.
pub fn number(name: &str, compat: bool, short: bool) -> Option<i64> {
    if compat && name == SOCKETCALL {
        return i64::try_from(call::SOCKETCALL.0).ok();
    }
    let number = |it: &Call| {
        let narrow = it.i386();
        let number = match (compat, short) {
            (true, true) => narrow[0],
            (true, false) => narrow[narrow.len() - 1],
            (false, _) => it.x86_64(),
        };
        (number != common::call::LACKING).then(|| i64::try_from(number).unwrap())
    };
    let more = MORE.iter().filter(|it| it.0 == name && !compat).map(|it| it.1);
    Call::ALL.iter().filter(|it| it.name() == name).find_map(number).or_else(|| more.into_iter().next())
}

/// The calls that make events, by their numbers for 64-bit or 32-bit programs.
pub fn audited(compat: bool) -> BTreeMap<i64, &'static str> {
    let mut calls = BTreeMap::new();
    for call in Call::ALL.iter().filter(|it| it.kind() != Some(Kind::Modify)) {
        let numbers = if compat { call.i386().to_vec() } else { vec![call.x86_64()] };
        let numbers = numbers.into_iter().filter(|it| *it != common::call::LACKING);
        calls.extend(numbers.map(|it| (i64::try_from(it).unwrap(), call.name())));
    }
    if compat {
        calls.insert(i64::try_from(call::SOCKETCALL.0).unwrap(), SOCKETCALL);
    }
    calls
}

/// Reads the table; an error names the line.
pub fn parse(text: &str) -> Result<(BTreeMap<String, i64>, Vec<Section>), String> {
    let (mut constants, mut sections) = (BTreeMap::new(), Vec::<Section>::new());
    for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text.trim())) {
        let wrong = |what: &str| format!("cases.txt:{line}: {what}: {text}");
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), steps: Vec::new() });
        } else if text.contains('|') {
            let section = sections.last_mut().ok_or_else(|| wrong("no [section] before it"))?;
            let step = step(line, text).map_err(|what| wrong(&what))?;
            if section.steps.is_empty() && step.name.is_none() {
                return Err(wrong("a section begins with a case"));
            }
            section.steps.push(step);
        } else {
            let (name, value) = text.split_once('=').ok_or_else(|| wrong("neither a case nor NAME = NUMBER"))?;
            let value = integer(value.trim()).ok_or_else(|| wrong("no number"))?;
            if constants.insert(name.trim().to_owned(), value).is_some() {
                return Err(wrong("a second time"));
            }
        }
    }
    Ok((constants, sections))
}

fn step(line: usize, text: &str) -> Result<Step, String> {
    let mut columns = text.split('|').map(str::trim);
    let mut column = || columns.next().ok_or("name | call | result expected");
    let (name, call, result) = (column()?, column()?, column()?);
    let why = columns.next();
    if columns.next().is_some() {
        return Err("more than four columns".into());
    }
    let (keeps, call) = match call.split_once(" = ") {
        Some((keeps, call)) => (Some(keeps.trim().to_owned()), call.trim()),
        None => (None, call),
    };
    let mut words = call.split_whitespace();
    let first = words.next().ok_or("no call")?;
    let short = first.starts_with("16:");
    let call = first.strip_prefix("32:").or_else(|| first.strip_prefix("16:")).unwrap_or(first);
    let compat = call != first;
    if call != "fork" && number(call, compat, short).is_none() {
        return Err(format!("no call `{call}`; if it makes no event, name it in table.rs"));
    }
    let (result, quiet) = match result.strip_suffix(" quiet") {
        Some(result) => (result, Some(why.filter(|it| !it.is_empty()).ok_or("quiet, and no word why")?.to_owned())),
        None if why.is_some() => return Err("a reason, and nothing that needs one".into()),
        None => (result, None),
    };
    let is_error =
        |it: &str| it.starts_with('E') && it.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit());
    let errors: Vec<String> = result.split('/').filter(|it| *it != "ok").map(str::to_owned).collect();
    if !errors.iter().all(|it| is_error(it)) {
        return Err(format!("`{result}` is not ok, nor errors as ENOENT/EPERM"));
    }
    let any = !errors.is_empty() && result.split('/').any(|it| it == "ok");
    let args = words.map(str::to_owned).collect();
    let name = (!name.is_empty()).then(|| name.to_owned());
    Ok(Step { line, name, keeps, compat, short, call: call.to_owned(), args, errors, any, quiet })
}

/// A number: decimal, `0x…`, or octal with a 0 before it.
fn integer(text: &str) -> Option<i64> {
    let (minus, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = if let Some(digits) = digits.strip_prefix("0x") {
        u64::from_str_radix(digits, 16).ok()?.cast_signed()
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if minus { -value } else { value })
}

/// What words of the table stand for while it is acted.
pub struct Words {
    /// Constants, and results that were kept.
    pub numbers: BTreeMap<String, i64>,
    /// The directory `$D`.
    pub dir: String,
}

impl Words {
    /// The arguments of a call.
    pub fn args(&self, words: &[String]) -> Option<Vec<Arg>> {
        let mut last = 0;
        let arg = |word: &String| {
            let arg = if word == "#" { Arg::Int(last) } else { self.arg(word)? };
            last = if let Arg::Bytes(bytes) = &arg { i64::try_from(bytes.len()).unwrap() } else { 0 };
            Some(arg)
        };
        words.iter().map(arg).collect()
    }

    fn number(&self, word: &str) -> Option<i64> {
        let known = |it: &str| integer(it).or_else(|| self.numbers.get(it.strip_prefix('$').unwrap_or(it)).copied());
        word.split('+').map(known).sum()
    }

    fn text(&self, text: &str) -> Vec<u8> {
        text.replace("$D", &self.dir).into_bytes()
    }

    fn arg(&self, word: &str) -> Option<Arg> {
        if let Some(text) = word.strip_prefix('"') {
            return Some(Arg::Bytes(self.text(text.strip_suffix('"')?)));
        }
        let Some((what, rest)) = word.split_once(':') else { return self.number(word).map(Arg::Int) };
        Some(match what {
            "list" => Arg::List(rest.split(',').map(|it| self.text(it)).collect()),
            "x" => Arg::Bytes(bytes(rest)?),
            "zero" => Arg::Bytes(vec![0; rest.parse().ok()?]),
            "u32" => Arg::Bytes(self.words(rest)?.iter().flat_map(|it| it.to_ne_bytes()[..4].to_vec()).collect()),
            "u64" => Arg::Bytes(self.words(rest)?.iter().flat_map(|it| it.to_ne_bytes()).collect()),
            "in" => Arg::Bytes(self.internet(rest)?),
            "message" => Arg::Message(self.internet(rest)?),
            "un" => Arg::Bytes([&1u16.to_ne_bytes()[..], &self.text(rest)].concat()),
            _ => return None,
        })
    }

    /// Numbers with commas between; `0*7` are seven of them.
    fn words(&self, text: &str) -> Option<Vec<i64>> {
        let mut all = Vec::new();
        for word in text.split(',') {
            let (word, times) = word.split_once('*').unwrap_or((word, "1"));
            let value = self.number(word)?;
            all.extend(std::iter::repeat_n(value, times.parse().ok()?));
        }
        Some(all)
    }

    /// `ADDRESS,PORT` as a `struct sockaddr_in` or `sockaddr_in6`.
    fn internet(&self, text: &str) -> Option<Vec<u8>> {
        let (ip, port) = text.split_once(',')?;
        let port = u16::try_from(self.number(port)?).ok()?.to_be_bytes();
        Some(match ip.parse().ok()? {
            IpAddr::V4(ip) => [&2u16.to_ne_bytes()[..], &port, &ip.octets(), &[0; 8]].concat(),
            IpAddr::V6(ip) => [&10u16.to_ne_bytes()[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat(),
        })
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| hex.get(at..at + 2).and_then(|it| u8::from_str_radix(it, 16).ok())).collect()
}

#[test]
fn a_line_that_is_wrong_is_refused() {
    let refused = |text: &str, what: &str| {
        let said = parse(text).err().unwrap_or_else(|| panic!("taken: {text}"));
        assert!(said.contains(what), "{said}");
    };
    refused("a | unlink 1 | ok", "no [section]");
    refused("[s]\n | unlink 1 | ok", "begins with a case");
    refused("[s]\na | unlink 1", "expected");
    refused("[s]\na | unlinked 1 | ok", "no call `unlinked`");
    refused("[s]\na | unlink 1 | fine", "is not ok");
    refused("[s]\na | unlink 1 | ok quiet", "no word why");
    refused("[s]\na | unlink 1 | ok | because", "needs one");
    refused("A = B", "no number");
    refused("A = 1\nA = 2", "a second time");
    let words = Words { numbers: BTreeMap::from([("A".into(), 5)]), dir: "/d".into() };
    for (word, command) in [("$A+010", "13"), ("\"$D/x\"", "x2f642f78"), ("u32:1,0*2", "x010000000000000000000000")] {
        assert_eq!(words.arg(word).unwrap().command(), command);
    }
    for word in ["B", "\"open", "x:0", "u8:1", "in:1.2.3,4", "1|2"] {
        assert!(words.arg(word).is_none(), "{word}");
    }
}
