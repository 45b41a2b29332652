use super::record;
use crate::{names::{Resource, Touched}, wire::{Id, Name16, Path, User, Wide}};

record! {
    /// A limit of another process was set (prlimit(2)). A process that asks for limits, or sets its own, makes no event.
    "prlimit" => Prlimit {
        /// Process id that the call names, in the pid namespace of the caller.
        target_pid: Id,
        /// Process id of that process in the initial pid namespace. This and what follows is what the kernel has when the call
        /// returns; null when there is none.
        target_host_pid: Id,
        /// Its start in clock ticks since boot (field 22 of proc_pid_stat(5)): with `target_host_pid` the end of its
        /// `process.id`.
        target_start: Wide,
        /// Name of its first thread.
        target_comm: Name16,
        /// The program that it runs; null for a process that has ended but for its number.
        target_exe: Path,
        /// What is limited.
        resource: Resource,
        /// The limit that holds, from then on; null when there is none.
        soft: User<Wide>,
        /// The limit up to which the process may raise the other; null when there is none.
        hard: User<Wide>,
        /// `process` when the other process is the agent; null otherwise.
        touches: Touched,
    }
}
