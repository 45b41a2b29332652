//! Times as people type them: `2026-11-24`, `2026-11-24 08:30`, `2026-11-24T08:30:00Z`, `10 min ago`, `today`, `boot`.

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::clock;

/// Nanoseconds since 1970. What names no zone is UTC, as the times in the log are.
pub fn when(text: &str) -> Result<u64, String> {
    let now = clock::Now::read().map_err(|errno| format!("the clock cannot be read: {errno}"))?;
    at(text, now).ok_or_else(|| {
        format!(
            "`{text}` is no time; write 2026-11-24, \"2026-11-24 08:30\" (UTC), 2026-11-24T08:30:00+01:00, 08:30, \
             \"10 min ago\", today, yesterday, boot or now"
        )
    })
}

fn at(text: &str, now: clock::Now) -> Option<u64> {
    const DAY: u64 = 86_400_000_000_000;
    let text = text.trim();
    let today = now.wall - now.wall % DAY;
    match text {
        "now" => return Some(now.wall),
        "today" => return Some(today),
        "yesterday" => return today.checked_sub(DAY),
        "boot" => return now.wall.checked_sub(now.boot),
        _ => {}
    }
    if let Some(span) = text.strip_suffix("ago").or_else(|| text.strip_prefix('-')) {
        return now.wall.checked_sub(nanoseconds(span.trim())?);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return u64::try_from(time.as_nanosecond()).ok();
    }
    if let Ok(time) = text.parse::<civil::DateTime>() {
        return u64::try_from(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_nanosecond()).ok();
    }
    // last, for it would take what stands behind a date, too; and a number alone for an hour
    let time = text.parse::<civil::Time>().ok().filter(|_| text.contains(':'))?;
    today.checked_add(u64::try_from(time.duration_since(civil::Time::midnight()).as_nanos()).ok()?)
}

/// A number and a unit, with or without a blank between: `10 min`, `2h`, `1 day`.
fn nanoseconds(span: &str) -> Option<u64> {
    let digits = span.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = span.split_at(digits);
    let seconds = match unit.trim() {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now =
            clock::Now { wall: seal::text::untime("2026-11-24T08:30:00.000000000Z").unwrap(), boot: 5_000_000_000 };
        let check = |text: &str, expected: &str| {
            assert_eq!(at(text, now).map(seal::text::time).as_deref(), Some(expected), "{text}");
        };
        check("2026-11-23", "2026-11-23T00:00:00.000000000Z");
        check("2026-11-23 07:05", "2026-11-23T07:05:00.000000000Z");
        check("2026-11-23T07:05:06.5", "2026-11-23T07:05:06.500000000Z");
        check("2026-11-23T07:05:06Z", "2026-11-23T07:05:06.000000000Z");
        check("2026-11-23T07:05:06+01:00", "2026-11-23T06:05:06.000000000Z");
        check("07:05", "2026-11-24T07:05:00.000000000Z");
        check("10 min ago", "2026-11-24T08:20:00.000000000Z");
        check("10min ago", "2026-11-24T08:20:00.000000000Z");
        check("-2h", "2026-11-24T06:30:00.000000000Z");
        check("1 day ago", "2026-11-23T08:30:00.000000000Z");
        check("today", "2026-11-24T00:00:00.000000000Z");
        check("yesterday", "2026-11-23T00:00:00.000000000Z");
        check("boot", "2026-11-24T08:29:55.000000000Z");
        check("now", "2026-11-24T08:30:00.000000000Z");
        for wrong in ["", "ago", "10", "10 ago", "min ago", "10 parsecs ago", "2026-13-01", "1e99 s ago", "tomorrow"] {
            assert_eq!(at(wrong, now), None, "{wrong}");
        }
    }
}
