use super::record;
use crate::{names::{PidfdFlags, Touched}, wire::{Id, Path}};

record! {
    /// A process got a descriptor of another one, or a copy of a descriptor out of it (pidfd_open(2), pidfd_getfd(2)).
    "pidfd" => Pidfd {
        /// Process id of the other process. As the call names it (pidfd_open(2)), or in the initial pid namespace.
        target_pid: Id,
        /// Number of the descriptor that was copied; null with pidfd_open(2).
        target_fd: Id,
        /// The file behind that descriptor.
        path: Path,
        /// Flags of pidfd_open(2).
        flags: PidfdFlags,
        /// `process` when the other process is the agent; null otherwise.
        touches: Touched,
    }
}
