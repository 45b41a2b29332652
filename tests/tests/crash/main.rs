//! The agent is killed, its files are put back, cut and exchanged: what was sealed stays, and no number is signed
//! twice.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod full;
mod handover;
mod keys;
mod kill;
mod repair;
mod state;
mod steps;
mod upgrade;
