//! The user half of sigtrail.
//!
//! ```text
//! kernel ring ─▶ decode ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ spool ═══ deliver ─▶ sink
//! └──────────────────── one thread, no copies ───────────────────┘ disk    one task per sink
//! ```

pub mod enrich;
pub mod record;
pub mod source;
