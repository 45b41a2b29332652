//! The second verifier, `tools/verify.py`, beside the first: whatever the log, both say the same.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod forge;
mod matrix;
mod notes;
mod spelling;
mod two;
mod vectors;
