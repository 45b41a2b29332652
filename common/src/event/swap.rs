use super::record;
use crate::{names::SwapFlags, wire::{Id, Path}};

record! {
    /// Swapping to a file or device was begun or ended (swapon(2), swapoff(2)).
    "swap" => Swap {
        /// The file or device.
        path: Path,
        /// Flags of swapon(2).
        flags: SwapFlags,
        /// The priority that swapon(2) asks for; null when it asks for none.
        priority: Id,
    }
}
