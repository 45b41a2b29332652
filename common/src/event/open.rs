use super::record;
use crate::{names::{Access, OpenFlags}, wire::{Bool, Device, Inode, Mode, Path}};

record! {
    /// A file was opened, or could not be (open(2), openat(2), openat2(2), creat(2), open_by_handle_at(2)).
    "open" => Open {
        /// Inode of the file; null after a failure.
        inode: Inode,
        /// The file, as the kernel resolved it. After a failure: what the caller asked for; null when that was a handle.
        path: Path,
        /// Flags of the call.
        flags: OpenFlags,
        /// What the file may be used for: `read`, `write`, `read-write` or `path`.
        access: Access,
        /// Mode given for a file to be created; null when the call creates none.
        create_mode: Mode,
        /// Device of the file; null after a failure.
        dev: Device,
        /// Type and permissions of the file; null after a failure.
        mode: Mode,
        /// The call created the file.
        created: Bool,
        /// The file has no name (any more): deleted, or made with `O_TMPFILE`.
        deleted: Bool,
    }
}
