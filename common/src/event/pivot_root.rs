use super::record;
use crate::wire::{Device, Inode, Path};

record! {
    /// The root of a mount namespace was changed (pivot_root(2)).
    "pivot_root" => PivotRoot {
        /// Inode of the root directory that the process has then; null after a failure.
        inode: Inode,
        /// The new root. After a success the name is seen from there.
        path: Path,
        /// Where the old root went.
        put_old: Path,
        /// Device of the root directory that the process has then; null after a failure.
        dev: Device,
    }
}
