use super::record;
use crate::wire::{Device, Inode, Path};

record! {
    /// The length of a file was set (truncate(2), ftruncate(2)).
    "truncate" => Truncate {
        /// The new length, in bytes.
        length: i64,
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
