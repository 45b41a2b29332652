//! The user half of sigtrail.
//!
//! ```text
//! kernel ring ─▶ decode ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ spool ═══ deliver ─▶ sink
//! └──────────────────── one thread, no copies ───────────────────┘ disk    one task per sink
//! ```

pub mod deliver;
pub mod disk;
pub mod record;
pub mod sealed;
pub mod sink;
pub mod source;
pub mod spool;
