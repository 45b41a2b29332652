use super::record;

record! {
    /// A process was born (fork(2), vfork(2), clone(2)); new threads are none.
    "fork" => Fork {
        /// Start of the child, nanoseconds since boot.
        child_start: u64,
        /// Process id of the child, in the initial pid namespace.
        child_pid: u32,
        /// Process id of the child's parent: not the caller with `CLONE_PARENT`.
        child_ppid: u32,
    }
}
