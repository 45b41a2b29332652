//! Where events come from: the kernel half, a recorded stream, and the agent itself.

pub mod hooks;
pub mod kernel;
pub mod object;
pub mod offsets;
pub mod own;

pub use own::Own;
pub use kernel::{Kernel, Options, SourceError};
