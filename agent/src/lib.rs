//! The user half of sigtrail.
//!
//! ```text
//! kernel ring ─▶ decode ─▶ enrich ─▶ policy ─▶ batch ─▶ seal ─▶ spool ═══ deliver ─▶ sink
//! └──────────────────── one thread, no copies ───────────────────┘ disk    one task per sink
//! ```

#![warn(clippy::print_stdout, reason = "it panics when the reader went away")]

pub mod batch;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod deliver;
pub mod disk;
pub mod document;
pub mod enrich;
pub mod keys;
pub mod pipeline;
pub mod policy;
pub mod record;
pub mod review;
pub mod sealed;
pub mod sink;
pub mod source;
pub mod spool;
pub mod view;
