use super::record;
use crate::wire::{Device, Inode, Mode, Path};

record! {
    /// Permissions of a file were changed (chmod(2), fchmod(2), fchmodat(2), fchmodat2(2)).
    "chmod" => Chmod {
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// The new permissions.
        mode: Mode,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
        /// Permissions after the call as the kernel has them; null when the call names the file by path.
        result_mode: Mode,
    }
}
