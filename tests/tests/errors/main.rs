//! What goes wrong is said in words, ends with the right code, and does not harm the log.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calls;
mod degraded;
mod doctor;
mod metrics;
mod service;
mod sinks;
mod spool;
mod verify;
