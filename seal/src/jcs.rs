//! Canonical JSON (RFC 8785): an escaper for strings, and a strict check that a line is in canonical form.

use std::borrow::Cow;
use std::cmp::Ordering;

use thiserror::Error;

use crate::MAX_LINE;

/// How deep objects and arrays may stand in each other.
pub const MAX_DEPTH: usize = 64;

/// Why a line is no canonical event line, and at which byte that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JcsError {
    /// More than [`MAX_LINE`] bytes.
    #[error("the line has {0} bytes, {MAX_LINE} are allowed")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    Utf8(usize),
    /// Not JSON, or JSON with a byte too many (white space) or too few.
    #[error("no canonical JSON at byte {0}")]
    Form(usize),
    /// The line is not an object.
    #[error("the line is not a JSON object")]
    Object,
    /// The keys of an object do not ascend by UTF-16 units, or one stands twice.
    #[error("keys out of order at byte {0}")]
    Order(usize),
    /// A string escapes what needs no escape, or needs another one.
    #[error("a string is not escaped as RFC 8785 does at byte {0}")]
    Escape(usize),
    /// A number is spelled otherwise than ECMAScript does.
    #[error("a number is not spelled as RFC 8785 does at byte {0}")]
    Number(usize),
    /// More than [`MAX_DEPTH`] levels.
    #[error("deeper than {MAX_DEPTH} levels at byte {0}")]
    Depth(usize),
    /// The top level has the key `sigtrail`.
    #[error("the key `sigtrail` is kept for the seal")]
    Reserved,
}

/// Appends the text as the inside of a JSON string: RFC 8785 section 3.2.2.2.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        if short == 0 {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// The text that [`escape`] makes into this; `None` if it makes no text into it.
pub fn unescape(string: &str) -> Option<String> {
    let mut text = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        text.push_str(&rest[..at]);
        let (plain, length) = escaped(&rest.as_bytes()[at..])?;
        text.push(plain);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Some(text)
}

/// The character that a canonical escape at the start of the bytes stands for, and the length of the escape.
fn escaped(bytes: &[u8]) -> Option<(char, usize)> {
    let short = |c| Some((c, 2));
    match *bytes {
        [b'\\', plain @ (b'"' | b'\\'), ..] => short(char::from(plain)),
        [b'\\', b'b', ..] => short('\u{8}'),
        [b'\\', b't', ..] => short('\t'),
        [b'\\', b'n', ..] => short('\n'),
        [b'\\', b'f', ..] => short('\u{c}'),
        [b'\\', b'r', ..] => short('\r'),
        [b'\\', b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
            let low = match low {
                b'0'..=b'9' => low - b'0',
                b'a'..=b'f' => low - b'a' + 10,
                _ => return None,
            };
            let code = (high - b'0') * 16 + low;
            // those with a short escape have no long one
            (!matches!(code, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d)).then_some((char::from(code), 6))
        }
        _ => None,
    }
}

/// Whether the line, without its LF, is an event line: a canonical JSON object of at most [`MAX_LINE`] bytes without
/// the key `sigtrail` at its top level.
pub fn check(line: &[u8]) -> Result<(), JcsError> {
    if line.len() > MAX_LINE {
        return Err(JcsError::TooLong(line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|error| JcsError::Utf8(error.valid_up_to()))?;
    if !text.starts_with('{') {
        return Err(JcsError::Object);
    }
    let mut cursor = Cursor { text, at: 0 };
    cursor.value(0)?;
    if cursor.at == text.len() { Ok(()) } else { Err(JcsError::Form(cursor.at)) }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, byte: u8) -> Result<(), JcsError> {
        if self.take(byte) { Ok(()) } else { Err(JcsError::Form(self.at)) }
    }

    fn value(&mut self, depth: usize) -> Result<(), JcsError> {
        if depth > MAX_DEPTH {
            return Err(JcsError::Depth(self.at));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let rest = &self.text[self.at..];
                let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
                self.at += word.ok_or(JcsError::Form(self.at))?.len();
                Ok(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JcsError> {
        self.need(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        let mut before: Option<Cow<'a, str>> = None;
        loop {
            let at = self.at;
            let key = self.string()?;
            if depth == 0 && key == "sigtrail" {
                return Err(JcsError::Reserved);
            }
            if before.is_some_and(|before| utf16_order(&before, &key) != Ordering::Less) {
                return Err(JcsError::Order(at));
            }
            before = Some(key);
            self.need(b':')?;
            self.value(depth + 1)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.need(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JcsError> {
        self.need(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(());
            }
            self.need(b',')?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JcsError> {
        self.need(b'"')?;
        let from = self.at;
        let mut plain = true;
        loop {
            match self.peek() {
                None => return Err(JcsError::Form(self.at)),
                Some(b'"') => break,
                Some(b'\\' | 0..0x20) => {
                    let (_, length) = escaped(&self.text.as_bytes()[self.at..]).ok_or(JcsError::Escape(self.at))?;
                    self.at += length;
                    plain = false;
                }
                Some(_) => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
                    self.at += rest.iter().position(special).unwrap_or(rest.len());
                }
            }
        }
        let inside = &self.text[from..self.at];
        self.at += 1;
        if plain {
            return Ok(Cow::Borrowed(inside));
        }
        unescape(inside).map(Cow::Owned).ok_or(JcsError::Escape(from))
    }

    fn number(&mut self) -> Result<(), JcsError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.text[from..self.at];
        let digits = text.strip_prefix('-').unwrap_or(text);
        // at most 15 digits are an integer that a double holds and ECMAScript spells the same; most numbers are that
        let small = digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit());
        let canonical = if small {
            text == "0" || (!digits.is_empty() && !digits.starts_with('0'))
        } else {
            // ECMA-262 `Number::toString`, to which RFC 8785 section 3.2.2.3 refers. Not Rust's own digits: of two that
            // are equally near it takes the greater, ECMAScript the even one. 32 bytes are more than the longest spelling.
            let is_spelled = |value: f64| value.is_finite() && ryu_js::Buffer::new().format_finite(value) == text;
            text.len() <= 32 && text.parse().is_ok_and(is_spelled)
        };
        if canonical { Ok(()) } else { Err(JcsError::Number(from)) }
    }
}

fn utf16_order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() { one.cmp(other) } else { one.encode_utf16().cmp(other.encode_utf16()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_lines_pass() {
        for line in [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":[],"b":{},"c":[1,"x",null,true,false]}"#,
            r#"{"":0,"1":1,"A":2,"a":3}"#,
            r#"{"a":"\u0000\b\t\n\u000b\f\r\u001f\"\\/é€😀"}"#,
            "{\"\u{7f}\":\"\u{80}\"}",
            // surrogates (U+1F600) sort before U+FB33, by RFC 8785 section 3.2.3
            "{\"\u{20ac}\":1,\"\u{1f600}\":2,\"\u{fb33}\":3}",
            r#"{"n":[0,-1,9007199254740992,-9007199254740992,0.5,1e+21,1e-7,0.000001,333333333.3333333,1e+30,4.5,0.002,1e-27,5e-324,1.7976931348623157e+308,295147905179352830000]}"#,
            // half-way between .2 and .3: the even digit
            r#"{"n":[1617239680712725.2,-1617239680712725.2]}"#,
            r#"{"a":{"sigtrail":1}}"#,
        ] {
            assert_eq!(check(line.as_bytes()), Ok(()), "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        use JcsError::{Depth, Escape, Form, Number, Object, Order, Reserved, Utf8};
        for (line, error) in [
            ("", Object),
            ("[]", Object),
            (" {}", Object),
            ("{} ", Form(2)),
            ("{ }", Form(1)),
            (r#"{"a": 1}"#, Form(5)),
            (r#"{"a":1,}"#, Form(7)),
            (r#"{"a":1"#, Form(6)),
            (r#"{"a""#, Form(4)),
            (r#"{"a":"#, Form(5)),
            (r#"{"a":tru}"#, Form(5)),
            (r#"{"b":1,"a":1}"#, Order(7)),
            (r#"{"a":1,"a":1}"#, Order(7)),
            ("{\"\u{fb33}\":3,\"\u{1f600}\":2}", Order(9)),
            (r#"{"a":"\/"}"#, Escape(6)),
            (r#"{"a":"\u0041"}"#, Escape(6)),
            (r#"{"a":"\u000A"}"#, Escape(6)),
            (r#"{"a":"\u001F"}"#, Escape(6)),
            (r#"{"a":"\u000a"}"#, Escape(6)),
            (r#"{"a":"\ud83d\ude00"}"#, Escape(6)),
            ("{\"a\":\"\t\"}", Escape(6)),
            (r#"{"a":"\"#, Escape(6)),
            (r#"{"a":""#, Form(6)),
            (r#"{"a":-0}"#, Number(5)),
            (r#"{"a":01}"#, Number(5)),
            (r#"{"a":1.0}"#, Number(5)),
            (r#"{"a":1e3}"#, Number(5)),
            (r#"{"a":-}"#, Number(5)),
            (r#"{"a":1E+21}"#, Number(5)),
            (r#"{"a":1e21}"#, Number(5)),
            (r#"{"a":1617239680712725.3}"#, Number(5)),
            (r#"{"a":9007199254740993}"#, Number(5)),
            (r#"{"a":1e999}"#, Number(5)),
            (r#"{"a":.5}"#, Form(5)),
            (r#"{"a":0.50}"#, Number(5)),
            (r#"{"a":0.1e-6}"#, Number(5)),
            (r#"{"a":NaN}"#, Form(5)),
            (r#"{"sigtrail":1}"#, Reserved),
            (r#"{"a":1,"sigtrail":1}"#, Reserved),
        ] {
            assert_eq!(check(line.as_bytes()), Err(error), "{line}");
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(Utf8(6)));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(check(deep.as_bytes()), Ok(()));
        let deeper = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert!(matches!(check(deeper.as_bytes()), Err(Depth(_))));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_LINE - 8));
        assert_eq!(check(long.as_bytes()), Ok(()));
        assert_eq!(check(long.replace('a', "aa").as_bytes()), Err(JcsError::TooLong(MAX_LINE + 1)));
    }

    #[test]
    fn every_character_is_escaped_and_comes_back() {
        for c in (0..0x180).chain(0xfff0..0x10010).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let mut inside = Vec::new();
            escape(&text, &mut inside);
            let inside = String::from_utf8(inside).unwrap();
            assert_eq!(unescape(&inside).as_deref(), Some(text.as_str()));
            assert_eq!(check(format!("{{\"k\":\"{inside}\"}}").as_bytes()), Ok(()));
        }
        for string in ["\"", "\\", "\\u0041", "\n", "\\x"] {
            assert_eq!(unescape(string), None, "{string}");
        }
    }
}
