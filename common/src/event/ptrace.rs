use super::record;
use crate::{names::{PtraceRequest, Touched}, wire::{Id, Wide}};

record! {
    /// A process takes another one over, or changes it (ptrace(2)). Requests that only look, or let it run on, make no event:
    /// an attach comes before them.
    "ptrace" => Ptrace {
        /// What to do.
        request: PtraceRequest,
        /// Process id that the call names, in the pid namespace of the caller; null with `PTRACE_TRACEME`.
        target_pid: Id,
        /// Address in the other process, where the request has one.
        address: Wide,
        /// `process` when the other process is the agent; null otherwise.
        touches: Touched,
    }
}
