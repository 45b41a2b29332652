//! Whose events and processes are captured.

use std::{collections::BTreeSet, fmt, fs, io};

use super::{events::Line, process::Process};

/// Processes that are followed at a time.
const FOLLOWED: usize = 65_536;
/// The fewest digits of a container's id.
const DIGITS: usize = 12;

/// Whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everybody's.
    All,
    /// A process and those below it.
    Pid(u32),
    /// A unit of systemd.
    Unit(String),
    /// A container, by the beginning of its id.
    Container(String),
    /// Of who has this id, or logged in with it.
    User(u32),
}

/// Why it is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no target: it is `all`, `pid:17`, `unit:ssh.service`, `container:4f…` (12 digits or more) or `user:name`"
)]
pub struct TargetError(String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Unit(unit) => write!(f, "unit:{unit}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::User(uid) => write!(f, "user:{uid}"),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
        if text == "all" {
            return Ok(Self::All);
        }
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        let is_word = !value.is_empty() && value.len() <= 256;
        match kind {
            "pid" => value.parse().ok().filter(|pid| *pid > 0).map(Self::Pid),
            "unit" => is_word.then(|| Self::Unit(value.to_owned())),
            "container" => {
                let is_id = value.len() >= DIGITS && is_word && value.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_id.then(|| Self::Container(value.to_owned()))
            }
            "user" => uid(value).ok().flatten().map(Self::User),
            _ => None,
        }
        .ok_or_else(wrong)
    }
}

/// The id of a user, by name (passwd(5)) or number.
pub fn uid(user: &str) -> io::Result<Option<u32>> {
    if let Ok(uid) = user.parse() {
        return Ok(Some(uid));
    }
    let text = fs::read_to_string("/etc/passwd")?;
    let mut lines = text.lines().map(|line| line.split(':'));
    Ok(lines.find_map(|mut fields| (fields.next()? == user).then(|| fields.nth(1)?.parse().ok())?))
}

impl Target {
    /// Those of the processes that it means.
    pub(super) fn of<'a>(&self, all: &'a [Process]) -> Vec<&'a Process> {
        let is_of = |process: &&Process| match self {
            Self::All => true,
            Self::Pid(_) => false,
            Self::Unit(unit) => process.cgroup.split('/').any(|part| part == unit),
            Self::Container(id) => process.cgroup.contains(id.as_str()),
            Self::User(uid) => process.uids.contains(uid) || process.auid == Some(*uid),
        };
        match self {
            Self::Pid(pid) => {
                let below = below(*pid, all);
                all.iter().filter(|process| below.contains(&process.pid)).collect()
            }
            _ => all.iter().filter(is_of).collect(),
        }
    }
}

/// A process, and those that come from it.
fn below(pid: u32, all: &[Process]) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([pid]);
    loop {
        let before = found.len();
        found.extend(all.iter().filter(|it| found.contains(&it.ppid)).map(|it| it.pid).collect::<Vec<_>>());
        if found.len() == before {
            return found;
        }
    }
}

/// Follows a target through its events.
pub(super) struct Follow {
    target: Target,
    pids: BTreeSet<u32>,
}

impl Follow {
    pub fn new(target: &Target, all: &[Process]) -> Self {
        let pids = if let Target::Pid(pid) = target { below(*pid, all) } else { BTreeSet::new() };
        Self { target: target.clone(), pids }
    }

    /// Whether the event is about the target.
    pub fn takes(&mut self, line: &Line<'_>) -> bool {
        let process = line.process.as_ref();
        match &self.target {
            Target::All => true,
            Target::Pid(_) => {
                let has = |pid: u32| self.pids.contains(&pid);
                let acts = has(line.pid);
                let takes = acts || line.target_pid.and_then(|pid| u32::try_from(pid).ok()).is_some_and(has);
                if let Some(child) = line.child_pid.filter(|_| acts && self.pids.len() < FOLLOWED) {
                    self.pids.insert(child);
                }
                takes
            }
            Target::Unit(unit) => process.and_then(|it| it.unit.as_ref()?.as_str()).is_some_and(|it| it == unit),
            Target::Container(id) => {
                process.and_then(|it| it.container.as_ref()).is_some_and(|it| it.id.starts_with(id.as_str()))
            }
            Target::User(uid) => [line.uid, line.euid, line.auid].contains(&Some(*uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for (text, target) in [
            ("all", Some(Target::All)),
            ("pid:17", Some(Target::Pid(17))),
            ("pid:0", None),
            ("pid:-1", None),
            ("unit:ssh.service", Some(Target::Unit("ssh.service".into()))),
            ("unit:", None),
            ("container:0123456789ab", Some(Target::Container("0123456789ab".into()))),
            ("container:0123", None),
            ("container:0123456789xx", None),
            ("user:0", Some(Target::User(0))),
            ("user:root", Some(Target::User(0))),
            ("user:nobody-of-this-name", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), target, "{text}");
        }
    }
}
