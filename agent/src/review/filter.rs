//! Which records are wanted. What is not asked about is not looked at.

use std::net::IpAddr;

use memchr::memmem::Finder;
use regex::Error as RegexError;

use super::item::{Item, SUMMARY};
use crate::policy::pattern::{Anchor, Net, Pattern, Regexes};

/// Where a record says that it is about a file.
const PATHS: &[&str] = &["path", "target", "script", "put_old", "source", "target_exe"];
/// Where it names a user, and where the number of one.
const USERS: &[&str] = &["user", "euser", "auser", "uid", "euid", "auid"];
/// Where it has an address.
const ADDRESSES: &[&str] = &["peer", "local", "address"];

/// What is wanted of a record: all that is given here. Of a list one will do.
#[derive(Debug, Default)]
pub struct Filter {
    /// Nanoseconds since 1970, this one included.
    pub since: Option<u64>,
    /// The same.
    pub until: Option<u64>,
    /// Kinds.
    pub kinds: Vec<Pattern>,
    /// Names or numbers of users: real, effective or of the login.
    pub users: Vec<String>,
    /// Login sessions.
    pub sessions: Vec<i64>,
    /// Process ids.
    pub pids: Vec<i64>,
    /// Programs: the whole path, or its last part, or what the process calls itself.
    pub processes: Vec<Pattern>,
    /// Files.
    pub paths: Vec<Pattern>,
    /// Addresses.
    pub nets: Vec<Net>,
    /// Rules.
    pub rules: Vec<Pattern>,
    /// Systemd units.
    pub units: Vec<Pattern>,
    /// Containers, by the beginning of their id.
    pub containers: Vec<Pattern>,
    /// Whether it succeeded.
    pub success: Option<bool>,
    /// The verdict.
    pub verdict: Option<String>,
    /// Bytes that are in the line.
    pub texts: Vec<Finder<'static>>,
}

/// A pattern of a whole text: `*` and `?` as a shell has them.
pub fn glob(text: &str) -> Result<Pattern, RegexError> {
    Pattern::glob(text, Anchor::Whole, false, &mut Regexes::default())
}

/// A pattern of the beginning of a text.
pub fn beginning(text: &str) -> Result<Pattern, RegexError> {
    Pattern::glob(text, Anchor::Start, false, &mut Regexes::default())
}

impl Filter {
    /// Whether a line can be wanted at all; this costs less than to parse it.
    pub fn may_want(&self, line: &[u8]) -> bool {
        self.texts.iter().all(|text| text.find(line).is_some())
    }

    /// Whether a record is wanted. `sealed`: when its batch was, for records that have no time of their own.
    pub fn wants(&self, item: &Item<'_>, sealed: Option<u64>) -> bool {
        self.at_that_time(item, sealed) && self.is_about(item)
    }

    fn at_that_time(&self, item: &Item<'_>, sealed: Option<u64>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(first) = item.time().or(sealed) else { return false };
        let last = item.text("last").and_then(|last| seal::text::untime(&last)).unwrap_or(first);
        self.since.is_none_or(|since| last >= since) && self.until.is_none_or(|until| first <= until)
    }

    /// A summary is about what its sample is about.
    fn is_about(&self, item: &Item<'_>) -> bool {
        let kind = item.kind();
        if kind == SUMMARY {
            let is_kind = one(&self.kinds, |pattern| pattern.matches(kind.as_bytes()));
            return match item.inner("sample") {
                Some(sample) => {
                    self.fits(&sample) && (is_kind || one(&self.kinds, |it| it.matches(sample.kind().as_bytes())))
                }
                None => is_kind && self.fits(item),
            };
        }
        one(&self.kinds, |pattern| pattern.matches(kind.as_bytes())) && self.fits(item)
    }

    fn fits(&self, item: &Item<'_>) -> bool {
        let text = |name: &str| item.bytes(name);
        let has = |patterns: &[Pattern], name: &str| {
            one(patterns, |pattern| text(name).is_some_and(|text| pattern.matches(&text)))
        };
        one(&self.sessions, |session| item.number("sessionid") == Some(*session))
            && one(&self.pids, |pid| item.number("pid") == Some(*pid))
            && self.success.is_none_or(|wanted| if wanted { item.is("success") } else { item.is_not("success") })
            && self.verdict.as_ref().is_none_or(|verdict| item.text("policy.verdict").is_some_and(|it| it == *verdict))
            && one(&self.users, |user| USERS.iter().any(|name| item.readable(name).is_some_and(|it| it == *user)))
            && has(&self.rules, "policy.rule")
            && has(&self.units, "process.unit")
            && has(&self.containers, "process.container.id")
            && one(&self.processes, |pattern| is_program(pattern, item))
            && one(&self.paths, |pattern| {
                PATHS.iter().any(|name| text(name).is_some_and(|path| pattern.matches(&path)))
            })
            && one(&self.nets, |net| {
                ADDRESSES.iter().any(|name| address(item, name).is_some_and(|address| net.contains(address)))
            })
    }
}

/// Whether one of what is wanted is there; nothing wanted is always there.
fn one<T>(wanted: &[T], there: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(there)
}

fn is_program(pattern: &Pattern, item: &Item<'_>) -> bool {
    let last = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let exe = item.bytes("process.exe");
    exe.is_some_and(|exe| pattern.matches(&exe) || pattern.matches(&last(&exe)))
        || item.bytes("comm").is_some_and(|comm| pattern.matches(&comm))
}

fn address(item: &Item<'_>, name: &str) -> Option<IpAddr> {
    item.inner(name)?.ip()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = r#"{"auid":1000,"auser":"eve","comm":"cat","euid":0,"euser":"root","kind":"open","path":"/etc/shadow","pid":7,"policy":{"rule":"secrets","verdict":"alert"},"process":{"exe":"/usr/bin/cat","unit":"ssh.service"},"sessionid":3,"success":false,"time":"2026-05-28T20:26:40.000000001Z","uid":1000}"#;
    const CONNECT: &str = r#"{"kind":"connect","peer":{"family":"inet","ip":"192.0.2.7","port":443},"pid":8,"success":true,"time":"2026-05-28T20:26:41.000000000Z"}"#;

    #[test]
    fn each_condition_decides() {
        let check = |line: &str, name: &str, filter: Filter, expected: bool| {
            let item = Item::parse(line.as_bytes()).unwrap();
            let wanted = filter.may_want(line.as_bytes()) && filter.wants(&item, None);
            assert_eq!(wanted, expected, "{name}");
        };
        let at = |text: &str| seal::text::untime(text);
        let none = Filter::default;
        check(OPEN, "all", none(), true);
        let time = "2026-05-28T20:26:40.000000001Z";
        check(OPEN, "since", Filter { since: at(time), ..none() }, true);
        check(OPEN, "after", Filter { since: at(time).map(|ns| ns + 1), ..none() }, false);
        check(OPEN, "until", Filter { until: at(time), ..none() }, true);
        check(OPEN, "before", Filter { until: at(time).map(|ns| ns - 1), ..none() }, false);
        for (kind, expected) in [("open", true), ("o*", true), ("exec", false)] {
            check(OPEN, kind, Filter { kinds: vec![glob(kind).unwrap()], ..none() }, expected);
        }
        for (user, expected) in [("root", true), ("eve", true), ("1000", true), ("0", true), ("mallory", false)] {
            check(OPEN, user, Filter { users: vec![user.into()], ..none() }, expected);
        }
        for (program, expected) in
            [("/usr/bin/cat", true), ("cat", true), ("c?t", true), ("/usr/*", true), ("ls", false)]
        {
            check(OPEN, program, Filter { processes: vec![glob(program).unwrap()], ..none() }, expected);
        }
        for (path, expected) in [("/etc/*", true), ("/etc/shadow", true), ("/etc", false), ("*.pem", false)] {
            check(OPEN, path, Filter { paths: vec![glob(path).unwrap()], ..none() }, expected);
        }
        for (net, expected) in
            [("192.0.2.0/24", true), ("192.0.2.7", true), ("198.51.100.0/24", false), ("::/0", false)]
        {
            let nets = || vec![Net::parse(net).unwrap()];
            check(CONNECT, net, Filter { nets: nets(), ..none() }, expected);
            check(OPEN, net, Filter { nets: nets(), ..none() }, false);
        }
        check(OPEN, "session", Filter { sessions: vec![3], ..none() }, true);
        check(CONNECT, "no session", Filter { sessions: vec![3], ..none() }, false);
        check(OPEN, "pid", Filter { pids: vec![9, 7], ..none() }, true);
        check(OPEN, "failed", Filter { success: Some(false), ..none() }, true);
        check(CONNECT, "failed", Filter { success: Some(false), ..none() }, false);
        check(OPEN, "alert", Filter { verdict: Some("alert".into()), ..none() }, true);
        check(OPEN, "rule", Filter { rules: vec![glob("sec*").unwrap()], ..none() }, true);
        check(OPEN, "unit", Filter { units: vec![glob("ssh.service").unwrap()], ..none() }, true);
        check(OPEN, "text", Filter { texts: vec![Finder::new("shadow").into_owned()], ..none() }, true);
        check(OPEN, "text", Filter { texts: vec![Finder::new("gshadow").into_owned()], ..none() }, false);
    }

    #[test]
    fn a_summary_is_about_its_sample() {
        let line = format!(
            r#"{{"count":"9","kind":"summary","last":"2026-05-28T20:26:50.000000000Z","of":"open","sample":{OPEN},"time":"2026-05-28T20:26:40.000000001Z"}}"#
        );
        let item = Item::parse(line.as_bytes()).unwrap();
        let wants = |filter: Filter| filter.wants(&item, None);
        assert_eq!(item.count(), 9);
        assert!(wants(Filter { kinds: vec![glob("open").unwrap()], ..Filter::default() }));
        assert!(wants(Filter { kinds: vec![glob("summary").unwrap()], pids: vec![7], ..Filter::default() }));
        assert!(!wants(Filter { kinds: vec![glob("exec").unwrap()], ..Filter::default() }));
        assert!(wants(Filter { since: seal::text::untime("2026-05-28T20:26:45.000000000Z"), ..Filter::default() }));
        assert!(!wants(Filter { since: seal::text::untime("2026-05-28T20:26:51.000000000Z"), ..Filter::default() }));
    }
}
