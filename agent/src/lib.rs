//! The agent.

pub mod deliver;
pub mod disk;
pub mod sealed;
pub mod sink;
pub mod spool;
