//! The sealed log: format, chain, keys, sign, verify.
//!
//! An auditor reads this crate and trusts the log. It knows bytes, not events; outside of [`cli`] it opens no file,
//! reads no clock and draws no random number: the same state, lines and facts give the same bytes.
//!
//! ```text
//!  event lines ──▶ Lines ──┐                           ┌─▶ seal line (header + proof) ─▶ disk
//!  (batch::tree)           ├─▶ Sealer::seal ─▶ Sealed ─┤
//!  Facts ─────▶ Header ────┘                           └─▶ State n+1 ─▶ slot, then Sealer::advance
//!
//!  lines of a file, body, object ─▶ Verifier ─▶ Report, Findings
//! ```
//!
//! Standards, as they are: RFC 6962 section 2.1 (trees), RFC 8032 (Ed25519), RFC 8785 (canonical JSON),
//! C2SP signed-note, tlog-checkpoint, tlog-proof, tlog-cosignature, tlog-witness and tlog-policy.

#![forbid(unsafe_code)]

pub mod add_checkpoint;
pub mod batch;
pub mod bundle;
pub mod consistency_proof;
pub mod cosign;
pub mod enrol;
pub mod event_proof;
pub mod frame;
pub mod header;
pub mod jcs;
pub mod key;
pub mod line;
pub mod note;
pub mod proof;
pub mod quorum;
pub mod revocation;
pub mod sealer;
pub mod state;
pub mod text;
pub mod tree;
pub mod verify;

#[cfg(feature = "cli")]
pub mod cli;

pub use batch::{Batch, Lines};
pub use consistency_proof::ConsistencyProof;
pub use cosign::Receipt;
pub use event_proof::EventProof;
pub use header::{Account, Agent, BatchKind, Clock, Cpu, Facts, Gap, GapReason, Header};
pub use key::{HostKey, Seed};
pub use note::Vkey;
pub use revocation::Revocation;
pub use sealer::{SealError, Sealed, Sealer};
pub use state::{Slot, State};
pub use verify::{Report, Severity, Trust, Verdict, Verifier};

/// The longest event line, in bytes without its LF.
pub const MAX_LINE: usize = 262_144;
