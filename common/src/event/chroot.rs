use super::record;
use crate::wire::{Device, Inode, Path};

record! {
    /// A process changed its root directory (chroot(2)).
    "chroot" => Chroot {
        /// Inode of the new root; null after a failure.
        inode: Inode,
        /// The new root, as the kernel resolved it. After a failure: what the caller asked for.
        path: Path,
        /// Device of the new root; null after a failure.
        dev: Device,
    }
}
