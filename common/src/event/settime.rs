use super::record;
use crate::{names::{AdjtimeModes, ClockId}, wire::{User, Wide}};

record! {
    /// A clock was set or steered (clock_settime(2), settimeofday(2), stime(2), adjtimex(2), clock_adjtime(2)).
    "settime" => Settime {
        /// The new time in nanoseconds since the epoch of the clock; null when the clock is steered, or when only the time zone
        /// is set.
        new_time: User<Wide>,
        /// The clock.
        clock: ClockId,
        /// What of the steering changes (adjtimex(2), clock_adjtime(2)); without any of these a call makes no event.
        modes: User<AdjtimeModes>,
    }
}
