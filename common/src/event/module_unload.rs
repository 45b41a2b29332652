use super::record;
use crate::{names::UnloadFlags, wire::Text};

record! {
    /// A module was removed from the kernel (delete_module(2)).
    "module_unload" => ModuleUnload {
        /// The module.
        module: Text,
        /// Flags of the call.
        flags: UnloadFlags,
    }
}
