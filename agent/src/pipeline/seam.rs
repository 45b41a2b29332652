//! Between two kernel halves: an event that both have told counts once.
//!
//! Each half looks at the clock for itself, the older one first, to see whether an event is from before the time on
//! which they agree. When that time falls between the two looks, both tell the event. How much lies between them has no
//! bound: the older one's wake-up may take the processor from the task.

use std::collections::BTreeMap;

use common::{Event, Header, Prefix, filter::THREADS};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::source::AHEAD;

/// So many nanoseconds after the hand-over nothing is compared any more: who does the same again then does it again.
const LONG: u64 = 1_000_000_000;

/// What each thread did last before a kernel half handed over. As whole words, as events are read.
#[derive(Debug, Default)]
pub struct Seam {
    last: BTreeMap<u32, Vec<u64>>,
    until: u64,
}

impl Seam {
    /// Takes an event of the kernel half that hands over at a time. Returns whether it is its own.
    pub fn before(&mut self, event: &Event<'_>, bytes: &[u8], until: u64) -> bool {
        let Header { ktime, tid, .. } = *event.header;
        self.until = until;
        // by then the other half knew of that time, and kept what it left to this one
        if ktime < until && ktime + AHEAD / 2 >= until && (self.last.len() < THREADS || self.last.contains_key(&tid)) {
            self.last.insert(tid, words(bytes));
        }
        ktime < until
    }

    /// All events of the older half are taken. `left`: when a thread last did something that the other half left to it;
    /// what it did last before that was not told twice. If that is not known of all, rather twice than never.
    pub fn meet(&mut self, left: Option<BTreeMap<u32, u64>>) {
        let Some(left) = left else { return self.last.clear() };
        let time = |event: &[u64]| read(event.as_bytes()).map(|header| header.ktime);
        self.last.retain(|tid, event| left.get(tid).copied() < time(event));
    }

    /// Whether an event of the newer half was told by the older one already.
    pub fn is_told(&mut self, event: &Event<'_>, bytes: &[u8]) -> bool {
        if !self.last.is_empty() && event.header.ktime >= self.until + LONG {
            self.last = BTreeMap::new();
        }
        !self.last.is_empty()
            && self.last.remove(&event.header.tid).is_some_and(|last| is_same(&last, &words(bytes)) == Some(true))
    }
}

/// The words of an event.
fn words(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

fn read(event: &[u8]) -> Option<Header> {
    Some(Header::read_from_prefix(event.get(size_of::<Prefix>()..)?).ok()?.0)
}

/// Whether two events are one: all is the same but for the time, the number, and the CPU.
fn is_same(one: &[u64], other: &[u64]) -> Option<bool> {
    let of_one = read(one.as_bytes())?;
    let mut other = other.to_vec();
    let (header, _) = Header::mut_from_prefix(other.as_mut_bytes().get_mut(size_of::<Prefix>()..)?).ok()?;
    (header.ktime, header.seq, header.cpu) = (of_one.ktime, of_one.seq, of_one.cpu);
    Some(one == other)
}

#[cfg(test)]
mod tests {
    use common::{Kind, event::Unlink};

    use super::*;
    use crate::record::sample;

    const UNTIL: u64 = 10 * AHEAD;

    /// An event of a thread; `ret` stands for what it did.
    fn unlink(tid: u32, ktime: u64, cpu: u32, ret: i64) -> Vec<u64> {
        let header = Header { tid, ktime, cpu, ret, seq: ktime, ..Header::default() };
        sample::event(sample::prefix(Kind::Unlink), &header, Unlink::default().as_bytes(), &[])
    }

    /// The last events of the older half, what was left to it, the first events of the newer half: which of these are
    /// told already.
    fn told(older: &[Vec<u64>], left: Option<&[(u32, u64)]>, newer: &[Vec<u64>]) -> Vec<bool> {
        let mut seam = Seam::default();
        for event in older {
            assert!(seam.before(&Event::decode(event.as_bytes()).unwrap(), event.as_bytes(), UNTIL));
        }
        seam.meet(left.map(|left| left.iter().copied().collect()));
        newer.iter().map(|it| seam.is_told(&Event::decode(it.as_bytes()).unwrap(), it.as_bytes())).collect()
    }

    #[test]
    fn what_both_told_counts_once() {
        let (before, after) = (UNTIL - 5, UNTIL + 9_000_000);
        // on another CPU by then; the next one like it is another event
        assert_eq!(
            told(&[unlink(7, before, 0, 1)], Some(&[]), &[unlink(7, after, 1, 1), unlink(7, after, 1, 1)]),
            [true, false]
        );
        // the one before was left to the older half, too
        assert_eq!(told(&[unlink(7, before, 0, 1)], Some(&[(7, before - 9)]), &[unlink(7, after, 0, 1)]), [true]);
        // the other half left it to the older one
        assert_eq!(told(&[unlink(7, before, 0, 1)], Some(&[(7, before + 1)]), &[unlink(7, after, 0, 1)]), [false]);
        // other threads, other deeds
        assert_eq!(
            told(&[unlink(7, before, 0, 1)], Some(&[]), &[unlink(8, after, 0, 1), unlink(7, after, 0, 2)]),
            [false; 2]
        );
        // too long ago: nobody says what was left to it then
        assert_eq!(told(&[unlink(7, UNTIL - AHEAD / 2 - 1, 0, 1)], Some(&[]), &[unlink(7, after, 0, 1)]), [false]);
        // it is not known what was left to the older half
        assert_eq!(told(&[unlink(7, before, 0, 1)], None, &[unlink(7, after, 0, 1)]), [false]);
        // a long time after
        assert_eq!(told(&[unlink(7, before, 0, 1)], Some(&[]), &[unlink(7, UNTIL + LONG, 0, 1)]), [false]);
        assert_eq!(told(&[], Some(&[]), &[unlink(7, after, 0, 1)]), [false]);
    }

    #[test]
    fn what_the_older_half_told_too_late_is_not_its_own() {
        let event = unlink(7, UNTIL, 0, 1);
        assert!(!Seam::default().before(&Event::decode(event.as_bytes()).unwrap(), event.as_bytes(), UNTIL));
    }
}
