//! The two clocks of a record: time since boot, which the kernel half reads, and wall clock time, and how far that one
//! is to be trusted.

use std::time::Duration;

use jiff::Timestamp;
use nix::{
    errno::Errno,
    libc::STA_UNSYNC,
    time::{ClockId, clock_gettime},
};
use rtime_clock::adjtime::{Timex, adjtimex};

/// Both clocks at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since boot, suspend included (`CLOCK_BOOTTIME`).
    pub boot: u64,
    /// Since 1970 (`CLOCK_REALTIME`).
    pub wall: u64,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Result<Self, Errno> {
        // 64 bits of nanoseconds last until the year 2554
        let nanos = |clock| clock_gettime(clock).map(|time| Duration::from(time).as_nanos() as u64);
        Ok(Self { boot: nanos(ClockId::CLOCK_BOOTTIME)?, wall: nanos(ClockId::CLOCK_REALTIME)? })
    }

    /// How far the wall clock is ahead of the time since boot. A change of it is a step of the wall clock.
    pub fn offset(self) -> i64 {
        self.wall.wrapping_sub(self.boot).cast_signed()
    }
}

/// The largest error that the kernel ever states (`NTP_PHASE_LIMIT`, 16 s): it stands for "unknown".
const UNKNOWN_ERROR: u64 = 16_000_000;

/// What the kernel says of the wall clock (adjtimex(2)), for a header; `step`: how far it moved against the time since
/// boot, in nanoseconds. A kernel that does not answer makes a clock that is not synchronised, which claims less.
pub fn state(step: i64) -> seal::Clock {
    // no modes: a question
    let mut told = Timex::new();
    match adjtimex(&mut told) {
        Ok(_) => seal::Clock {
            sync: told.0.status & STA_UNSYNC == 0,
            maxerr_us: u64::try_from(told.0.maxerror).unwrap_or(UNKNOWN_ERROR),
            step_ns: step,
        },
        Err(_) => seal::Clock { sync: false, maxerr_us: UNKNOWN_ERROR, step_ns: step },
    }
}

/// Writes times since boot as wall clock time (RFC 3339, UTC, nanoseconds). The date is worked out once a second.
#[derive(Debug, Default)]
pub struct Stamp {
    offset: i64,
    second: Option<u64>,
    text: String,
}

/// Length of the text up to the seconds, as in `2026-11-22T19:46:40`.
const SECONDS: usize = 19;

impl Stamp {
    /// Takes over the offset between the clocks.
    pub fn set(&mut self, now: Now) {
        self.offset = now.offset();
    }

    /// The wall clock time of a time since boot. Valid until the next call.
    pub fn text(&mut self, boot: u64) -> &str {
        let wall = boot.wrapping_add_signed(self.offset);
        let (second, nanos) = (wall / 1_000_000_000, wall % 1_000_000_000);
        if self.second != Some(second) {
            self.second = Some(second);
            let date = Timestamp::from_second(second.cast_signed()).unwrap_or_default();
            self.text = date.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        self.text.truncate(SECONDS);
        // nine digits with their zeros
        let mut digits = itoa::Buffer::new();
        self.text.push('.');
        self.text.push_str(&digits.format(1_000_000_000 + nanos)[1..]);
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_since_boot_is_written_as_wall_clock_time() {
        let mut stamp = Stamp::default();
        stamp.set(Now { boot: 5_000_000_000, wall: 1_795_376_805_000_000_007 });
        assert_eq!(stamp.text(5_000_000_000), "2026-11-22T19:46:45.000000007Z");
        assert_eq!(stamp.text(4_999_999_999), "2026-11-22T19:46:45.000000006Z");
        assert_eq!(stamp.text(3_999_999_999), "2026-11-22T19:46:44.000000006Z");
    }
}
