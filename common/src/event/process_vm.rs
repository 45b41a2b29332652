use super::record;
use crate::{names::Touched, wire::{Id, Name16, Path, User, Wide}};

record! {
    /// Memory of another process was read, written or advised about (process_vm_readv(2), process_vm_writev(2),
    /// process_madvise(2)). `ret` is the number of bytes.
    "process_vm" => ProcessVm {
        /// Process id of the other process. As the call names it, or of a descriptor (process_madvise(2)) in the initial pid
        /// namespace.
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
        /// The first address in the other process.
        address: User<Wide>,
        /// Bytes from there on.
        length: User<Wide>,
        /// Advice of process_madvise(2), as a number (madvise(2)); null with the others.
        advice: Id,
        /// `process` when the other process is the agent; null otherwise.
        touches: Touched,
    }
}
