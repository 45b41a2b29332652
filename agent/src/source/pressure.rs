//! When more bulk events come than can be worked on, and not for a moment only.
//!
//! Events that wait after a burst are worked off, each told in full. A queue that stands makes every event late, an alert
//! behind it, too, and saves none: with a short one as many are told in full. So it is not let stand: the controlled
//! delay of RFC 8289, which has the words *target* and *interval* for it; where that drops, we summarise.

/// Nanoseconds that an event may wait.
const TARGET: u64 = 5_000_000;

/// Nanoseconds of work in which some event always waited for longer: it is more than a burst.
const INTERVAL: u64 = 500_000_000;

/// Nanoseconds after which a flood that does not come back is over.
const MEMORY: u64 = 2_000_000_000;

/// Whether the bulk lane is pressed.
#[derive(Debug, Default)]
pub struct Pressure {
    /// More than about half of the room is taken, or was, and a quarter still is.
    full: bool,
    /// When it was last looked at, if nothing but work was done since.
    working: Option<u64>,
    /// Nanoseconds of work since no event waited for too long.
    standing: u64,
    /// Until when events that wait for too long are a flood from the first one on.
    flood: u64,
}

impl Pressure {
    /// Looks at the lane, at `now`, when its first event is of the time `oldest`. The times are nanoseconds since boot;
    /// `fullness`: see [`super::backlog::Backlog::fullness`].
    pub fn look(&mut self, now: u64, oldest: Option<u64>, fullness: f64) -> bool {
        // not to and fro
        self.full = fullness > if self.full { 0.25 } else { 0.5 };
        let worked = self.working.map_or(0, |since| now.saturating_sub(since));
        self.working = Some(now);
        if oldest.is_none_or(|oldest| now <= oldest.saturating_add(TARGET)) {
            self.standing = 0;
            return self.full;
        }
        self.standing += worked;
        let is_flood = self.standing >= INTERVAL || now < self.flood;
        if is_flood {
            self.flood = now.saturating_add(MEMORY);
        }
        is_flood || self.full
    }

    /// Something else is done than to work on events: what waits for that is no flood.
    pub fn pause(&mut self) {
        self.working = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Works on `arrive` events in each millisecond, `pace` of them in the same time when they are told and five times as
    /// many when they are summarised, for `time` milliseconds; every 20 ms a disk takes 5 ms. Returns how many were
    /// summarised, and the longest wait in the last half of the time, in milliseconds.
    fn simulate(pressure: &mut Pressure, start: u64, time: u64, arrive: u64, pace: u64) -> (u64, u64) {
        let (mut queue, mut first) = (0_u64, 0_u64);
        let (mut merged, mut longest) = (0, 0);
        for at in 0..time {
            queue += arrive;
            // each event is of the millisecond in which it came
            let oldest = first / arrive;
            if at > time / 2 && queue > 0 {
                longest = longest.max(at - oldest);
            }
            if at % 20 < 5 {
                pressure.pause();
                continue;
            }
            let pressed =
                pressure.look((start + at) * MS, (queue > 0).then_some((start + oldest) * MS), queue as f64 / 1e6);
            let done = queue.min(if pressed { 5 * pace } else { pace });
            merged += if pressed { done } else { 0 };
            (queue, first) = (queue - done, first + done);
        }
        (merged, longest)
    }

    #[test]
    fn a_queue_does_not_stand_and_a_burst_is_told_in_full() {
        let check = |name, arrive, time, is_flood: bool| {
            let (merged, longest) = simulate(&mut Pressure::default(), 0, time, arrive, 100);
            assert_eq!(merged > 0, is_flood, "{name}: {merged} summarised");
            assert!(longest <= 15 || !is_flood, "{name}: {longest} ms");
        };
        check("what can be worked on", 70, 10_000, false);
        check("three times as many, for a moment", 300, 500, false);
        check("three times as many", 300, 10_000, true);
        check("a little too many", 90, 60_000, true);
    }

    #[test]
    fn a_flood_is_remembered_for_a_while() {
        let mut pressure = Pressure::default();
        simulate(&mut pressure, 0, 3000, 300, 100);
        assert!(simulate(&mut pressure, 3100, 100, 300, 100).0 > 0);
        assert_eq!(simulate(&mut pressure, 5500, 400, 300, 100).0, 0);
    }

    #[test]
    fn a_full_lane_is_pressed_until_it_is_a_quarter_full() {
        let mut pressure = Pressure::default();
        let look = [0.4, 0.6, 0.4, 0.2, 0.4].map(|fullness| pressure.look(0, None, fullness));
        assert_eq!(look, [false, true, true, false, false]);
    }
}
