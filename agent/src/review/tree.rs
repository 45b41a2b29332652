//! Who started whom, and what each did: made of the records of the processes that are asked for and of those that they
//! started.

use std::collections::{BTreeMap, HashMap};

use super::{CONNECTIONS, Item, PRIVILEGED, is_change, is_one_of, item::cut};

/// Which processes; of what is given, all must hold. Nothing given: all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The process id.
    pub pid: Option<i64>,
    /// The login session.
    pub session: Option<i64>,
    /// `process.id`.
    pub process: Option<String>,
}

impl Wanted {
    fn wants(&self, item: &Item<'_>, id: &str) -> bool {
        self.pid.is_none_or(|pid| item.number("pid") == Some(pid))
            && self.session.is_none_or(|session| item.number("sessionid") == Some(session))
            && self.process.as_ref().is_none_or(|process| process == id)
    }
}

/// How much is kept. What is beyond is counted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes.
    pub processes: usize,
    /// Notes of one process; as many alerts again.
    pub notes: usize,
    /// Notes of all.
    pub all_notes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 65_536, notes: 12, all_notes: 50_000 }
    }
}

/// A note has at most so many bytes.
const NOTE: usize = 240;

/// What a process did that deserves a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The kind.
    pub kind: String,
    /// What was done to what.
    pub words: String,
    /// The name of the error.
    pub error: Option<String>,
    /// The rule that made it an alert.
    pub alert: Option<String>,
    /// How many times, one after the other.
    pub times: u64,
}

impl Note {
    /// Whether it says the same, at another time.
    fn repeats(&self, other: &Self) -> bool {
        (&self.kind, &self.words, &self.error, &self.alert) == (&other.kind, &other.words, &other.error, &other.alert)
    }

    /// What is behind the words of a note that stands for many.
    pub fn many(&self) -> String {
        if self.times > 1 { format!(" × {}", self.times) } else { String::new() }
    }
}

/// A process and what it did.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its process id.
    pub pid: i64,
    /// The program that it ran last.
    pub program: String,
    /// Whose rights it had last.
    pub user: String,
    /// When the first and the last of it was recorded, in nanoseconds since 1970.
    pub seen: Option<(u64, u64)>,
    /// How it ended.
    pub end: Option<String>,
    /// How many events of each kind.
    pub counts: BTreeMap<String, u64>,
    /// What deserves a line, in the order of the log.
    pub notes: Vec<Note>,
    /// How many of these were left out.
    pub more: u64,
    /// How many of its events are alerts.
    pub alerts: u64,
    /// Those that it started, in the order of the log.
    pub children: Vec<String>,
}

/// The processes, by `process.id`.
#[derive(Debug, Default)]
pub struct Tree {
    wanted: Wanted,
    limits: Limits,
    processes: HashMap<String, Process>,
    roots: Vec<String>,
    notes: usize,
    /// Records of processes for which there was no room.
    pub beyond: u64,
}

impl Tree {
    /// A tree of these processes, and of those that they start.
    pub fn new(wanted: Wanted, limits: Limits) -> Self {
        Self { wanted, limits, ..Self::default() }
    }

    /// Takes in what a record says.
    pub fn add(&mut self, item: &Item<'_>) {
        // what a summary stands for was done by the process of its sample
        let (many, sample) = (item.count(), item.inner("sample"));
        let of = sample.as_ref().unwrap_or(item);
        let Some(id) = of.text("process.id") else { return };
        let parent = of.text("process.parent.id");
        let inherited = parent.as_ref().is_some_and(|parent| self.processes.contains_key(&**parent));
        if !self.processes.contains_key(&*id) {
            if !inherited && !self.wanted.wants(of, &id) {
                return;
            }
            if !self.born(&id, parent.as_deref().filter(|_| inherited)) {
                self.beyond += 1;
                return;
            }
        }
        let kind = of.kind();
        if kind == "fork"
            && let (Some(child), Some(pid)) = (child_of(of, &id), of.number("child_pid"))
        {
            if self.processes.contains_key(&child) || self.born(&child, Some(&id)) {
                let program = of.program().unwrap_or_default().into_owned();
                let user = of.user().unwrap_or_default().into_owned();
                let time = of.time();
                if let Some(process) = self.processes.get_mut(&child).filter(|process| process.seen.is_none()) {
                    (process.pid, process.program, process.user) = (pid, program, user);
                    process.seen = time.map(|time| (time, time));
                }
            } else {
                self.beyond += 1;
            }
        }
        let Some(process) = self.processes.get_mut(&*id) else { return };
        process.saw(of, &kind, many);
        let Some(note) = note(of, &kind, many) else { return };
        if let Some(before) = process.notes.last_mut().filter(|before| before.repeats(&note)) {
            before.times += many;
            return;
        }
        let alike = process.notes.iter().filter(|other| other.alert.is_some() == note.alert.is_some()).count();
        if alike < self.limits.notes && self.notes < self.limits.all_notes {
            process.notes.push(note);
            self.notes += 1;
        } else {
            process.more += many;
        }
    }

    /// A place for a process; false when there is no room.
    fn born(&mut self, id: &str, parent: Option<&str>) -> bool {
        if self.processes.len() >= self.limits.processes {
            return false;
        }
        self.processes.insert(id.to_owned(), Process::default());
        match parent.and_then(|parent| self.processes.get_mut(parent)) {
            Some(parent) => parent.children.push(id.to_owned()),
            None => self.roots.push(id.to_owned()),
        }
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// A process.
    pub fn get(&self, id: &str) -> Option<&Process> {
        self.processes.get(id)
    }

    /// Those that nobody here started, in the order of the log.
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Walks the tree from the roots: each process with its depth and whether it is the last of its siblings at each level. Not by
    /// recursion: a tree may be as deep as there are processes.
    pub fn walk(&self, mut each: impl FnMut(&str, &Process, &[bool])) {
        let mut stack: Vec<(&str, Vec<bool>)> = self.roots.iter().rev().map(|id| (id.as_str(), Vec::new())).collect();
        while let Some((id, lasts)) = stack.pop() {
            let Some(process) = self.get(id) else { continue };
            each(id, process, &lasts);
            for (at, child) in process.children.iter().enumerate().rev() {
                // deeper than any terminal is wide
                let mut below = if lasts.len() < DEEP { lasts.clone() } else { lasts[1..].to_vec() };
                below.push(at + 1 == process.children.len());
                stack.push((child, below));
            }
        }
    }
}

/// Levels that are drawn.
const DEEP: usize = 48;

impl Process {
    fn saw(&mut self, item: &Item<'_>, kind: &str, many: u64) {
        if let Some(time) = item.time() {
            let (first, last) = self.seen.unwrap_or((time, time));
            self.seen = Some((first.min(time), last.max(time)));
        }
        self.pid = item.number("pid").unwrap_or(self.pid);
        if let Some(program) = item.program() {
            self.program = program.into_owned();
        }
        if let Some(user) = item.user() {
            self.user = user.into_owned();
        }
        if self.counts.contains_key(kind) || self.counts.len() < KINDS {
            *self.counts.entry(cut(kind, 40).to_owned()).or_default() += many;
        }
        self.alerts += if item.is_alert() { many } else { 0 };
        if kind == "exit" {
            let mut end = String::new();
            item.what(&mut end);
            self.end = Some(end);
        }
    }

    /// The counts as `exec 3 · open 12`, the kind with the most events first.
    pub fn counted(&self) -> String {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(" · ")
    }
}

/// More kinds than there are.
const KINDS: usize = 128;

/// Clock ticks of 10 ms, of which `process.id` has the number since boot.
const TICK: i64 = 10_000_000;

/// `process.id` of the child that a fork made.
fn child_of(fork: &Item<'_>, id: &str) -> Option<String> {
    let boot = id.split('-').next()?;
    Some(format!("{boot}-{}-{}", fork.number("child_pid")?, fork.number("child_start")? / TICK))
}

/// Whether it is more than a process does all the time.
fn is_notable(item: &Item<'_>, kind: &str) -> bool {
    item.is_alert()
        || kind == "exec"
        || kind == "listen"
        || kind == "memfd_create"
        || is_one_of(PRIVILEGED, kind)
        || is_one_of(CONNECTIONS, kind)
        || is_change(item, kind)
        || item.is_not("success")
}

/// The line that an event deserves.
pub fn note(item: &Item<'_>, kind: &str, times: u64) -> Option<Note> {
    if !is_notable(item, kind) {
        return None;
    }
    let words = item.words();
    let short = cut(&words, NOTE);
    Some(Note {
        time: item.time().unwrap_or_default(),
        kind: kind.to_owned(),
        words: if short.len() < words.len() { format!("{short}…") } else { words },
        error: item.text("errno").map(std::borrow::Cow::into_owned),
        alert: item.is_alert().then(|| item.text("policy.rule").unwrap_or_default().into_owned()),
        times,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: i64, parent: i64, more: &str) -> String {
        format!(
            r#"{{"pid":{pid},"process":{{"exe":"/bin/{pid}","id":"b-{pid}-{pid}","parent":{{"id":"b-{parent}-{parent}"}}}},"success":true,"time":"2026-05-28T20:26:40.000000001Z",{more}}}"#
        )
    }

    fn tree(wanted: Wanted, limits: Limits, lines: &[String]) -> (String, u64) {
        let mut tree = Tree::new(wanted, limits);
        for line in lines {
            tree.add(&Item::parse(line.as_bytes()).unwrap());
        }
        let mut drawn = String::new();
        tree.walk(|_, process, lasts| {
            let (depth, counts) = ("-".repeat(lasts.len()), process.counted());
            drawn.extend([&*depth, &*process.pid.to_string(), "[", &*counts, "] "]);
        });
        (drawn, tree.beyond)
    }

    #[test]
    fn children_are_below_who_started_them() {
        let lines = [
            line(1, 0, r#""kind":"fork","child_pid":2,"child_start":"20000001""#),
            line(1, 0, r#""kind":"fork","child_pid":9,"child_start":"90000009""#),
            line(2, 1, r#""kind":"exec","sessionid":5,"path":"/bin/2""#),
            line(3, 2, r#""kind":"open","path":"/x""#),
            line(3, 2, r#""kind":"open","path":"/y""#),
            line(7, 4, r#""kind":"open","path":"/z""#),
        ];
        let check = |wanted: Wanted, limits: Limits, expected: &str, beyond: u64| {
            assert_eq!(tree(wanted, limits, &lines), (expected.to_owned(), beyond));
        };
        let all = Limits::default();
        check(Wanted::default(), all, "1[fork 2] -2[exec 1] --3[open 2] -9[] 7[open 1] ", 0);
        check(Wanted { pid: Some(2), ..Wanted::default() }, all, "2[exec 1] -3[open 2] ", 0);
        check(Wanted { session: Some(5), ..Wanted::default() }, all, "2[exec 1] -3[open 2] ", 0);
        check(Wanted { process: Some("b-7-7".into()), ..Wanted::default() }, all, "7[open 1] ", 0);
        check(Wanted { pid: Some(8), ..Wanted::default() }, all, "", 0);
        check(Wanted::default(), Limits { processes: 2, ..all }, "1[fork 2] -2[exec 1] ", 4);
    }
}
