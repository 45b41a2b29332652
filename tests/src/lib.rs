//! Support for the tests from outside.

pub mod nginx;
