use super::record;
use crate::{names::{PidfdFlags, Touched}, wire::{Id, Name16, Path, Wide}};

record! {
    /// A process got a descriptor of another one, or a copy of a descriptor out of it (pidfd_open(2), pidfd_getfd(2)).
    "pidfd" => Pidfd {
        /// Process id of the other process. As the call names it (pidfd_open(2)), or in the initial pid namespace.
        target_pid: Id,
        /// Process id of that process in the initial pid namespace. This and what follows is what the kernel has when the call
        /// returns; null when the call names no one process, or there is none.
        target_host_pid: Id,
        /// Its start in clock ticks since boot (field 22 of proc_pid_stat(5)): with `target_host_pid` the end of its
        /// `process.id`.
        target_start: Wide,
        /// Name of its first thread.
        target_comm: Name16,
        /// The program that it runs; null for a process that has ended but for its number.
        target_exe: Path,
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
