//! With [`WhenFull::DropNewest`] the spool must say that it is getting full before it is: what is sealed can be left out no
//! more. Of what it may take, the last eighth is kept for what matters most.

use super::{Options, Spool, WhenFull};
use crate::disk;

/// Parts of the spool; the last two are the reserve.
const PARTS: u64 = 16;

/// For which new events there is room. It is always [`Room::All`] but with [`WhenFull::DropNewest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For all.
    All,
    /// For those that are never merged with others: critical kinds, alerts, what was denied.
    Critical,
    /// For none: seals, and records of the agent's own.
    Own,
}

impl Options {
    /// The least `max_bytes` with [`WhenFull::DropNewest`], when a batch has at most so many bytes: one that was begun while
    /// there was room must not fill a part of the reserve.
    pub const fn least_max_bytes(batch: u64) -> u64 {
        batch.saturating_mul(2 * PARTS)
    }
}

impl Spool {
    /// For which new events there is room.
    pub fn room(&self) -> Room {
        if self.options.when_full != WhenFull::DropNewest {
            return Room::All;
        }
        let used = self.used();
        // a disk that does not say how full it is says so when it is written
        let disk = disk::space(&self.options.dir).map_or(u64::MAX, |space| {
            let floor = self.options.min_free.min(space.total / 20);
            space.free.saturating_add(used).saturating_sub(floor)
        });
        let most = self.options.max_bytes.min(disk);
        match most.saturating_sub(used) / (most / PARTS).max(1) {
            0 => Room::Own,
            1 => Room::Critical,
            _ => Room::All,
        }
    }
}
