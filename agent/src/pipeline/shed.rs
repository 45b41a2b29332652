//! What becomes of a flood: files and connections that are only kept are counted in place of told one by one.
//!
//! When more bulk events come than can be worked on, or a control group makes more than its budget, events are merged:
//! one `summary` a batch for each process, kind, rule, and success or failure. Never merged are events of the critical
//! lane, alerts, what was denied, and what the caller's memory names otherwise. The policy has judged each of them before.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{Hook, Kind, Lane};

use super::Tally;
use crate::{
    record::{Judgement, Record, Verdict, errno, json, mismatches},
    source::Own,
};

/// Groups at a time; one more, and the group that was quiet for longest is written.
const GROUPS: usize = 1024;
/// Control groups whose events are counted at a time.
const BUDGETS: usize = 4096;
const SECOND: u64 = 1_000_000_000;

/// Whether an event is one of many that are only kept: such may be merged, and go first when there is no room.
pub fn is_plain(record: &Record<'_>, judgement: Judgement<'_>) -> bool {
    let event = &record.event;
    let denied = matches!(errno::name(event.header.ret), Some("EACCES" | "EPERM"));
    let is_plain = judgement.verdict == Verdict::Keep && event.kind().lane() == Lane::Bulk && !denied;
    // two names for one act are an alert of their own
    is_plain && mismatches(record).next().is_none()
}

/// What events must have in common to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Start and id of the process.
    process: (u64, u32),
    kind: Kind,
    failed: bool,
    /// Where the id of the rule is in memory: a policy outlives the groups that it made.
    rule: usize,
}

#[derive(Debug)]
struct Group {
    hook: Hook,
    count: u64,
    truncated: bool,
    /// The first record as its line, and the times of the first and the last.
    sample: Vec<u8>,
    first: String,
    last: String,
    /// Number of the last event among all that were merged.
    age: u64,
}

/// The events that are merged since the last seal.
#[derive(Debug, Default)]
pub struct Shed {
    /// Set while more bulk events come than can be worked on.
    pressed: Arc<AtomicBool>,
    /// Bulk events a second of one control group that are told; 0 for any number.
    budget: u32,
    second: u64,
    spent: HashMap<u64, u32>,
    groups: HashMap<Key, Group>,
    age: u64,
}

impl Shed {
    /// `pressed` is set while more bulk events come than can be worked on; `budget`: bulk events a second of one control group that are
    /// told one by one, 0 for any number.
    pub fn new(pressed: Arc<AtomicBool>, budget: u32) -> Self {
        Self { pressed, budget, ..Self::default() }
    }

    /// Merges an event if there are too many and it may be. Returns whether it did, and a group that had to go.
    pub fn takes(
        &mut self,
        record: &Record<'_>,
        judgement: Judgement<'_>,
        time: &str,
        tally: &mut Tally,
    ) -> (bool, Option<Own>) {
        if self.budget == 0 && !self.is_pressed() {
            return (false, None);
        }
        let (event, may) = (&record.event, is_plain(record, judgement));
        // the budget counts all that are told, merged or not
        if !may || !(self.is_over_budget(event.header.cgroup_id, event.header.ktime) | self.is_pressed()) {
            return (false, None);
        }
        tally.merged(event.hook);
        let key = Key {
            process: (event.prefix.start, event.header.pid),
            kind: event.kind(),
            failed: errno::is_error(event.header.ret),
            rule: judgement.rule.as_ptr().addr(),
        };
        self.age += 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            group.age = self.age;
            time.clone_into(&mut group.last);
            return (true, None);
        }
        let mut sample = Vec::new();
        json::line(record, judgement, time, &mut sample);
        let (first, last) = (time.to_owned(), time.to_owned());
        let truncated = Tally::is_truncated(record);
        let group = Group { hook: event.hook, count: 1, truncated, sample, first, last, age: self.age };
        self.groups.insert(key, group);
        (true, if self.groups.len() > GROUPS { self.oldest(tally) } else { None })
    }

    fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    fn is_over_budget(&mut self, cgroup: u64, ktime: u64) -> bool {
        if self.budget == 0 {
            return false;
        }
        if self.second != ktime / SECOND || self.spent.len() >= BUDGETS {
            self.second = ktime / SECOND;
            self.spent.clear();
        }
        let spent = self.spent.entry(cgroup).or_default();
        *spent = spent.saturating_add(1);
        *spent > self.budget
    }

    fn oldest(&mut self, tally: &mut Tally) -> Option<Own> {
        let key = self.groups.iter().min_by_key(|(_, group)| group.age).map(|(key, _)| *key)?;
        self.groups.remove(&key).map(|group| group.told(key.kind, tally))
    }

    /// The summaries of all groups, in the order of their last events: for the seal.
    pub fn flush(&mut self, tally: &mut Tally) -> Vec<Own> {
        let mut groups: Vec<_> = self.groups.drain().collect();
        groups.sort_unstable_by_key(|(_, group)| group.age);
        groups.into_iter().map(|(key, group)| group.told(key.kind, tally)).collect()
    }
}

impl Group {
    /// One event alone is told as it is.
    fn told(self, kind: Kind, tally: &mut Tally) -> Own {
        if self.count == 1 {
            tally.told_after_all(self.hook, self.truncated);
            return Own::Record { line: self.sample };
        }
        Own::Summary { of: kind.name(), count: self.count, first: self.first, last: self.last, sample: self.sample }
    }
}

#[cfg(test)]
mod tests {
    use common::{Event, Header, Prefix, event::Unlink, filter::Counts};
    use fastrand::Rng;
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::{
        pipeline::tally::Marks,
        record::{Context, sample},
    };

    const EACCES: i64 = 13;

    fn event(kind: Kind, header: Header) -> Vec<u64> {
        let prefix = Prefix { hook: Hook::SysExit as u8, start: header.pid.into(), ..sample::prefix(kind) };
        sample::event(prefix, &header, &vec![0; kind.size()], b"")
    }

    /// What is merged, told, dropped and lost is all there was; what must not be merged is not.
    #[test]
    fn the_account_adds_up_with_summaries() {
        let (mut summaries, mut evicted) = (0, 0);
        for seed in 0..16 {
            let mut random = Rng::with_seed(seed);
            let pressed = Arc::new(AtomicBool::new(false));
            let mut shed = Shed::new(pressed.clone(), if seed % 2 == 0 { 0 } else { 40 });
            let mut tally = Tally::default();
            let (mut received, mut told, mut merged, mut next) = (0_u64, 0_u64, 0_u64, 0_u64);
            // more groups than there is room for, or few that are large
            let (processes, most) = if seed % 4 == 0 { (3000, 12_000) } else { (5, 1500) };
            for _ in 0..8 {
                let mut own = Vec::new();
                let mut batch = (0_u64, 0_u64);
                for _ in 0..random.usize(..most) {
                    pressed.store(random.u8(..10) > 3, Ordering::Relaxed);
                    let kind = [Kind::Open, Kind::Unlink, Kind::Connect, Kind::Fork][random.usize(..4)];
                    let ret = [0, 3, -2, -EACCES][random.usize(..4)];
                    let header = Header {
                        pid: random.u32(..processes),
                        ret,
                        seq: next,
                        ktime: next * 1_000_000,
                        ..Header::default()
                    };
                    next += 1;
                    let words = event(kind, header);
                    let record =
                        Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() };
                    tally.received(&record.event);
                    received += 1;
                    batch.0 += 1;
                    let verdict = [Verdict::Drop, Verdict::Keep, Verdict::Keep, Verdict::Alert][random.usize(..4)];
                    if verdict == Verdict::Drop {
                        batch.1 += 1;
                        continue;
                    }
                    let rule = ["one", "two"][random.usize(..2)];
                    let (took, gone) =
                        shed.takes(&record, Judgement { verdict, rule }, "2026-01-01T00:00:00Z", &mut tally);
                    evicted += u64::from(gone.is_some());
                    own.extend(gone);
                    if took {
                        assert!(verdict == Verdict::Keep && kind != Kind::Fork && ret != -EACCES);
                    } else {
                        tally.emitted(&record);
                        told += 1;
                    }
                }
                own.extend(shed.flush(&mut tally));
                for it in &own {
                    match it {
                        Own::Summary { count, .. } => {
                            assert!(*count > 1);
                            merged += count;
                            summaries += 1;
                        }
                        Own::Record { .. } => told += 1,
                        other => panic!("{other:?}"),
                    }
                    let line: serde_json::Value = serde_json::from_str(&it.line("now")).unwrap();
                    assert_eq!(serde_json::to_string(&line).unwrap(), it.line("now"));
                }
                let counts = vec![(Hook::SysExit, Counts { sent: received, ..Counts::default() })];
                let closed = tally.close(Marks { counts, sequences: vec![next], skipped: 0 }, true);
                for account in &closed.accounts {
                    assert_eq!((account.recv, account.ufilter), batch, "seed {seed}");
                    assert_eq!(account.recv, account.ufilter + account.emit + account.merge);
                    assert_eq!(account.seen, account.kfilter + account.lost + account.recv);
                }
                assert_eq!(closed.lost, 0);
            }
            assert_eq!(tally.total.kept, told, "seed {seed}");
            assert_eq!(tally.total.merged, merged, "seed {seed}");
        }
        assert!(summaries > 100 && evicted > 100, "{summaries} summaries, {evicted} of them early");
    }

    #[test]
    fn a_lone_event_is_told_as_it_is() {
        let mut shed = Shed::new(Arc::new(AtomicBool::new(true)), 0);
        let mut tally = Tally::default();
        let words = event(Kind::Unlink, Header { pid: 5, ..Header::default() });
        let record = Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() };
        assert_eq!(size_of::<Unlink>(), Kind::Unlink.size());
        let judgement = Judgement { verdict: Verdict::Keep, rule: "r" };
        let mut line = Vec::new();
        json::line(&record, judgement, "T", &mut line);
        assert!(shed.takes(&record, judgement, "T", &mut tally).0);
        assert_eq!(shed.flush(&mut tally)[0].line("now").as_bytes(), line);
        for _ in 0..3 {
            assert!(shed.takes(&record, judgement, "T", &mut tally).0);
        }
        let summary = shed.flush(&mut tally)[0].line("now");
        let sample = String::from_utf8(line).unwrap();
        assert_eq!(
            summary,
            format!(r#"{{"count":"3","kind":"summary","last":"T","of":"unlink","sample":{sample},"time":"T"}}"#)
        );
        assert!(shed.flush(&mut tally).is_empty());
    }
}
