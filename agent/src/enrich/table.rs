//! The process table: by process id, bounded in number and in bytes.

use std::collections::{HashMap, VecDeque};

use super::process::Entry;

/// Exited processes stay this long, in nanoseconds of event time: events of other CPUs may come later.
const LINGER: u64 = 5_000_000_000;
/// Programs and ancestors of all processes take at most this much, counted as if nothing were shared.
const BYTES: usize = 16 << 20;
/// What is written out for records takes at most this much; it can be made again.
const VIEW_BYTES: usize = 8 << 20;

/// Where an entry is. Valid until the next insertion, but for the one that [`Table::insert`] is told to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(usize);

/// The place of the one entry that is in no index: see [`Table::set_stray`].
const STRAY: At = At(0);

/// The process table.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    index: HashMap<u32, usize>,
    exited: VecDeque<Exited>,
    hand: usize,
    limit: usize,
    bytes: usize,
    views: usize,
}

#[derive(Debug, Default)]
struct Slot {
    taken: bool,
    /// What it counts in `bytes`.
    weight: usize,
    entry: Entry,
}

#[derive(Debug)]
struct Exited {
    pid: u32,
    ticks: u64,
    ktime: u64,
}

impl Table {
    /// A table of at most `limit` processes, and at least four.
    pub fn new(limit: usize) -> Self {
        Self {
            slots: vec![Slot::default()],
            free: Vec::new(),
            index: HashMap::new(),
            exited: VecDeque::new(),
            hand: 0,
            limit: limit.max(4),
            bytes: 0,
            views: 0,
        }
    }

    /// Number of processes.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// The process that has this id now, or had it last.
    pub fn find(&self, pid: u32) -> Option<At> {
        self.index.get(&pid).copied().map(At)
    }

    /// Looks at an entry.
    pub fn entry(&self, at: At) -> &Entry {
        &self.slots[at.0].entry
    }

    /// Changes an entry, whose view is made anew then. What makes it heavier ends with [`Table::weigh`].
    pub fn change(&mut self, at: At) -> &mut Entry {
        let entry = &mut self.slots[at.0].entry;
        self.views -= entry.forget_view();
        entry
    }

    /// For what does not show: flags, and the line that children share.
    pub fn touch(&mut self, at: At) -> &mut Entry {
        &mut self.slots[at.0].entry
    }

    /// Gives one of two entries the line of the other.
    pub fn adopt_line(&mut self, child: &mut Entry, of: At) {
        child.adopt_line(&mut self.slots[of.0].entry);
    }

    /// Puts a process into the table, in place of the one that had its id before, and makes room. Never takes the room
    /// of `keep`.
    pub fn insert(&mut self, entry: Entry, keep: Option<At>) -> At {
        if let Some(before) = self.find(entry.pid) {
            self.remove(before);
        }
        self.make_room(keep);
        let pid = entry.pid;
        let mut slot = Slot { taken: true, weight: entry.weight(), entry };
        self.bytes += slot.weight;
        // the hand must not take the young before they did anything
        slot.entry.used = true;
        let at = self.free.pop().unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[at] = slot;
        }
        self.index.insert(pid, at);
        At(at)
    }

    /// Keeps one entry beside the table, until the next one: a late event of a process whose id another one has now.
    pub fn set_stray(&mut self, entry: Entry) -> At {
        *self.change(STRAY) = entry;
        STRAY
    }

    /// Counts the bytes of an entry that changed, and makes room.
    pub fn weigh(&mut self, at: At) {
        let slot = &mut self.slots[at.0];
        if slot.taken {
            let weight = slot.entry.weight();
            self.bytes = self.bytes - slot.weight + weight;
            slot.weight = weight;
            if self.bytes > BYTES {
                self.make_room(Some(at));
            }
        }
    }

    /// Makes the view of an entry.
    pub fn write_out(&mut self, at: At, boot: &str) {
        self.views += self.slots[at.0].entry.write_out(boot);
        if self.views > VIEW_BYTES {
            for slot in &mut self.slots {
                self.views -= slot.entry.forget_view();
            }
            self.views += self.slots[at.0].entry.write_out(boot);
        }
    }

    /// Marks a process as exited at `ktime`: it is removed soon.
    pub fn exit(&mut self, at: At, ktime: u64) {
        let Slot { taken: true, entry, .. } = &mut self.slots[at.0] else { return };
        if !entry.exited {
            entry.exited = true;
            self.exited.push_back(Exited { pid: entry.pid, ticks: entry.ticks, ktime });
        }
        // entries that were replaced leave their line here
        if self.exited.len() > 2 * self.limit {
            self.remove_exited();
        }
    }

    /// Removes the processes that exited long before `now`, the time of an event.
    pub fn expire(&mut self, now: u64) {
        while self.exited.front().is_some_and(|it| it.ktime.saturating_add(LINGER) < now) {
            self.remove_exited();
        }
    }

    fn remove_exited(&mut self) -> Option<()> {
        let Exited { pid, ticks, .. } = self.exited.pop_front()?;
        if let Some(at) = self.find(pid)
            && self.entry(at).ticks == ticks
            && self.entry(at).exited
        {
            self.remove(at);
        }
        Some(())
    }

    fn remove(&mut self, at: At) {
        self.change(at);
        let slot = std::mem::take(&mut self.slots[at.0]);
        self.bytes -= slot.weight;
        self.index.remove(&slot.entry.pid);
        self.free.push(at.0);
    }

    /// The exited go first. Then a hand goes round (the clock algorithm) and takes who had no event since it last
    /// passed: what is in use stays, and the order of age needs no list.
    fn make_room(&mut self, keep: Option<At>) {
        while self.len() >= self.limit || (self.bytes > BYTES && self.len() > 1) {
            if self.exited.front().is_some_and(|it| keep.is_none() || self.find(it.pid) != keep)
                && self.remove_exited().is_some()
            {
                continue;
            }
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 1 };
            let slot = &mut self.slots[self.hand];
            if slot.taken && keep != Some(At(self.hand)) && !std::mem::take(&mut slot.entry.used) {
                self.remove(At(self.hand));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::process::Entry;

    fn heavy(pid: u32, bytes: usize) -> Entry {
        let mut entry = Entry::new(pid, 1);
        entry.set_exe(Some(&vec![b'x'; bytes]));
        entry
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let mut table = Table::new(100);
        for pid in 1..10_000 {
            let at = table.insert(heavy(pid, 10), None);
            table.write_out(at, "boot");
            assert!(table.len() <= 100 && table.slots.len() <= 101);
        }
        let mut table = Table::new(65_536);
        for pid in 1..200 {
            let at = table.insert(Entry::new(pid, 1), None);
            table.change(at).set_exe(Some(&vec![b'x'; 1 << 20]));
            table.weigh(at);
            table.write_out(at, "boot");
            assert!(table.bytes <= BYTES && table.views <= VIEW_BYTES);
            assert_eq!(table.find(pid), Some(at), "the one at hand stays");
        }
    }

    #[test]
    fn counts_come_back_to_nothing() {
        let mut table = Table::new(100);
        for pid in 1..=50 {
            let at = table.insert(heavy(pid, 10), None);
            table.write_out(at, "boot");
            table.exit(at, 7);
            table.exit(at, 7);
        }
        table.expire(7 + LINGER);
        assert_eq!(table.len(), 50, "not yet");
        table.expire(8 + LINGER);
        assert_eq!((table.len(), table.bytes, table.views, table.exited.len()), (0, 0, 0, 0));
    }

    #[test]
    fn the_exited_go_first_then_the_idle() {
        let mut table = Table::new(10);
        for pid in 1..=10 {
            let at = table.insert(Entry::new(pid, 1), None);
            table.touch(at).used = pid % 2 == 1;
        }
        table.exit(table.find(7).unwrap(), 0);
        table.insert(Entry::new(11, 1), None);
        assert_eq!(table.find(7), None);
        table.insert(Entry::new(12, 1), None);
        assert_eq!((table.find(2), table.find(1).is_some()), (None, true));
    }
}
