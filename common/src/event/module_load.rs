use super::record;
use crate::{names::ModuleFlags, wire::{Id, Path, Text}};

record! {
    /// A module was loaded into the kernel (init_module(2), finit_module(2)).
    "module_load" => ModuleLoad {
        /// The file; null with init_module(2), which takes it from memory.
        path: Path,
        /// Parameters of the module.
        args: Text,
        /// Flags of finit_module(2).
        flags: ModuleFlags,
        /// Bytes of the image (init_module(2)).
        size: Id,
    }
}
