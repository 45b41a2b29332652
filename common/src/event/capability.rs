use super::record;
use crate::names::Capability as Name;

record! {
    /// A process used a capability, or was refused one: the kernel asked whether it has it. Made when a process (from one
    /// exec to the next) is asked for a capability in a user namespace for the first time, once for the answer yes and
    /// once for no; further ones are counted as left out by the kernel half. Needs the tracepoint `cap_capable` (Linux
    /// 6.14). Some questions only look for a privilege that would make things easier, as CAP_SYS_ADMIN whenever memory is
    /// mapped: the tracepoint does not tell them apart.
    "capability" => Capability {
        /// The capability.
        capability: Name,
        /// Inode of the user namespace in which it is needed: that of the object, not of the process.
        target_user_ns: u32,
    }
}
