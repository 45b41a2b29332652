//! Cosignatures with Ed25519 (C2SP `tlog-cosignature.md`): at this time, the largest tree of this log that the witness
//! has seen, all of which were consistent, has this root.
//!
//! A log keeps the last cosignature of each witness as a [`Receipt`] in its next header.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::note::{NoteError, Signature, is_name, key_id, parse_key, write_key};
use crate::text::decimal;

/// The signature type of Ed25519 cosignatures in C2SP's table.
const COSIGNATURE: u8 = 4;

/// The longest receipt in bytes: far more than an Ed25519 cosignature under a long name.
pub const MAX_RECEIPT: usize = 1024;

/// The public key of a witness, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl WitnessKey {
    /// Reads `name+id+key` with a key of type 4.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, key) = parse_key(text, COSIGNATURE)?;
        Ok(Self::named(name, key))
    }

    fn named(name: &str, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: key_id(name, COSIGNATURE, key.as_bytes()), key }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of the public key (RFC 8032).
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether the line says that it is by this key.
    pub fn is_named_by(&self, signature: &Signature) -> bool {
        signature.name == self.name && signature.id == self.id
    }

    /// When this key cosigned the text of the checkpoint, in seconds since 1970; `None` if the line does not show that
    /// it did.
    pub fn verify(&self, text: &str, signature: &Signature) -> Option<u64> {
        let time = time_of(signature).filter(|_| self.is_named_by(signature))?;
        let bytes = ed25519_dalek::Signature::from_slice(signature.bytes.get(8..)?).ok()?;
        self.key.verify_strict(message(text, time).as_bytes(), &bytes).is_ok().then_some(time)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_key(&self.name, self.id, COSIGNATURE, self.key.as_bytes()))
    }
}

/// A witness with its private key.
pub struct Witness {
    key: WitnessKey,
    secret: SigningKey,
}

impl Witness {
    /// The witness of 32 secret random bytes.
    pub fn new(name: &str, secret: &[u8; 32]) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        let secret = SigningKey::from_bytes(secret);
        Ok(Self { key: WitnessKey::named(name, secret.verifying_key()), secret })
    }

    /// The public half.
    pub fn key(&self) -> &WitnessKey {
        &self.key
    }

    /// Cosigns the text of a checkpoint at a time in seconds since 1970.
    pub fn cosign(&self, text: &str, time: u64) -> Signature {
        let time = time.min(i64::MAX.cast_unsigned());
        let signed = self.secret.sign(message(text, time).as_bytes()).to_bytes();
        Signature { name: self.key.name.clone(), id: self.key.id, bytes: [&time.to_be_bytes(), &signed[..]].concat() }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.key)
    }
}

/// What a witness signs.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The time in a line that has the form of a cosignature, in seconds since 1970. Nothing is verified.
pub fn time_of(signature: &Signature) -> Option<u64> {
    let (time, rest) = signature.bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    (rest.len() == 64 && i64::try_from(time).is_ok()).then_some(time)
}

/// A cosignature with the size of the tree it is over: a `receipt` line of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of batches in the tree.
    pub size: u64,
    /// The line of the witness.
    pub cosignature: Signature,
}

impl Receipt {
    /// Reads `<size> — <name> <base64>`. What is read writes back to the same bytes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_RECEIPT {
            return None;
        }
        let (size, line) = text.split_once(' ')?;
        let cosignature = Signature::parse(line).ok()?;
        time_of(&cosignature)?;
        Some(Self { size: decimal(size)?, cosignature })
    }

    /// When the witness says that it was.
    pub fn time(&self) -> u64 {
        time_of(&self.cosignature).unwrap_or_default()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.cosignature)
    }
}
