//! Patterns of texts and of internet addresses.
//!
//! Texts are compared byte by byte, case included, unlike in Sigma: `/tmp/Sh` and `/tmp/sh` are two files on Linux, so
//! a rule that took one for the other would drop or blame the wrong one. `nocase` folds ASCII letters where that is
//! meant.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

/// A compiled regular expression may take this many bytes.
const REGEX_LIMIT: usize = 1 << 18;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The whole text.
    Is(Box<[u8]>),
    /// The beginning of the text.
    Starts(Box<[u8]>),
    /// The end of the text.
    Ends(Box<[u8]>),
    /// Some part of the text.
    Contains(Box<memmem::Finder<'static>>),
    /// Everything else.
    Regex(Regex),
}

/// Which part of the text a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The whole.
    Whole,
    /// Its beginning.
    Start,
    /// Its end.
    End,
    /// Any.
    Part,
}

impl Pattern {
    /// Whether a text matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Is(it) => text == &**it,
            Self::Starts(it) => text.starts_with(it),
            Self::Ends(it) => text.ends_with(it),
            Self::Contains(it) => it.find(text).is_some(),
            Self::Regex(it) => it.is_match(text),
        }
    }

    /// Compiles a value in which `*` stands for any bytes and `?` for any one byte; `\*`, `\?` and `\\` for themselves.
    pub fn glob(text: &str, anchor: Anchor, nocase: bool, regexes: &mut Regexes) -> Result<Self, regex::Error> {
        let mut tokens = tokens(text);
        if matches!(anchor, Anchor::End | Anchor::Part) {
            tokens.insert(0, Token::Any);
        }
        if matches!(anchor, Anchor::Start | Anchor::Part) {
            tokens.push(Token::Any);
        }
        tokens.dedup_by(|a, b| matches!((a, b), (Token::Any, Token::Any)));
        if !nocase {
            let bytes = |it: &str| it.as_bytes().into();
            match tokens.as_slice() {
                [] => return Ok(Self::Is(Box::default())),
                [Token::Text(it)] => return Ok(Self::Is(bytes(it))),
                [Token::Any] => return Ok(Self::Starts(Box::default())),
                [Token::Text(it), Token::Any] => return Ok(Self::Starts(bytes(it))),
                [Token::Any, Token::Text(it)] => return Ok(Self::Ends(bytes(it))),
                [Token::Any, Token::Text(it), Token::Any] => {
                    return Ok(Self::Contains(Box::new(memmem::Finder::new(it.as_bytes()).into_owned())));
                }
                _ => {}
            }
        }
        let mut source = String::from(r"(?s)\A");
        for token in &tokens {
            match token {
                Token::Text(it) => source.push_str(&regex::escape(it)),
                Token::Any => source.push_str(".*"),
                Token::One => source.push('.'),
            }
        }
        source.push_str(r"\z");
        regexes.compile(&source, nocase).map(Self::Regex)
    }
}

enum Token {
    Text(String),
    Any,
    One,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(it) = chars.next() {
        match it {
            '*' => tokens.push(Token::Any),
            '?' => tokens.push(Token::One),
            _ => {
                let literal = match chars.peek() {
                    Some('*' | '?' | '\\') if it == '\\' => chars.next().unwrap_or(it),
                    _ => it,
                };
                match tokens.last_mut() {
                    Some(Token::Text(text)) => text.push(literal),
                    _ => tokens.push(Token::Text(literal.into())),
                }
            }
        }
    }
    tokens
}

/// Whether a value has a `*` or `?` that is not escaped.
pub fn has_wildcard(text: &str) -> bool {
    tokens(text).iter().any(|token| matches!(token, Token::Any | Token::One))
}

/// Regular expressions that were compiled already: a rule is compiled once for each of its kinds.
#[derive(Debug, Default)]
pub struct Regexes(HashMap<(String, bool), Regex>);

impl Regexes {
    /// Compiles an expression of the `regex` crate. It searches anywhere; letters and classes are those of ASCII, since
    /// file names are bytes.
    pub fn compile(&mut self, source: &str, nocase: bool) -> Result<Regex, regex::Error> {
        if let Some(regex) = self.0.get(&(source.to_owned(), nocase)) {
            return Ok(regex.clone());
        }
        let mut builder = RegexBuilder::new(source);
        builder.unicode(false).case_insensitive(nocase).size_limit(REGEX_LIMIT).dfa_size_limit(REGEX_LIMIT);
        let regex = builder.build()?;
        self.0.insert((source.to_owned(), nocase), regex.clone());
        Ok(regex)
    }
}

/// A range of internet addresses. Addresses of IPv4 that are written as IPv6 (`::ffff:192.0.2.1`) count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    base: IpAddr,
    bits: u32,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Neither address nor range.
    #[error("\"{0}\" is no address or range such as 192.0.2.0/24")]
    Malformed(String),
    /// The base has bits that the range does not fix.
    #[error("the base of this range has bits behind its length; the range is {0}")]
    HostBits(String),
}

impl Net {
    /// Reads `address/bits`, or an address alone.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        let malformed = || NetError::Malformed(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let base: IpAddr = address.parse().map_err(|_| malformed())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| malformed())?;
        if bits > width {
            return Err(malformed());
        }
        let net = Self { base: mask(base, bits), bits };
        if net.base != base {
            return Err(NetError::HostBits(format!("{}/{bits}", net.base)));
        }
        Ok(net)
    }

    /// The base, and the number of bits that it fixes.
    pub fn parts(self) -> (IpAddr, u32) {
        (self.base, self.bits)
    }

    /// Whether it is a range of IPv6 that has to do with addresses of IPv4 written as IPv6.
    pub fn holds_mapped(self) -> bool {
        let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into();
        let bits = self.bits.min(96);
        self.base.is_ipv6() && mask(self.base, bits) == mask(mapped, bits)
    }

    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && mask(address, self.bits) == self.base
    }
}

fn mask(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(it) => Ipv4Addr::from(it.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into(),
        IpAddr::V6(it) => Ipv6Addr::from(it.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |pattern: &str, anchor, nocase, text: &str, expected: bool| {
            let pattern = Pattern::glob(pattern, anchor, nocase, &mut Regexes::default()).unwrap();
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{pattern:?} {text}");
        };
        check("/etc/shadow", Anchor::Whole, false, "/etc/shadow", true);
        check("/etc/shadow", Anchor::Whole, false, "/etc/Shadow", false);
        check("/etc/shadow", Anchor::Whole, true, "/etc/Shadow", true);
        check("/etc/", Anchor::Start, false, "/etc/x", true);
        check("/etc/", Anchor::Start, false, "/x/etc/x", false);
        check(".so", Anchor::End, false, "libc.so", true);
        check(".so", Anchor::End, false, "libc.so.6", false);
        check("tmp", Anchor::Part, false, "/var/tmp/x", true);
        check("tmp", Anchor::Part, true, "/var/TMP/x", true);
        check("/home/*/.ssh/*", Anchor::Whole, false, "/home/a/b/.ssh/id", true);
        check("/home/*/.ssh/*", Anchor::Whole, false, "/home/.ssh/id", false);
        check("a?c", Anchor::Whole, false, "a\nc", true);
        check("a?c", Anchor::Whole, false, "ac", false);
        check(r"a\*c", Anchor::Whole, false, "a*c", true);
        check(r"a\*c", Anchor::Whole, false, "abc", false);
        check(r"a\\*", Anchor::Whole, false, r"a\bc", true);
        check(r"a\b", Anchor::Whole, false, r"a\b", true);
        check("*", Anchor::Whole, false, "", true);
        check("", Anchor::Whole, false, "", true);
        check("**", Anchor::Part, true, "x", true);
    }

    #[test]
    fn nets() {
        let check = |net: &str, address: &str, expected: bool| {
            assert_eq!(Net::parse(net).unwrap().contains(address.parse().unwrap()), expected, "{net} {address}");
        };
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("fe80::/10", "fe80::1", true);
        check("::/0", "fe80::1", true);
        check("::1", "::2", false);
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "x"] {
            assert_eq!(Net::parse(wrong), Err(NetError::Malformed(wrong.to_owned())));
        }
        assert_eq!(Net::parse("10.1.0.0/8"), Err(NetError::HostBits("10.0.0.0/8".into())));
    }
}
