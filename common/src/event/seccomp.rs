use super::record;
use crate::{names::{SeccompFlags, SeccompOperation}, wire::{Id, User}};

record! {
    /// A process restricted its system calls (seccomp(2)). Questions make no event.
    "seccomp" => Seccomp {
        /// What to do.
        operation: SeccompOperation,
        /// Flags of the call.
        flags: SeccompFlags,
        /// Instructions of the filter; null in strict mode.
        instructions: User<Id>,
    }
}
