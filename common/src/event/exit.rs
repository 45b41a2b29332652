use super::record;
use crate::{names::Signal, wire::Bool};

record! {
    /// A process ended: its last thread is gone.
    "exit" => Exit {
        /// Exit code; 0 when a signal ended it.
        code: u32,
        /// The signal that ended it; null when it ended by itself.
        signal: Signal,
        /// A core was dumped.
        core: Bool,
    }
}
