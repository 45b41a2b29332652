//! The user half of sigtrail.
//!
//! ```text
//! kernel ring ─▶ decode ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ spool ═══ deliver ─▶ sink
//! └──────────────────── one thread, no copies ───────────────────┘ disk    one task per sink
//! ```

pub mod config;
pub mod document;
pub mod policy;
pub mod record;
