//! Support for the tests from outside.

pub mod agent;
pub mod nginx;
