//! The receiver of sealed logs: it verifies each delivery of the agent's HTTP sink, keeps it, and cosigns the head of
//! the log as a C2SP witness. It opens a port so that the agent needs none.
//!
//! ```text
//! POST /batches ─▶ body (unpack) ─▶ host (verify from where it stands) ─▶ store (append, fsync) ─▶ cosigned ─▶ answer
//!                                         └▶ alarm, aside                POST /add-checkpoint ──────┘
//! ```

#![forbid(unsafe_code)]

pub mod alarm;
pub mod body;
pub mod cosigned;
pub mod host;
pub mod hosts;
pub mod key;
pub mod metrics;
pub mod serve;
pub mod store;
pub mod tls;
pub mod trust;

use std::time::{Duration, SystemTime};

/// The wall clock, since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
