//! The few notations of the format: base64, hex, decimal numbers, RFC 3339 times. Each value has exactly one spelling.

use base64ct::{Base64, Encoding};

/// Base64 of RFC 4648 section 4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Reads base64; `None` unless the text is exactly what [`base64`] writes for the bytes.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (base64(&bytes) == text).then_some(bytes)
}

/// Reads base64 of exactly 32 bytes.
pub fn unbase64_hash(text: &str) -> Option<[u8; 32]> {
    unbase64(text)?.try_into().ok()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads lower-case hexadecimal of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Reads a decimal number: digits only, no leading zero.
pub fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// Whether the text can stand as a value at the end of a header line: not empty, no control character, no space at
/// either end.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control) && text.trim() == text
}

/// Whether the text can stand between two spaces of a header line: plain, no space, at most 255 bytes.
pub fn is_word(text: &str) -> bool {
    text.len() <= 255 && is_plain(text) && !text.contains(char::is_whitespace)
}

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// The days from 1970-01-01 to the first day of the year.
fn days_to(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn month_lengths(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// RFC 3339 in UTC with nine digits of the second, from nanoseconds since 1970.
pub fn time(ns: u64) -> String {
    let (seconds, fraction) = (ns / SECOND, ns % SECOND);
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let mut year = 1970 + days / 366;
    while days_to(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_to(year);
    let mut month = 1;
    for length in month_lengths(year) {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z", day + 1)
}

/// Reads what [`time`] writes and nothing else.
pub fn untime(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second, fraction) = (number(11..13)?, number(14..16)?, number(17..19)?, number(20..29)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let before: u64 = month_lengths(year).iter().take(month as usize - 1).sum();
    let seconds = (days_to(year) + before + day - 1) * DAY + hour * 3600 + minute * 60 + second;
    let ns = seconds.checked_mul(SECOND)?.checked_add(fraction)?;
    (time(ns) == text).then_some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_164_800_000_000_000, "2024-02-29T00:00:00.000000000Z"),
            (1_772_323_199_999_999_999, "2026-02-28T23:59:59.999999999Z"),
            (1_798_761_599_000_000_000, "2026-12-31T23:59:59.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(time(ns), text);
            assert_eq!(untime(text), Some(ns));
        }
        for text in [
            "",
            "1970-01-01T00:00:00Z",
            "2026-02-29T00:00:00.000000000Z",
            "2026-02-28t00:00:00.000000000Z",
            "2026-02-28T24:00:00.000000000Z",
            "1969-12-31T23:59:59.000000000Z",
            "2026-13-01T00:00:00.000000000Z",
            "1970-00-01T00:00:00.000000000Z",
            "1970-01-00T00:00:00.000000000Z",
            "9999-01-01T00:00:00.000000000Z",
            "2026-02-28T00:00:00.000000000Z ",
            "2026-02-28T00:00:00.00000000é",
        ] {
            assert_eq!(untime(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "00", "01", "+1", "-1", " 1", "18446744073709551616", "1e3", "٣"] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!(unbase64("AAE="), Some(vec![0, 1]));
        for text in ["AAE", "AAF=", "AAE=\n", "A A=", "AAE=="] {
            assert_eq!(unbase64(text), None, "{text}");
        }
        assert_eq!(unhex::<2>("00ff"), Some([0, 255]));
        for text in ["00fF", "00f", "00ff0", "0x0f"] {
            assert_eq!(unhex::<2>(text), None, "{text}");
        }
    }
}
