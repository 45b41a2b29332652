use super::record;
use crate::wire::{Bool, Device, Inode, Path, Wide};

record! {
    /// A process that wrote to a regular file closed its last descriptor of that open file: by a call, an exec or its
    /// end. One event tells all that the process wrote by it, with calls and with io_uring(7). A file that only a ring
    /// holds is told at the end of the process.
    "modify" => Modify {
        /// Inode of the file.
        inode: Inode,
        /// The file, as it was named at the close.
        path: Path,
        /// Device of the file.
        dev: Device,
        /// Bytes that the process wrote by this open file. Space that was only reserved (fallocate(2)) is not counted.
        bytes: Wide,
        /// Length of the file at the close, in bytes.
        size: Wide,
        /// Nanoseconds from the first write to the close.
        duration: Wide,
        /// Calls that wrote, and operations of io_uring(7).
        writes: u32,
        /// The file has no name any more.
        deleted: Bool,
        /// Somebody else holds the open file: another process, a mapping, or a message on its way.
        still_open: Bool,
    }
}
