//! What is trusted before anything is read.

use crate::note::Vkey;
use crate::proof::Checkpoint;
use crate::quorum::Policy;
use crate::revocation::Revocation;

/// What the auditor knows before he reads the log.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Host keys that are known to be right.
    pub pins: Vec<Vkey>,
    /// Heads of the log known from elsewhere: syslog, a witness, a ticket.
    pub heads: Vec<Checkpoint>,
    /// Host keys that count up to a batch only.
    pub revoked: Vec<Revocation>,
    /// The batch the input is known to begin with; `None`: with batch 0.
    pub from: Option<u64>,
    /// From when on the log is asked about, in nanoseconds since 1970: the first batch that was closed then or later, and
    /// all behind it. What is before is checked for having been changed, but not counted, and may be incomplete.
    pub since: Option<u64>,
    /// Which witnesses must have cosigned the log. Its logs count as [`Trust::pins`].
    pub policy: Option<Policy>,
}

impl Trust {
    /// The host keys that are known to be right: the pins, and the logs of the policy.
    pub fn keys(&self) -> Vec<Vkey> {
        self.pins.iter().chain(self.policy.iter().flat_map(|policy| &policy.logs)).cloned().collect()
    }

    /// The last batch that this key signs for, if it was revoked before this one.
    pub fn revoked(&self, key: &Vkey, batch: u64) -> Option<u64> {
        self.revoked.iter().filter(|revoked| revoked.revokes(key, batch)).map(|revoked| revoked.after).min()
    }
}
