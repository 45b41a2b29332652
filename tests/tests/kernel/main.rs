//! Real system calls on this kernel, and the records that the agent makes of them: as root, one test at a time.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actor;
mod attributes;
mod differential;
mod files;
mod load;
mod lossless;
mod mounts;
mod network;
mod programs;
mod quiet;

/// The ways in which programs read kernel memory: all must tell the same.
const FAMILIES: [&str; 3] = ["fast", "base", "perf"];
