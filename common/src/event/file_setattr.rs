use super::record;
use crate::{names::{InodeFlags, XFlags}, wire::{Device, Inode, Path}};

record! {
    /// Attributes of a file as chattr(1) shows them were set (file_setattr(2); ioctl(2) with `FS_IOC_SETFLAGS` or
    /// `FS_IOC_FSSETXATTR`).
    "file_setattr" => FileSetattr {
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// The attributes from now on (file_setattr(2), `FS_IOC_FSSETXATTR`).
        xflags: XFlags,
        /// The attributes from now on (`FS_IOC_SETFLAGS`).
        flags: InodeFlags,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
