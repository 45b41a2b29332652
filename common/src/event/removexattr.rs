use super::record;
use crate::wire::{Device, Inode, Path, Text};

record! {
    /// An extended attribute of a file was removed (removexattr(2), lremovexattr(2), fremovexattr(2), removexattrat(2)).
    "removexattr" => Removexattr {
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// Name of the attribute.
        name: Text,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
