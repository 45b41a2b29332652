//! The enrolment note: with it a host says which keys its log begins with; it is the one event of batch 0.
//!
//! ```text
//! sigtrail/enrol/v1
//! origin <log identity>
//! hostkey <vkey of the host key>
//! chainkey <vkey of the chain key of batch 0>
//! fact <name> <value>          any number, e.g. the host-uuid, the last checkpoint of the log before
//! time <RFC 3339, UTC, ns>
//!
//! — <origin> <base64 of key id and signature>
//! ```

use std::fmt;

use thiserror::Error;

use crate::jcs;
use crate::key::{HostKey, Seed, chain_name};
use crate::note::{Note, NoteError, Vkey};
use crate::text::{is_plain, is_word, time, untime};

/// The first line of the text.
pub const VERSION: &str = "sigtrail/enrol/v1";

/// The longest note in bytes.
pub const MAX_NOTE: usize = 16_384;

const START: &str = "{\"kind\":\"enrol\",\"note\":\"";
const END: &str = "\"}";

/// Why a text is no enrolment note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnrolError {
    /// A line is missing, out of its place, or its value has another form.
    #[error("the enrolment note has no valid `{0}` line where it belongs")]
    Line(&'static str),
    /// It is no signed note, or not signed by the host key it names.
    #[error("the enrolment note is not signed by the key it names")]
    Note(#[from] NoteError),
}

/// What a host says when its log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The host key; its name is the origin of the log.
    pub hostkey: Vkey,
    /// The chain key of batch 0.
    pub chainkey: Vkey,
    /// Facts about the host: a word and a value each.
    pub facts: Vec<(String, String)>,
    /// When, in nanoseconds since 1970.
    pub time: u64,
}

impl Enrolment {
    /// The enrolment of a new log with its first keys.
    pub fn new(host: &HostKey, seed: &Seed, facts: Vec<(String, String)>, time: u64) -> Result<Self, EnrolError> {
        let hostkey = host.vkey().clone();
        let chainkey = seed.chain_key(hostkey.name())?.vkey().clone();
        Ok(Self { hostkey, chainkey, facts, time })
    }

    /// The note, signed. Refused if the facts do not fit the form.
    pub fn sign(&self, host: &HostKey) -> Result<String, EnrolError> {
        let text = self.to_string();
        let note = Note { signatures: vec![host.sign(&text)], text }.to_string();
        if Self::verify(&note)? == *self { Ok(note) } else { Err(EnrolError::Line("fact")) }
    }

    /// Reads a note and checks that the host key it names signed it. Whether that key is to be trusted is another
    /// question, which only a pinned key or an operator answers.
    pub fn verify(note: &str) -> Result<Self, EnrolError> {
        if note.len() > MAX_NOTE {
            return Err(EnrolError::Note(NoteError::Form));
        }
        let note = Note::parse(note)?;
        let read = Self::parse(&note.text)?;
        note.verify(&read.hostkey)?;
        Ok(read)
    }

    fn parse(text: &str) -> Result<Self, EnrolError> {
        use EnrolError::Line;
        fn value<'a>(line: Option<&'a str>, key: &'static str) -> Result<&'a str, EnrolError> {
            line.and_then(|line| line.strip_prefix(key)?.strip_prefix(' ')).ok_or(Line(key))
        }
        fn vkey(text: &str, name: &str, key: &'static str) -> Result<Vkey, EnrolError> {
            Vkey::parse(text).ok().filter(|vkey| vkey.name() == name).ok_or(Line(key))
        }
        let mut lines = text.split('\n').peekable();
        if lines.next() != Some(VERSION) {
            return Err(Line(VERSION));
        }
        let origin = value(lines.next(), "origin")?;
        let hostkey = vkey(value(lines.next(), "hostkey")?, origin, "hostkey")?;
        let chainkey = vkey(value(lines.next(), "chainkey")?, &chain_name(origin), "chainkey")?;
        let mut facts = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("fact ")) {
            let fact = value(Some(line), "fact")?.split_once(' ');
            let (name, value) = fact.filter(|(name, value)| is_word(name) && is_plain(value)).ok_or(Line("fact"))?;
            facts.push((name.to_owned(), value.to_owned()));
        }
        let time = untime(value(lines.next(), "time")?).ok_or(Line("time"))?;
        let read = Self { hostkey, chainkey, facts, time };
        if read.to_string() == text { Ok(read) } else { Err(Line("time")) }
    }
}

impl fmt::Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}\norigin {}", self.hostkey.name())?;
        writeln!(f, "hostkey {}\nchainkey {}", self.hostkey, self.chainkey)?;
        self.facts.iter().try_for_each(|(name, value)| writeln!(f, "fact {name} {value}"))?;
        writeln!(f, "time {}", time(self.time))
    }
}

/// The event line of batch 0, without its LF: canonical JSON with the note in it.
pub fn genesis_line(note: &str) -> Vec<u8> {
    let mut line = START.as_bytes().to_vec();
    jcs::escape(note, &mut line);
    line.extend_from_slice(END.as_bytes());
    line
}

/// The note in an event line of batch 0; `None` if the line is not one that [`genesis_line`] writes.
pub fn note_of(line: &[u8]) -> Option<String> {
    let inside = std::str::from_utf8(line).ok()?.strip_prefix(START)?.strip_suffix(END)?;
    jcs::unescape(inside)
}

/// Whether the line begins like that of batch 0.
pub(crate) fn may_be_genesis(line: &[u8]) -> bool {
    line.len() <= 2 * MAX_NOTE && line.starts_with(START.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_no_changed_one_does() {
        let host = HostKey::new("log.example/a", &[1; 32]).unwrap();
        let facts = vec![("host-uuid".to_owned(), "4711".to_owned()), ("os".to_owned(), "Debian 12".to_owned())];
        let enrolment = Enrolment::new(&host, &Seed::new([2; 32]), facts, 1_750_000_000_000_000_000).unwrap();
        let note = enrolment.sign(&host).unwrap();
        assert_eq!(Enrolment::verify(&note), Ok(enrolment.clone()));
        let line = genesis_line(&note);
        assert_eq!(jcs::check(&line), Ok(()));
        assert_eq!(note_of(&line), Some(note.clone()));
        for at in 0..note.len() {
            let mut bytes = note.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(!String::from_utf8(bytes).is_ok_and(|note| Enrolment::verify(&note).is_ok()), "byte {at}");
        }
        for (name, value) in [("a b", "c\nd"), ("", "value"), ("name", " value"), ("name", "")] {
            let bad = Enrolment { facts: vec![(name.to_owned(), value.to_owned())], ..enrolment.clone() };
            assert!(bad.sign(&host).is_err(), "{name:?}: {value:?}");
        }
        let of_length = |length: usize| [START, &"x".repeat(length - START.len())].concat();
        assert!(may_be_genesis(&line) && may_be_genesis(of_length(2 * MAX_NOTE).as_bytes()));
        assert!(!may_be_genesis(b"{}") && !may_be_genesis(of_length(2 * MAX_NOTE + 1).as_bytes()));
    }
}
