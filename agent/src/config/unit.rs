//! Sizes, durations and permissions as settings.

use std::{fmt, time::Duration};

/// A number of bytes, written as `65536`, `64KiB`, `8MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Permissions of a file, written in octal as `"0640"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub u32);

/// Units from large to small.
const SIZES: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads digits and a unit, without a blank in between.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a number with the largest unit that divides it.
fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    let (unit, factor) = fitting.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", number / factor)
}

impl Size {
    /// Reads a size; a number alone is bytes.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|_| !text.starts_with('+')).or_else(|| parse(text, SIZES)).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self.0, SIZES))
    }
}

impl Mode {
    /// Reads three octal digits, with or without a 0 in front.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0')).unwrap_or(text);
        let valid = digits.len() == 3 && digits.bytes().all(|it| (b'0'..=b'7').contains(&it));
        valid.then(|| u32::from_str_radix(digits, 8).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Reads a duration: a number with its unit, `20ms`, `5s`, `10m`, `24h` or `30d`.
pub fn duration(text: &str) -> Option<Duration> {
    parse(text, TIMES).map(Duration::from_millis)
}

/// Writes a duration as [`duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(Size::parse(text).map(|it| it.0), expected, "{text}");
        check("0", Some(0));
        check("65536", Some(65536));
        check("8MiB", Some(8 << 20));
        check("512B", Some(512));
        for wrong in ["", "8 MiB", "8MB", "8mib", "-1", "+1", "1.5GiB", "MiB", "99999999999TiB"] {
            check(wrong, None);
        }
        for shown in ["0B", "1B", "1KiB", "1025B", "8MiB", "3GiB"] {
            assert_eq!(Size::parse(shown).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}")
        };
        check("20ms", Some(20));
        check("5s", Some(5000));
        check("24h", Some(86_400_000));
        for wrong in ["", "5", "5 s", "1h30m", "-1s", "1.5s", "s"] {
            check(wrong, None);
        }
        for shown in ["0ms", "20ms", "1500ms", "5s", "90s", "10m", "36h", "1d"] {
            assert_eq!(show_duration(duration(shown).unwrap()), shown);
        }
    }

    #[test]
    fn modes() {
        let check =
            |text: &str, expected: Option<u32>| assert_eq!(Mode::parse(text).map(|it| it.0), expected, "{text}");
        check("0640", Some(0o640));
        check("640", Some(0o640));
        check("0o600", Some(0o600));
        for wrong in ["", "0", "64", "0680", "04755", "rw-r-----"] {
            check(wrong, None);
        }
    }
}
