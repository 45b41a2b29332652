//! A real agent, a real receiver, TLS between them; and logs made by hand that are posted with curl.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agent;
mod bodies;
mod faults;
mod made;
