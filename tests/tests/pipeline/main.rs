//! From recorded events to sealed batches, without a kernel and without rights.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod flow;
mod golden;
mod noise;
mod record;
mod schema;
mod stream;
