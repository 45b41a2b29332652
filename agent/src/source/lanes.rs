//! The two ways from the kernel half: a flood of files or connections takes no room from what must never be lost.
//!
//! Copying is many times faster than the work on an event. So the ring buffers are emptied into memory again and again
//! while events are worked on, and a burst finds room in the rings.

use std::{
    cell::Cell,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use common::{Prefix, filter};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{
    backlog::Backlog,
    journal::{self, Base, Events, Found, Journal},
    pressure::Pressure,
};
use crate::clock::Now;

/// The lane of which a kill shall cost nothing at all.
const CRITICAL: usize = 0;

/// After so many events the rings are emptied again.
const TURN: usize = 512;

/// The first event is read at once, those that follow it in this time together: the kernel half makes no wake-up for them.
/// Nor is a wake-up seen whose event was read before the wait began. So the reader looks once more, this long after it found
/// something, before it leaves it to the kernel half to be woken.
const REST: Duration = Duration::from_nanos(filter::REST);

/// Events of the bulk lane are written to the journal when there are so many bytes, or no more.
const CHUNK: usize = 32 << 10;

/// What waits in one lane: the ring buffer, and what was taken out of it already.
struct Lane {
    ring: RingBuf<MapData>,
    backlog: Backlog,
    /// CPU and number of an event that was taken and may be in the ring still: the one who took it was killed.
    twice: Option<(u32, u64)>,
    /// Events that were put into the backlog, and that were handed over, since the start.
    taken: u64,
    handed: u64,
}

impl Lane {
    /// Empties the ring. `each`: an event is written to the journal before it leaves the ring.
    fn fill(&mut self, lane: usize, each: bool, mut journal: Option<&mut Journal>) {
        while self.backlog.has_room() {
            let Some(event) = self.ring.next() else { break };
            if let Some(twice) = self.twice.take()
                && journal::numbers(&event) == Some(twice)
            {
                continue;
            }
            if let Some(journal) = &mut journal
                && (self.backlog.fresh_bytes() >= CHUNK || !self.backlog.has_place(event.len()))
            {
                journal.events(lane, self.backlog.fresh());
            }
            self.backlog.push(&event);
            self.taken += 1;
            if each && let Some(journal) = &mut journal {
                journal.events(lane, self.backlog.fresh());
            }
        }
        if let Some(journal) = journal {
            journal.events(lane, self.backlog.fresh());
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        let event = self.backlog.next()?;
        self.handed += 1;
        Some(event)
    }

    /// When the next event happened.
    fn time(&self) -> Option<u64> {
        let event = self.backlog.first()?;
        let time = event.get(size_of::<Prefix>()..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*time))
    }
}

/// The lanes, the critical one first.
pub struct Lanes {
    both: [Lane; 2],
    /// When the rings were last about to be emptied. All that happened before was taken; what happened since waits for
    /// the next time, for the ring that was read first may hold an event that was before it.
    horizon: u64,
    /// Whether more bulk events come than can be worked on, and where the pipeline sees it.
    pressure: Pressure,
    pressed: Arc<AtomicBool>,
    /// Tells wake-ups of the kernel half, not that something waits: edge-triggered.
    epoll: Epoll,
    /// When something was found in the rings, until a rest has passed since then.
    found: Cell<Option<Instant>>,
    /// Where events are kept that were taken and are not sealed.
    journal: Option<Journal>,
}

impl Lanes {
    /// Both rings, each with the bytes of events that may wait in memory.
    pub fn new(critical: (RingBuf<MapData>, usize), bulk: (RingBuf<MapData>, usize)) -> nix::Result<Self> {
        let lanes = [critical, bulk].map(|(ring, limit)| Lane {
            ring,
            backlog: Backlog::new(limit),
            twice: None,
            taken: 0,
            handed: 0,
        });
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for lane in &lanes {
            epoll.add(&lane.ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        }
        Ok(Self {
            both: lanes,
            horizon: 0,
            pressure: Pressure::default(),
            pressed: Arc::default(),
            epoll,
            found: Cell::default(),
            journal: None,
        })
    }

    /// Keeps a journal from now on. `found`: what an earlier one says comes before what is in the rings.
    pub fn keep(&mut self, journal: Journal, found: &Found) {
        for (at, lane) in self.both.iter_mut().enumerate() {
            lane.backlog.restore(&found.events[at]);
            lane.taken = Events(&found.events[at]).count() as u64;
            lane.twice = found.last[at];
        }
        self.journal = Some(journal);
    }

    /// Bytes of events that wait in memory.
    pub fn waiting_bytes(&self) -> u64 {
        self.both.iter().map(|lane| lane.backlog.bytes() as u64).sum()
    }

    /// What is accounted for once the batch that is being sealed is durable.
    pub fn closing(&mut self, base: Base) {
        if let Some(journal) = &mut self.journal {
            journal.closing(base);
        }
    }

    /// All events that were handed over are sealed, and durable.
    pub fn sealed(&mut self) {
        let count = |of: fn(&Lane) -> u64| self.both.each_ref().map(of);
        let (taken, handed) = (count(|lane| lane.taken), count(|lane| lane.handed));
        if let Some(journal) = &mut self.journal {
            journal.sealed(taken, handed);
        }
    }

    /// See [`Journal::is_long`].
    pub fn is_long(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_long)
    }

    /// Nothing is to be gone on with.
    pub fn forget(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.remove();
        }
    }

    /// Hands over the events that are there, in the order of their times, each at an address that is a multiple of 8,
    /// until `each` breaks. Returns whether there are no more.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        let mut left = 0;
        self.pressure.pause();
        loop {
            if left == 0 {
                self.fill();
                let [_, bulk] = &self.both;
                let pressed = self.pressure.look(self.horizon, bulk.time(), bulk.backlog.fullness());
                self.pressed.store(pressed, Ordering::Relaxed);
                left = TURN;
            }
            left -= 1;
            let lane = match self.earliest() {
                Some(lane) => lane,
                // the turn began with less, or events are behind the horizon: what came since?
                None if left < TURN - 1 || self.both.iter().any(|lane| lane.time().is_some()) => {
                    left = 0;
                    continue;
                }
                None => return true,
            };
            if let Some(event) = self.both[lane].next()
                && each(event).is_break()
            {
                return false;
            }
        }
    }

    /// Empties both rings.
    pub fn fill(&mut self) {
        // a clock that fails holds nothing back
        self.horizon = Now::read().map_or(u64::MAX, |now| now.boot);
        let taken = |lanes: &[Lane]| lanes.iter().map(|lane| lane.taken).sum::<u64>();
        let before = taken(&self.both);
        for (at, lane) in self.both.iter_mut().enumerate() {
            lane.fill(at, at == CRITICAL, self.journal.as_mut());
        }
        if taken(&self.both) > before {
            self.found.set(Some(Instant::now()));
        }
    }

    /// Set while more bulk events come than can be worked on.
    pub fn pressed(&self) -> Arc<AtomicBool> {
        self.pressed.clone()
    }

    /// Which lane has the earliest event that happened before the horizon.
    fn earliest(&self) -> Option<usize> {
        let time = |lane: &Lane| lane.time().filter(|time| *time < self.horizon);
        let times = self.both.each_ref().map(time);
        (0..times.len()).filter(|lane| times[*lane].is_some()).min_by_key(|lane| times[*lane])
    }

    /// Waits for an event, for those that follow it, or until the time is over.
    pub fn wait(&self, time: Duration) -> nix::Result<()> {
        if let Some(found) = self.found.get() {
            let left = REST.saturating_sub(found.elapsed());
            thread::sleep(time.min(left));
            if time >= left {
                self.found.set(None);
            }
            return Ok(());
        }
        let timeout = EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut [EpollEvent::empty()], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
