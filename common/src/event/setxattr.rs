use super::record;
use crate::{names::XattrFlags, wire::{Device, Inode, Path, Text}};

record! {
    /// An extended attribute of a file was set (setxattr(2), lsetxattr(2), fsetxattr(2), setxattrat(2)): labels,
    /// capabilities and access control lists are such.
    "setxattr" => Setxattr {
        /// Bytes of the value.
        size: i64,
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// Name of the attribute, as `security.capability`.
        name: Text,
        /// Flags of the call.
        flags: XattrFlags,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
