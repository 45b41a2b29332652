//! The agent.

pub mod disk;
pub mod sealed;
pub mod spool;
