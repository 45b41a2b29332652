use super::record;
use crate::{names::Capabilities, wire::{Id, User}};

record! {
    /// A thread changed its capabilities (capset(2)). The sets are those that the kernel has after the call.
    "capset" => Capset {
        /// Capabilities in effect.
        effective: Capabilities,
        /// Capabilities that may be put into effect.
        permitted: Capabilities,
        /// Capabilities that may pass to another program.
        inheritable: Capabilities,
        /// Thread that the call names; 0 for the caller.
        target_tid: User<Id>,
    }
}
