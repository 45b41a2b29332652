use super::record;
use crate::{names::{PtraceRequest, Touched}, wire::{Id, Name16, Path, Wide}};

record! {
    /// A process takes another one over, or changes it (ptrace(2)). Requests that only look, or let it run on, make no event:
    /// an attach comes before them.
    "ptrace" => Ptrace {
        /// What to do.
        request: PtraceRequest,
        /// Process id that the call names, in the pid namespace of the caller; null with `PTRACE_TRACEME`.
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
        /// Address in the other process, where the request has one.
        address: Wide,
        /// `process` when the other process is the agent; null otherwise.
        touches: Touched,
    }
}
