use super::record;
use crate::names::UserfaultfdFlags;

record! {
    /// A process handles page faults itself (userfaultfd(2)).
    "userfaultfd" => Userfaultfd {
        /// Flags of the call.
        flags: UserfaultfdFlags,
    }
}
