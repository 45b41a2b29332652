use super::record;
use crate::wire::{Device, Id, Inode, Path};

record! {
    /// Owner or group of a file was changed (chown(2), lchown(2), fchown(2), fchownat(2)).
    "chown" => Chown {
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// The new owner; null when it stays.
        new_owner: Id,
        /// The new group; null when it stays.
        new_group: Id,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
