use super::record;
use crate::{names::Touched, wire::{Id, User, Wide}};

record! {
    /// Memory of another process was read, written or advised about (process_vm_readv(2), process_vm_writev(2),
    /// process_madvise(2)). `ret` is the number of bytes.
    "process_vm" => ProcessVm {
        /// Process id of the other process. As the call names it, or of a descriptor (process_madvise(2)) in the initial pid
        /// namespace.
        target_pid: Id,
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
