//! The two keys of a host: the host key, which is its identity, and the chain key, which lives for one batch.

use std::fmt;

use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::note::{NoteError, Signature, Vkey};

/// The name of the chain key of a log.
pub fn chain_name(origin: &str) -> String {
    format!("{origin}/chain")
}

/// A private key with the name it signs under.
#[derive(Clone)]
pub struct HostKey {
    vkey: Vkey,
    secret: SigningKey,
}

impl HostKey {
    /// The host key of a log, from 32 secret random bytes.
    pub fn new(origin: &str, secret: &[u8; 32]) -> Result<Self, NoteError> {
        let secret = SigningKey::from_bytes(secret);
        Ok(Self { vkey: Vkey::new(origin, &secret)?, secret })
    }

    /// The public half.
    pub fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// The 32 secret bytes, to store them.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// Signs the text of a note.
    pub fn sign(&self, text: &str) -> Signature {
        Signature::sign(&self.vkey, &self.secret, text)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.vkey)
    }
}

/// The seed of one batch: from it come the chain key that signs the batch, and the seed of the next batch.
///
/// Forward: whoever has seed n+1 cannot find seed n, so what was sealed before a theft cannot be sealed anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A seed of 32 secret random bytes (the first one), or one read from a state slot.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let seed = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        seed
    }

    /// The seed of the batch after: `HMAC-SHA256(seed, "sigtrail/v1 next")`.
    #[must_use]
    pub fn next(&self) -> Self {
        Self(self.derive(b"sigtrail/v1 next"))
    }

    /// The chain key of this batch: Ed25519 of `HMAC-SHA256(seed, "sigtrail/v1 sign")`.
    pub fn chain_key(&self, origin: &str) -> Result<HostKey, NoteError> {
        HostKey::new(&chain_name(origin), &self.derive(b"sigtrail/v1 sign"))
    }

    /// The secret bytes, to store them.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        // HMAC fills a short key with zeros up to the block (RFC 2104): done here, nothing can fail
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.0);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(label);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}
