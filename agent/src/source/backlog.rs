//! Events that wait in our memory: a burst is copied out of the ring faster than it can be worked on.

use std::collections::VecDeque;

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::journal::Events;

/// Words of a part. Memory is taken and given back by parts.
const PART: usize = 64 << 10;

/// A queue of events, bounded.
#[derive(Debug)]
pub struct Backlog {
    /// Each event is its length in bytes and then its bytes, filled up to whole words.
    parts: VecDeque<Vec<u64>>,
    /// A part that was worked off, to be filled again.
    spare: Vec<u64>,
    /// Where the next event begins in the first part.
    at: usize,
    /// Where the events begin in the last part that were not asked for by [`Backlog::fresh`].
    mark: usize,
    /// Words in all parts.
    words: usize,
    limit: usize,
}

impl Backlog {
    /// An empty queue for about so many bytes.
    pub fn new(limit_bytes: usize) -> Self {
        Self { parts: VecDeque::new(), spare: Vec::new(), at: 0, mark: 0, words: 0, limit: limit_bytes / 8 }
    }

    /// Whether another event may come.
    pub fn has_room(&self) -> bool {
        self.words < self.limit
    }

    /// The part of the room that is taken, from 0 to about 1.
    pub fn fullness(&self) -> f64 {
        self.words as f64 / self.limit.max(1) as f64
    }

    /// Bytes that are taken.
    pub fn bytes(&self) -> usize {
        self.words * 8
    }

    /// Adds an event.
    pub fn push(&mut self, event: &[u8]) {
        let len = event.len().div_ceil(8);
        let full = |part: &Vec<u64>| part.capacity() - part.len() <= len;
        if self.parts.back().is_none_or(full) {
            let mut part = std::mem::take(&mut self.spare);
            part.reserve_exact(PART.max(len + 1));
            self.parts.push_back(part);
            self.mark = 0;
        }
        if let Some(part) = self.parts.back_mut() {
            part.push(event.len() as u64);
            let start = part.len();
            // whole words at once, so that nothing is written twice; the ring's events start at whole words
            let (words, rest) = <[u64]>::ref_from_prefix_with_elems(event, event.len() / 8).unwrap_or((&[], event));
            part.extend_from_slice(words);
            part.resize(start + len, 0);
            part[start + words.len()..].as_mut_bytes()[..rest.len()].copy_from_slice(rest);
            self.words += len + 1;
        }
    }

    /// Whether an event of so many bytes goes beside the last one.
    pub fn has_place(&self, bytes: usize) -> bool {
        self.parts.back().is_some_and(|part| part.capacity() - part.len() > bytes.div_ceil(8))
    }

    /// Bytes of the events that [`Backlog::fresh`] would return.
    pub fn fresh_bytes(&self) -> usize {
        self.parts.back().map_or(0, |part| part.len() - self.mark) * 8
    }

    /// The events that were added since the last call: each its length and its bytes, filled up to whole words. To be
    /// asked before an event is added that has no place, and before any is taken.
    pub fn fresh(&mut self) -> &[u64] {
        let Some(part) = self.parts.back() else { return &[] };
        let from = std::mem::replace(&mut self.mark, part.len());
        &part[from..]
    }

    /// Adds events as [`Backlog::fresh`] returns them.
    pub fn restore(&mut self, events: &[u64]) {
        for event in Events(events) {
            let len = event[0] as usize;
            self.push(event[1..].as_bytes().get(..len).unwrap_or_default());
        }
        self.fresh();
    }

    /// The oldest event, which stays.
    pub fn first(&self) -> Option<&[u8]> {
        let head = self.parts.front()?;
        // the part before was still lent to the caller
        let (part, at) = if self.at < head.len() { (head, self.at) } else { (self.parts.get(1)?, 0) };
        let len = *part.get(at)? as usize;
        part[at + 1..].as_bytes().get(..len)
    }

    /// Takes the oldest event; valid until the next call.
    pub fn next(&mut self) -> Option<&[u8]> {
        // the part before was still lent to the caller
        if self.parts.front().is_some_and(|part| self.at >= part.len()) {
            self.spare = self.parts.pop_front().unwrap_or_default();
            self.spare.clear();
            // one long event must not hold memory for ever
            self.spare.shrink_to(PART);
            self.at = 0;
        }
        let part = self.parts.front()?;
        let len = *part.get(self.at)? as usize;
        let start = self.at + 1;
        self.at = start + len.div_ceil(8);
        self.words -= len.div_ceil(8) + 1;
        part[start..self.at].as_bytes().get(..len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_went_in() {
        let mut backlog = Backlog::new(1 << 20);
        let event = |number: usize| vec![number as u8; number % 1000];
        let (mut pushed, mut taken) = (0, 0);
        for round in 0..50 {
            while backlog.has_room() {
                backlog.push(&event(pushed));
                pushed += 1;
            }
            for _ in 0..round * 100 {
                let Some(found) = backlog.next() else { break };
                assert_eq!(found, event(taken));
                assert_eq!(found.as_ptr().addr() % 8, 0);
                taken += 1;
            }
        }
        while let Some(found) = backlog.next() {
            assert_eq!(found, event(taken));
            taken += 1;
        }
        assert_eq!(taken, pushed);
        assert!(backlog.first().is_none() && backlog.has_room());
    }

    #[test]
    fn it_is_bounded() {
        let mut backlog = Backlog::new(1 << 20);
        let mut bytes = 0;
        while backlog.has_room() {
            backlog.push(&vec![1; 100_000]);
            bytes += 100_000;
        }
        assert!(bytes < (1 << 20) + 200_000);
    }
}
