//! The two ways from the kernel half: a flood of files or connections takes no room from what must never be lost.
//!
//! Copying is many times faster than the work on an event. So the ring buffers are emptied into memory again and again
//! while events are worked on, and a burst finds room in the rings.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use common::Prefix;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::backlog::Backlog;

/// After so many events the rings are emptied again.
const TURN: usize = 512;

/// What waits in one lane: the ring buffer, and what was taken out of it already.
struct Lane {
    ring: RingBuf<MapData>,
    backlog: Backlog,
}

impl Lane {
    fn fill(&mut self) {
        while self.backlog.has_room() {
            let Some(event) = self.ring.next() else { return };
            self.backlog.push(&event);
        }
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
    lanes: [Lane; 2],
    /// Set while the bulk lane is pressed.
    pressed: Arc<AtomicBool>,
    /// Tells wake-ups of the kernel half, not that something waits: edge-triggered.
    epoll: Epoll,
}

impl Lanes {
    /// Both rings, each with the bytes of events that may wait in memory.
    pub fn new(critical: (RingBuf<MapData>, usize), bulk: (RingBuf<MapData>, usize)) -> nix::Result<Self> {
        let lanes = [critical, bulk].map(|(ring, limit)| Lane { ring, backlog: Backlog::new(limit) });
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for lane in &lanes {
            epoll.add(&lane.ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        }
        Ok(Self { lanes, pressed: Arc::default(), epoll })
    }

    /// Hands over the events that are there, in the order of their times, each at an address that is a multiple of 8,
    /// until `each` breaks. Returns whether there are no more.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        let mut left = 0;
        loop {
            if left == 0 {
                self.fill();
                left = TURN;
            }
            left -= 1;
            let event = match self.earliest().and_then(|lane| lane.backlog.next()) {
                Some(event) => event,
                // the turn began with less: what came since?
                None if left < TURN - 1 => {
                    left = 0;
                    continue;
                }
                None => return true,
            };
            if each(event).is_break() {
                return false;
            }
        }
    }

    /// An event of the second ring that was there before one of the first on the same CPU is seen with it: the second
    /// ring is read after the first.
    fn fill(&mut self) {
        self.lanes.iter_mut().for_each(Lane::fill);
        let [_, bulk] = &self.lanes;
        let waiting = bulk.backlog.fullness();
        // on above half of the room, off below a quarter: not to and fro
        if waiting > 0.5 {
            self.pressed.store(true, Ordering::Relaxed);
        } else if waiting < 0.25 {
            self.pressed.store(false, Ordering::Relaxed);
        }
    }

    /// Set while more than about half of the bulk events that may wait are waiting.
    pub fn pressed(&self) -> Arc<AtomicBool> {
        self.pressed.clone()
    }

    fn earliest(&mut self) -> Option<&mut Lane> {
        let [critical, bulk] = &mut self.lanes;
        match (critical.time(), bulk.time()) {
            (None, None) => None,
            (Some(a), Some(b)) if b < a => Some(bulk),
            (None, Some(_)) => Some(bulk),
            _ => Some(critical),
        }
    }

    /// Waits until events are there in number, or until the time is over.
    pub fn wait(&self, time: Duration) -> nix::Result<()> {
        let timeout = EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut [EpollEvent::empty()], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
