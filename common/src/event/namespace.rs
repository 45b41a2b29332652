use super::record;
use crate::{names::NamespaceFlags, wire::{Id, Inode, Name16}};

record! {
    /// A process entered namespaces, new ones or existing ones, or made a child in new ones (unshare(2), setns(2), and clone(2)
    /// and clone3(2) with flags that ask for one).
    "namespace" => Namespace {
        /// Flags that name namespaces. With setns(2) as the caller gave them.
        flags: NamespaceFlags,
        /// The child (clone(2), clone3(2)), in the initial pid namespace; null with other calls.
        child_pid: Id,
        /// Inode of the namespace that was entered (setns(2) with a namespace).
        inode: Inode,
        /// Its type as /proc/PID/ns names it.
        ns_type: Name16,
        /// Process whose namespaces were entered (setns(2) with a process), in the initial pid namespace.
        target_pid: Id,
    }
}
