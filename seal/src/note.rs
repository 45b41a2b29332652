//! Signed notes: a text and, after an empty line, the signature lines under it (C2SP `signed-note.md`).

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::text::{base64, hex, unbase64, unhex};
use crate::tree::sha256;

/// The signature type of Ed25519 in C2SP's table.
const ED25519: u8 = 1;

/// The most signature lines that are read under one note.
pub const MAX_SIGNATURES: usize = 16;

/// Why a text is no verifier key or no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    /// A verifier key is `name+hex key id+base64(type, key)`.
    #[error("no verifier key: not of the form name+id+key with an Ed25519 key and its own id")]
    Vkey,
    /// The name is empty or has a space, a `+` or a control character.
    #[error("no key name: empty, or with a space, a plus or a control character")]
    Name,
    /// The text does not end in an empty line and signature lines, or has control characters.
    #[error("no signed note: text, empty line and signature lines are expected")]
    Form,
    /// A signature line is not `— name base64`.
    #[error("no signature line: an em dash, a key name and base64 of id and signature are expected")]
    Signature,
    /// No signature under the note is by the key.
    #[error("the note has no valid signature by the key {0:02x?}")]
    Unsigned([u8; 4]),
}

/// Whether the text can name a key: not empty, no Unicode space, no `+`, no control character.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The name of a key and the key: what C2SP calls a verifier key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Vkey {
    /// Names the public half of a signing key.
    pub fn new(name: &str, key: &SigningKey) -> Result<Self, NoteError> {
        Self::from_key(name, key.verifying_key())
    }

    fn from_key(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, ED25519, key.as_bytes()), key })
    }

    /// Names the 32 bytes of a public key (RFC 8032); a key of small order is none.
    pub fn from_bytes(name: &str, key: &[u8; 32]) -> Result<Self, NoteError> {
        Self::from_key(name, public(key)?)
    }

    /// Reads `name+id+key`; the id must be the key's own, the key must not be of small order.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, key) = parse_key(text, ED25519)?;
        Self::from_key(name, key)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: a hint which key made a signature, no proof.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of the public key (RFC 8032).
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether the signature line is one of this key over the text.
    pub fn verifies(&self, text: &str, signature: &Signature) -> bool {
        signature.name == self.name
            && signature.id == self.id
            && ed25519_dalek::Signature::from_slice(&signature.bytes)
                .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_key(&self.name, self.id, ED25519, self.key.as_bytes()))
    }
}

/// The RECOMMENDED key id of signed-note.md: the first four bytes of SHA-256(name, LF, type, key).
pub(crate) fn key_id(name: &str, kind: u8, key: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), &[b'\n', kind], key].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A public key (RFC 8032); one of small order is none.
pub(crate) fn public(key: &[u8; 32]) -> Result<VerifyingKey, NoteError> {
    VerifyingKey::from_bytes(key).ok().filter(|key| !key.is_weak()).ok_or(NoteError::Vkey)
}

/// Reads `name+id+key` of an Ed25519 key that makes signatures of this type; the id must be the key's own.
pub(crate) fn parse_key(text: &str, kind: u8) -> Result<(&str, VerifyingKey), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Vkey);
    };
    let id = unhex::<4>(id).ok_or(NoteError::Vkey)?;
    let key = unbase64(key).ok_or(NoteError::Vkey)?;
    let (_, key) = key.split_first().filter(|(first, _)| **first == kind).ok_or(NoteError::Vkey)?;
    let key: [u8; 32] = key.try_into().map_err(|_| NoteError::Vkey)?;
    if !is_name(name) {
        return Err(NoteError::Name);
    }
    if key_id(name, kind, &key) != id {
        return Err(NoteError::Vkey);
    }
    Ok((name, public(&key)?))
}

/// Writes what [`parse_key`] reads.
pub(crate) fn write_key(name: &str, id: [u8; 4], kind: u8, key: &[u8; 32]) -> String {
    format!("{name}+{}+{}", hex(&id), base64(&[&[kind], key.as_slice()].concat()))
}

/// One line under a note: who signed, and the bytes of the signature, of whatever type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub id: [u8; 4],
    /// The signature after the id.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Signs a text.
    pub fn sign(by: &Vkey, key: &SigningKey, text: &str) -> Self {
        Self { name: by.name.clone(), id: by.id, bytes: key.sign(text.as_bytes()).to_bytes().to_vec() }
    }

    /// Reads a line without its LF.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, blob) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(NoteError::Signature)?;
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        let blob = unbase64(blob).ok_or(NoteError::Signature)?;
        match blob.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
            }
            _ => Err(NoteError::Signature),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, base64(&[&self.id, self.bytes.as_slice()].concat()))
    }
}

/// A text with its signatures. Nothing is believed before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its last LF.
    pub text: String,
    /// The lines under it, at least one, at most [`MAX_SIGNATURES`].
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note, strictly: what is read writes back to the same bytes.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.contains(|c: char| c.is_control() && c != '\n') {
            return Err(NoteError::Form);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Vec<_> =
            signatures.split('\n').take(MAX_SIGNATURES + 1).map(Signature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Form);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text, once one of the signatures is by the key.
    pub fn verify(&self, key: &Vkey) -> Result<&str, NoteError> {
        let signed = self.signatures.iter().any(|signature| key.verifies(&self.text, signature));
        if signed { Ok(&self.text) } else { Err(NoteError::Unsigned(key.id)) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published key and note of Go's `sumdb/note`, from which C2SP's text came.
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_published_note_verifies_and_is_signed_again_to_the_byte() {
        let vkey = Vkey::parse(VKEY).unwrap();
        assert_eq!(vkey.to_string(), VKEY);
        let note = Note::parse(NOTE).unwrap();
        assert_eq!(note.to_string(), NOTE);
        let text = note.verify(&vkey).unwrap();

        let secret = SigningKey::from_bytes(unbase64(SECRET).unwrap()[1..].try_into().unwrap());
        assert_eq!(Vkey::new("PeterNeumann", &secret), Ok(vkey.clone()));
        assert_eq!(Signature::sign(&vkey, &secret, text), note.signatures[0]);
    }

    #[test]
    fn no_changed_key_or_note_passes() {
        for at in 0..VKEY.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bytes = VKEY.as_bytes().to_vec();
                bytes[at] ^= flip;
                assert!(!std::str::from_utf8(&bytes).is_ok_and(|text| Vkey::parse(text).is_ok()), "byte {at}");
            }
        }
        let vkey = Vkey::parse(VKEY).unwrap();
        for at in 0..NOTE.len() {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1;
            let passes =
                String::from_utf8(bytes).is_ok_and(|text| Note::parse(&text).is_ok_and(|n| n.verify(&vkey).is_ok()));
            assert!(!passes, "byte {at}");
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        for text in [
            "",
            "\n",
            "text\n",
            "text\n\n",
            "text\n\n\n",
            "text\n\n— a\n",
            "text\n\n— a AAAA\n",
            "text\n\n— a AAAAAAA=",
            "text\n\n- a AAAAAAA=\n",
            "text\n\n— a  AAAAAAA=\n",
            "te\rxt\n\n— a AAAAAAA=\n",
            "text\n\n— a+b AAAAAAA=\n",
        ] {
            assert!(Note::parse(text).is_err(), "{text:?}");
        }
        assert!(Note::parse("text\n\n— a AAAAAAA=\n").is_ok());
        let many = format!("text\n\n{}", "— a AAAAAAA=\n".repeat(MAX_SIGNATURES + 1));
        assert_eq!(Note::parse(&many), Err(NoteError::Form));
    }
}
