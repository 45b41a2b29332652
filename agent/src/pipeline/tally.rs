//! The account of a batch: what was seen, received, dropped, written and lost, by hook and by CPU.

use std::collections::BTreeMap;

use common::{Event, Hook, Kind, filter::Counts, wire::mark};
use seal::{Account, Cpu};

use super::meter::Meter;
use crate::{
    record::Record,
    source::{Base, Own},
};

/// What the kernel half said at the end of a batch: `sequences` before its last events were taken, the counts after.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Counts of each hook over all CPUs, since load.
    pub counts: Vec<(Hook, Counts)>,
    /// Next sequence number of each CPU.
    pub sequences: Vec<u64>,
    /// Times that the kernel left out a program, since load.
    pub skipped: u64,
}

/// What happened to the events of one hook in user space.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    received: u64,
    emitted: u64,
    truncated: u64,
    unwritten: u64,
    refused: u64,
    merged: u64,
}

/// The sequence numbers of one CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    /// The number that comes next.
    next: u64,
    /// The number with which the batch begins.
    first: u64,
    /// Events received in this batch.
    received: u64,
}

/// Counts since the last seal, and what has to be remembered from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    hooks: BTreeMap<u8, Flow>,
    cpus: BTreeMap<u32, Numbers>,
    undecodable: u64,
    before: Marks,
    /// Lost by the kernel's count, not yet seen as a gap in the numbers.
    owed: BTreeMap<u8, u64>,
    /// What the agent before had taken and not kept when it was killed may still show as gaps.
    killed: bool,
    /// Totals since the start.
    pub total: Total,
    /// Records since the start, by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// What is measured of records.
    pub meter: Meter,
}

/// Totals since the start of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Total {
    /// Events that came from the kernel half.
    pub received: u64,
    /// Events that became records.
    pub kept: u64,
    /// Events that were wanted and not had.
    pub lost: u64,
    /// Events that were told as part of a summary.
    #[serde(default)]
    pub merged: u64,
    /// Events that the policy dropped here; the kernel half drops most of them before.
    #[serde(default)]
    pub dropped: u64,
    /// Events that could not be made a line; they are lost, too.
    #[serde(default)]
    pub unwritten: u64,
    /// Events for whose records a full spool had no room; they are lost, too.
    #[serde(default)]
    pub refused: u64,
    /// Events that two kernel halves made, at the handover from one to the other, and the other one tells.
    #[serde(default)]
    pub repeated: u64,
    /// Bytes that made no event; they are lost, too, and not counted as received.
    #[serde(default)]
    pub undecodable: u64,
}

/// The account of one batch, closed.
#[derive(Clone, Debug, Default)]
pub struct Closed {
    /// For the header.
    pub load: Option<u64>,
    /// For the header.
    pub cpus: Vec<Cpu>,
    /// For the header.
    pub accounts: Vec<Account>,
    /// All that was lost.
    pub lost: u64,
    causes: Vec<(&'static str, &'static str, u64)>,
}

impl Tally {
    /// Goes on from what another run has accounted for.
    pub fn resume(&mut self, base: &Base) {
        self.begin_anew();
        self.killed = true;
        self.before.skipped = base.skipped;
        for (cpu, next) in &base.cpus {
            self.cpus.insert(*cpu, Numbers { next: *next, first: *next, received: 0 });
        }
        for (number, filtered, lost, owed) in &base.hooks {
            let Some(hook) = Hook::from_number(*number) else { continue };
            let counts = Counts { filtered: *filtered, lost: *lost, ..Counts::default() };
            self.before.counts.push((hook, counts));
            self.owed.insert(*number, *owed);
        }
    }

    /// Begins with a kernel half that has made nothing yet. The totals go on.
    pub fn begin_anew(&mut self) {
        let (kinds, meter) = (std::mem::take(&mut self.kinds), std::mem::take(&mut self.meter));
        *self = Self { total: self.total, kinds, meter, ..Self::default() };
    }

    /// What is accounted for by the batch that was closed.
    pub fn base(&self, batch: u64) -> Base {
        let hooks = self.before.counts.iter().map(|(hook, counts)| {
            let owed = self.owed.get(&(*hook as u8)).copied().unwrap_or(0);
            (*hook as u8, counts.filtered, counts.lost, owed)
        });
        Base {
            batch,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cpus: self.cpus.iter().map(|(cpu, numbers)| (*cpu, numbers.next)).collect(),
            hooks: hooks.collect(),
            skipped: self.before.skipped,
        }
    }

    /// An event came.
    pub fn received(&mut self, event: &Event<'_>) {
        self.hooks.entry(event.hook as u8).or_default().received += 1;
        self.total.received += 1;
        let numbers = self.cpus.entry(event.header.cpu).or_default();
        numbers.received += 1;
        numbers.next = numbers.next.max(event.header.seq.saturating_add(1));
    }

    /// Bytes came that are no event.
    pub fn undecodable(&mut self) {
        self.undecodable += 1;
        self.total.undecodable += 1;
    }

    /// The policy dropped an event.
    pub fn dropped(&mut self, record: &Record<'_>) {
        self.total.dropped += u64::from(came(record));
    }

    /// Another kernel half tells an event that came.
    pub fn repeated(&mut self) {
        self.total.repeated += 1;
    }

    /// An event became a line.
    pub fn emitted(&mut self, record: &Record<'_>) {
        *self.kinds.entry(record.event.kind()).or_default() += 1;
        if !came(record) {
            return;
        }
        let hook = self.hooks.entry(record.event.hook as u8).or_default();
        hook.emitted += 1;
        self.total.kept += 1;
        hook.truncated += u64::from(Self::is_truncated(record));
    }

    /// Whether a record has a value that is cut short.
    pub fn is_truncated(record: &Record<'_>) -> bool {
        let fields = record.event.kind().fields().len();
        (0..fields).any(|field| record.event.body_marks(field) & mark::TRUNCATED != 0)
    }

    /// An event became part of a summary.
    pub fn merged(&mut self, hook: Hook) {
        self.hooks.entry(hook as u8).or_default().merged += 1;
        self.total.merged += 1;
    }

    /// An event of this batch that counts as merged became a line after all.
    pub fn told_after_all(&mut self, hook: Hook, truncated: bool) {
        let flow = self.hooks.entry(hook as u8).or_default();
        flow.merged -= 1;
        flow.emitted += 1;
        flow.truncated += u64::from(truncated);
        self.total.merged -= 1;
        self.total.kept += 1;
    }

    /// An event could not be made a line.
    pub fn unwritten(&mut self, record: &Record<'_>) {
        self.hooks.entry(record.event.hook as u8).or_default().unwritten += 1;
        self.total.unwritten += u64::from(came(record));
    }

    /// There was no room in the spool for the record of an event.
    pub fn refused(&mut self, record: &Record<'_>) {
        self.hooks.entry(record.event.hook as u8).or_default().refused += 1;
        self.total.refused += u64::from(came(record));
    }

    /// Closes the account. `empty`: all events from before the sequence numbers of the marks are received.
    pub fn close(&mut self, marks: Marks, empty: bool) -> Closed {
        let mut closed = Closed::default();
        if empty {
            for (cpu, next) in marks.sequences.iter().enumerate() {
                if *next > 0 {
                    let numbers = self.cpus.entry(cpu as u32).or_default();
                    numbers.next = numbers.next.max(*next);
                }
            }
        }
        let mut gaps = 0;
        for (id, numbers) in &mut self.cpus {
            if numbers.next > numbers.first {
                let lost = (numbers.next - numbers.first).saturating_sub(numbers.received);
                closed.cpus.push(Cpu { id: *id, first: numbers.first, last: numbers.next - 1, lost });
                gaps = u64::saturating_add(gaps, lost);
            }
            numbers.first = numbers.next;
            numbers.received = 0;
        }
        self.account(&marks, gaps, &mut closed);
        self.killed &= !empty;
        let skipped = marks.skipped.saturating_sub(self.before.skipped);
        for (cause, count) in [("skipped", skipped), ("undecodable", std::mem::take(&mut self.undecodable))] {
            if count > 0 {
                closed.causes.push(("all", cause, count));
            }
        }
        closed.lost = closed.causes.iter().fold(0, |sum, (.., count)| sum.saturating_add(*count));
        self.total.lost = self.total.lost.saturating_add(closed.lost);
        self.before = marks;
        closed
    }

    /// The account of each hook. The kernel counts a loss before its gap in the numbers shows; a loss is told in the
    /// batch that shows the gap, so that both sides of the header say the same.
    fn account(&mut self, marks: &Marks, gaps: u64, closed: &mut Closed) {
        let mut gaps = gaps;
        for hook in Hook::ALL {
            let said = |marks: &Marks| marks.counts.iter().find(|(it, _)| it == hook).map(|(_, counts)| *counts);
            // a recorded stream comes without counts
            let (counts, before) = (said(marks).unwrap_or_default(), said(&self.before).unwrap_or_default());
            let owed = self.owed.entry(*hook as u8).or_default();
            *owed += counts.lost - before.lost;
            let lost = gaps.min(*owed);
            *owed -= lost;
            gaps -= lost;
            let filtered = counts.filtered - before.filtered;
            let got = std::mem::take(self.hooks.entry(*hook as u8).or_default());
            if lost + filtered + got.received > 0 {
                closed.accounts.push(Account {
                    hook: hook.name().to_owned(),
                    seen: filtered + lost + got.received,
                    kfilter: filtered,
                    lost,
                    recv: got.received,
                    ufilter: got.received - got.emitted - got.merged,
                    emit: got.emitted,
                    trunc: got.truncated,
                    merge: got.merged,
                });
            }
            if lost > 0 {
                closed.causes.push((hook.name(), "ring_full", lost));
            }
            if got.unwritten > 0 {
                closed.causes.push((hook.name(), "line", got.unwritten));
            }
            if got.refused > 0 {
                closed.causes.push((hook.name(), "spool_full", got.refused));
            }
        }
        // a gap that no hook counted as lost: never silent
        if gaps > 0 {
            closed.causes.push(("all", if self.killed { "killed" } else { "uncounted" }, gaps));
        }
    }
}

/// Whether the kernel half sent it. What the agent made no hook has sent, and no CPU has numbered.
fn came(record: &Record<'_>) -> bool {
    record.event.kind() != Kind::CredChange
}

impl Closed {
    /// The records that say what was lost.
    pub fn lost_records(&self) -> impl Iterator<Item = Own> + '_ {
        self.causes.iter().map(|(hook, cause, count)| Own::Lost { hook, cause, count: *count })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use common::{Header, Prefix, event::Unlink, wire::Path};
    use fastrand::Rng;
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::record::{Context, sample};

    /// The kernel half as far as its account goes.
    #[derive(Default)]
    struct Kernel {
        sequences: [u64; 2],
        counts: [Counts; 2],
        ring: VecDeque<(Hook, Header)>,
    }

    impl Kernel {
        /// An event on one CPU: it finds room, or it does not, or nobody wants it.
        fn happens(&mut self, cpu: usize, hook: usize, fate: u8) {
            let counts = &mut self.counts[hook];
            counts.seen += 1;
            if fate == 0 {
                counts.filtered += 1;
                return;
            }
            let seq = self.sequences[cpu];
            self.sequences[cpu] += 1;
            if fate == 1 {
                counts.lost += 1;
            } else {
                counts.sent += 1;
                self.ring.push_back((Hook::ALL[hook], Header { seq, cpu: cpu as u32, ..Header::default() }));
            }
        }

        fn is_busy(&mut self, random: &mut Rng) {
            for _ in 0..random.usize(..30) {
                self.happens(random.usize(..2), random.usize(..2), random.u8(..6));
            }
        }

        fn marks(&self, sequences: [u64; 2]) -> Marks {
            let counts = Hook::ALL.iter().copied().zip(self.counts).collect();
            Marks { counts, sequences: sequences.to_vec(), skipped: 0 }
        }
    }

    /// Takes an event; makes it a record when it is kept.
    fn take(tally: &mut Tally, (hook, header): (Hook, Header), keep: bool, marks: u32) {
        let prefix = Prefix { hook: hook as u8, ..sample::prefix(Kind::Unlink) };
        let body = Unlink { path: Path { marks, ..Path::default() } };
        let words = sample::event(prefix, &header, body.as_bytes(), b"");
        let event = Event::decode(words.as_bytes()).unwrap();
        tally.received(&event);
        if keep {
            tally.emitted(&Record { event, context: Context::default() });
        }
    }

    /// Both sides of a header say the same, and over all batches they say what the kernel half says: nothing twice,
    /// nothing never.
    #[test]
    fn the_accounts_of_all_batches_add_up() {
        for seed in 0..300 {
            let mut random = Rng::with_seed(seed);
            let (mut kernel, mut tally) = (Kernel::default(), Tally::default());
            let (mut lost, mut seen, mut filtered) = (0, [0; 2], [0; 2]);
            let mut next = [0; 2];
            for batch in 0..20 {
                kernel.is_busy(&mut random);
                let (mut sequences, mut waiting) = (kernel.sequences, kernel.ring.len());
                kernel.is_busy(&mut random);
                // the last batch is closed when nothing comes any more
                let is_last = batch == 19;
                if is_last {
                    (sequences, waiting) = (kernel.sequences, kernel.ring.len());
                }
                let empty = is_last || random.bool();
                let count = random.usize(if empty { waiting } else { 0 }..=kernel.ring.len());
                for event in kernel.ring.drain(..count) {
                    take(&mut tally, event, random.bool(), 0);
                }
                if !is_last {
                    // the counts may be ahead of the gaps
                    kernel.is_busy(&mut random);
                }
                let closed = tally.close(kernel.marks(sequences), empty);

                let by_cpu: u64 = closed.cpus.iter().map(|cpu| cpu.lost).sum();
                let by_hook: u64 = closed.accounts.iter().map(|account| account.lost).sum();
                assert_eq!((by_cpu, by_hook), (closed.lost, closed.lost), "seed {seed}, batch {batch}");
                assert_eq!(
                    closed.lost_records().count() as u64,
                    closed.accounts.iter().filter(|it| it.lost > 0).count() as u64
                );
                for cpu in &closed.cpus {
                    assert_eq!(cpu.first, next[cpu.id as usize], "no number is left out between batches");
                    next[cpu.id as usize] = cpu.last + 1;
                }
                for account in &closed.accounts {
                    let hook = Hook::ALL.iter().position(|hook| hook.name() == account.hook).unwrap();
                    assert_eq!(account.seen, account.kfilter + account.lost + account.recv);
                    assert_eq!(account.recv, account.ufilter + account.emit);
                    seen[hook] += account.seen;
                    filtered[hook] += account.kfilter;
                }
                lost += closed.lost;
            }
            assert_eq!(next, kernel.sequences, "seed {seed}");
            assert_eq!(lost, kernel.counts.iter().map(|counts| counts.lost).sum::<u64>(), "seed {seed}");
            assert_eq!(tally.total.lost, lost);
            assert_eq!(filtered, kernel.counts.map(|counts| counts.filtered), "seed {seed}");
            assert_eq!(seen.iter().sum::<u64>(), kernel.counts.iter().map(|counts| counts.seen).sum::<u64>());
        }
    }

    #[test]
    fn what_is_lost_has_a_cause() {
        let causes = |closed: &Closed| closed.causes.clone();
        let mut tally = Tally::default();
        let header = |seq| Header { seq, ..Header::default() };
        let sequences = |next: u64| Marks { sequences: vec![next], ..Marks::default() };
        // a gap that no count explains
        take(&mut tally, (Hook::Fork, header(2)), true, mark::TRUNCATED);
        assert_eq!(causes(&tally.close(sequences(0), false)), [("all", "uncounted", 2)]);
        // numbers beyond the last event count only when the ring was emptied
        assert_eq!(causes(&tally.close(sequences(5), false)), []);
        assert_eq!(causes(&tally.close(sequences(5), true)), [("all", "uncounted", 2)]);
        // what the kernel left out, once; bytes that are no event
        let skipped = Marks { skipped: 3, ..sequences(5) };
        tally.undecodable();
        assert_eq!(causes(&tally.close(skipped.clone(), true)), [("all", "skipped", 3), ("all", "undecodable", 1)]);
        assert_eq!(causes(&tally.close(skipped, true)), []);
        assert_eq!(tally.total, Total { received: 1, kept: 1, lost: 8, undecodable: 1, ..Total::default() });
    }
}
