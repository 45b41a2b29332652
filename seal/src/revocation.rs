//! The revocation note: the operator's word that a host key signs for a log up to a batch, and for none behind it.
//!
//! ```text
//! sigtrail/revoke/v1
//! hostkey <vkey of the host key, whose name is the origin of the log>
//! after <number of the last batch that counts>
//! time <RFC 3339, UTC, ns>
//!
//! — <name of the fleet key> <base64 of key id and signature>
//! ```

use std::fmt;

use thiserror::Error;

use crate::enrol::MAX_NOTE;
use crate::key::HostKey;
use crate::note::{Note, NoteError, Vkey};
use crate::text::{decimal, time, untime};

/// The first line of the text.
pub const VERSION: &str = "sigtrail/revoke/v1";

/// Why a text revokes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RevocationError {
    /// A line is missing, out of its place, or its value has another form.
    #[error("the revocation note has no valid `{0}` line where it belongs")]
    Line(&'static str),
    /// It is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// None of the signatures is by a key that may revoke.
    #[error("the revocation note is not signed by a fleet key")]
    Unsigned,
}

/// A host key that counts no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The host key; its name is the origin of the log.
    pub hostkey: Vkey,
    /// The last batch for which its signature counts.
    pub after: u64,
    /// When the operator said so, in nanoseconds since 1970.
    pub time: u64,
}

impl Revocation {
    /// The note, signed by the key of the fleet.
    pub fn sign(&self, fleet: &HostKey) -> String {
        let text = self.to_string();
        Note { signatures: vec![fleet.sign(&text)], text }.to_string()
    }

    /// Reads a note that one of the fleet's keys signed.
    pub fn verify(note: &str, fleet: &[Vkey]) -> Result<Self, RevocationError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Form.into());
        }
        let note = Note::parse(note)?;
        let read = Self::parse(&note.text)?;
        if fleet.iter().any(|key| note.verify(key).is_ok()) { Ok(read) } else { Err(RevocationError::Unsigned) }
    }

    /// Whether a signature by this key under this batch does not count.
    pub fn revokes(&self, key: &Vkey, batch: u64) -> bool {
        *key == self.hostkey && batch > self.after
    }

    fn parse(text: &str) -> Result<Self, RevocationError> {
        use RevocationError::Line;
        let mut lines = text.split('\n');
        if lines.next() != Some(VERSION) {
            return Err(Line(VERSION));
        }
        let mut value = |key| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let read = Self {
            hostkey: value("hostkey").and_then(|text| Vkey::parse(text).ok()).ok_or(Line("hostkey"))?,
            after: value("after").and_then(decimal).ok_or(Line("after"))?,
            time: value("time").and_then(untime).ok_or(Line("time"))?,
        };
        if read.to_string() == text { Ok(read) } else { Err(Line("time")) }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hostkey, after, time: at } = self;
        writeln!(f, "{VERSION}\nhostkey {hostkey}\nafter {after}\ntime {}", time(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_no_changed_one_does() {
        let key = |name: &str, n| HostKey::new(name, &[n; 32]).unwrap();
        let (host, fleet, other) = (key("log.example/a", 1), key("fleet.example", 2), key("fleet.example", 3));
        let revocation = Revocation { hostkey: host.vkey().clone(), after: 7, time: 1_750_000_000_000_000_000 };
        let note = revocation.sign(&fleet);
        let keys = [other.vkey().clone(), fleet.vkey().clone()];
        assert_eq!(Revocation::verify(&note, &keys), Ok(revocation.clone()));
        assert_eq!(Revocation::verify(&note, &keys[..1]), Err(RevocationError::Unsigned));
        // a thief of the host key cannot say from when on it counts
        assert_eq!(Revocation::verify(&revocation.sign(&host), &keys), Err(RevocationError::Unsigned));
        for at in 0..note.len() {
            let mut bytes = note.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(!String::from_utf8(bytes).is_ok_and(|note| Revocation::verify(&note, &keys).is_ok()), "byte {at}");
        }
        let of_length = |length: usize| {
            let name = "n".repeat(length - note.len() - "—  AAAAAAA=\n".len());
            Revocation::verify(&format!("{note}— {name} AAAAAAA=\n"), &keys)
        };
        assert_eq!(of_length(MAX_NOTE), Ok(revocation.clone()));
        assert_eq!(of_length(MAX_NOTE + 1), Err(NoteError::Form.into()));
        assert!(revocation.revokes(host.vkey(), 8) && !revocation.revokes(host.vkey(), 7));
        assert!(!revocation.revokes(fleet.vkey(), 8));
        for (from, to, line) in [
            ("revoke/v1", "revoke/v2", VERSION),
            ("hostkey log", "hostkey  log", "hostkey"),
            ("after 7", "after 07", "after"),
            (".000000000Z\n", ".000000000Z\nmore\n", "time"),
            ("time ", "time  ", "time"),
        ] {
            let text = revocation.to_string().replace(from, to);
            let note = Note { signatures: vec![fleet.sign(&text)], text }.to_string();
            assert_eq!(Revocation::verify(&note, &keys), Err(RevocationError::Line(line)), "{to:?}");
        }
        let long = Note { text: format!("{VERSION}\n{}\n", "x".repeat(MAX_NOTE)), signatures: vec![fleet.sign("")] };
        assert_eq!(Revocation::verify(&long.to_string(), &keys), Err(NoteError::Form.into()));
    }
}
