//! Support for the tests from outside.

pub mod agent;
pub mod fault;
#[expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
pub mod golden;
pub mod haproxy;
#[expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
pub mod host;
#[expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
pub mod nats;
pub mod nginx;
#[expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
pub mod receiver;
#[expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
pub mod seaweed;
pub mod tinyproxy;
pub mod vm;
