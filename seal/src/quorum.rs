//! Which witnesses are enough (C2SP `tlog-policy.md`): logs, witnesses, groups of k out of n, and the quorum.

use thiserror::Error;

use crate::cosign::WitnessKey;
use crate::note::Vkey;

/// The longest policy in bytes.
pub const MAX_POLICY: usize = 1 << 20;
/// The most logs, witnesses and groups, each.
const MOST: usize = 4096;

/// Why a text is no policy: the line, counted from 1, and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct PolicyError {
    /// The line; behind the last one for what is missing.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Who can cosign: a witness by its place in [`Policy::witnesses`], or a group by its place among the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
    /// `none`: nobody has to.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// So many of the members.
    least: usize,
    members: Vec<Member>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The keys of the logs that are accepted; none: the logs are known from elsewhere.
    pub logs: Vec<Vkey>,
    /// The witnesses.
    pub witnesses: Vec<WitnessKey>,
    /// Members of a group stand before it.
    groups: Vec<Group>,
    quorum: Member,
}

/// What is known after some lines.
#[derive(Default)]
struct Reader<'a> {
    logs: Vec<Vkey>,
    witnesses: Vec<WitnessKey>,
    groups: Vec<Group>,
    /// Names, what they are, and whether a group has them already.
    names: Vec<(&'a [u8], Member, bool)>,
    quorum: Option<Member>,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError { line: 1, what: "the policy is too long" });
        }
        let mut reader = Reader::default();
        let mut count = 0;
        for line in text.split(|byte| *byte == b'\n') {
            count += 1;
            reader.line(line).map_err(|what| PolicyError { line: count, what })?;
        }
        let quorum = reader.quorum.ok_or(PolicyError { line: count, what: "there is no `quorum` line" })?;
        Ok(Self { logs: reader.logs, witnesses: reader.witnesses, groups: reader.groups, quorum })
    }

    /// Whether a checkpoint is valid that these witnesses cosigned, asked by their place in [`Policy::witnesses`].
    pub fn is_met(&self, cosigned: impl Fn(usize) -> bool) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let have = group.members.iter().filter(|member| holds(**member, &cosigned, &met)).count();
            met.push(have >= group.least);
        }
        holds(self.quorum, &cosigned, &met)
    }
}

fn holds(member: Member, cosigned: impl Fn(usize) -> bool, groups: &[bool]) -> bool {
    match member {
        Member::Witness(at) => cosigned(at),
        Member::Group(at) => groups.get(at).copied().unwrap_or(false),
        Member::Nobody => true,
    }
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err("a control character other than tab");
        }
        let items: Vec<_> = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, least, members @ ..] => self.group(name, least, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err("neither `log`, `witness`, `group` nor `quorum` with what belongs to it"),
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), &'static str> {
        let key = text(key).and_then(|key| Vkey::parse(key).ok()).ok_or("no Ed25519 key of a log (type 1)")?;
        if self.logs.iter().any(|log| log.bytes() == key.bytes()) {
            return Err("the key of this log stands twice");
        }
        push(&mut self.logs, key).map(|_| ())
    }

    fn witness(&mut self, name: &'a [u8], key: &[u8]) -> Result<(), &'static str> {
        let key =
            text(key).and_then(|key| WitnessKey::parse(key).ok()).ok_or("no Ed25519 key of a witness (type 4)")?;
        if self.witnesses.iter().any(|witness| witness.bytes() == key.bytes()) {
            return Err("the key of this witness stands twice");
        }
        let at = push(&mut self.witnesses, key)?;
        self.name(name, Member::Witness(at))
    }

    fn group(&mut self, name: &'a [u8], least: &[u8], names: &[&[u8]]) -> Result<(), &'static str> {
        let mut members = Vec::new();
        for name in names {
            let known = self.names.iter_mut().find(|(known, ..)| known == name);
            let (_, member, taken) = known.ok_or("a member that no line before defines")?;
            if std::mem::replace(taken, true) {
                return Err("a member that another group has already");
            }
            members.push(*member);
        }
        let least = match least {
            b"any" => 1,
            b"all" => members.len(),
            number => text(number)
                .and_then(crate::text::decimal)
                .and_then(|number| usize::try_from(number).ok())
                .ok_or("`any`, `all` or a number is expected")?,
        };
        if !(1..=members.len()).contains(&least) {
            return Err("a group wants at least one and at most all of its members");
        }
        let at = push(&mut self.groups, Group { least, members })?;
        self.name(name, Member::Group(at))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), &'static str> {
        let known = self.names.iter().find(|(known, ..)| *known == name);
        let quorum = match known {
            _ if name == b"none" => Member::Nobody,
            Some((_, member, _)) => *member,
            None => return Err("a quorum that no line before defines"),
        };
        if self.quorum.replace(quorum).is_some() { Err("a second `quorum` line") } else { Ok(()) }
    }

    fn name(&mut self, name: &'a [u8], member: Member) -> Result<(), &'static str> {
        if name == b"none" || self.names.iter().any(|(known, ..)| *known == name) {
            return Err("a name that stands for something else already");
        }
        self.names.push((name, member, false));
        Ok(())
    }
}

fn push<T>(list: &mut Vec<T>, one: T) -> Result<usize, &'static str> {
    if list.len() == MOST {
        return Err("too many of them");
    }
    list.push(one);
    Ok(list.len() - 1)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosign::Witness;
    use crate::key::HostKey;

    fn witness(n: u8) -> String {
        Witness::new("witness.example", &[n; 32]).unwrap().key().to_string()
    }

    fn log(n: u8) -> String {
        HostKey::new("log.example/a", &[n; 32]).unwrap().vkey().to_string()
    }

    #[test]
    fn two_levels_of_groups() {
        let line = |n: u8| format!("witness w{n} {} https://w{n}.example\n", witness(n));
        let lines: String = (1..=6).map(line).collect();
        let text = format!(
            "# the example of tlog-policy.md\n\nlog {}\n{lines}group X 2 w1 w2 w3\n\tgroup Y any w4 w5 w6 \ngroup both all X Y\nquorum both\n",
            log(1)
        );
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!((policy.logs.len(), policy.witnesses.len()), (1, 6));
        for (cosigned, expected) in [
            (&[][..], false),
            (&[0, 1], false),
            (&[0, 3], false),
            (&[0, 1, 3], true),
            (&[1, 2, 5], true),
            (&[3, 4, 5], false),
            (&[0, 1, 2, 3, 4, 5], true),
        ] {
            assert_eq!(policy.is_met(|at| cosigned.contains(&at)), expected, "{cosigned:?}");
        }
        let none = Policy::parse(b"quorum none").unwrap();
        assert!(none.is_met(|_| false));
    }

    #[test]
    fn what_makes_no_policy_is_named_with_its_line() {
        let (one, two) = (witness(1), witness(2));
        let check = |text: &str, line: usize, words: &str| {
            let error = Policy::parse(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.what.contains(words), "{text:?}: {error}");
        };
        check("", 1, "no `quorum`");
        check("quorum all", 1, "no line before");
        check("quorum none\nquorum none", 2, "second");
        check("quorum none\r\n", 1, "control");
        check(&format!("witness a {one}\nwitness a {two}\nquorum a"), 2, "name");
        check(&format!("witness a {one}\nwitness b {one}\nquorum a"), 2, "twice");
        check(&format!("witness none {one}"), 1, "name");
        check(&format!("witness a {}", log(1)), 1, "type 4");
        check(&format!("log {one}"), 1, "type 1");
        check(&format!("log {}\nlog {}", log(1), log(1)), 2, "twice");
        check(&format!("witness a {one}\ngroup g 2 a\nquorum g"), 2, "at most all");
        check(&format!("witness a {one}\ngroup g 0 a\nquorum g"), 2, "at least one");
        check(&format!("witness a {one}\ngroup g 01 a\nquorum g"), 2, "number");
        check(&format!("witness a {one}\ngroup g all\nquorum g"), 2, "at least one");
        check(&format!("witness a {one}\ngroup g any a a\nquorum g"), 2, "another group");
        check(&format!("witness a {one}\ngroup g any b\nwitness b {two}\nquorum g"), 2, "no line before");
        check("group g any", 1, "at least one");
        check("witness a", 1, "neither");
    }
}
