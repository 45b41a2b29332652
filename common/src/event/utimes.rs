use super::record;
use crate::{names::Times, wire::{Device, Inode, Moment, Path}};

record! {
    /// Times of a file were set (utime(2), utimes(2), futimesat(2), utimensat(2)).
    "utimes" => Utimes {
        /// Inode of the file; null when the call names the file by path.
        inode: Inode,
        /// The file.
        path: Path,
        /// Which times the call changes.
        times: Times,
        /// Time of the last access asked for, in nanoseconds since 1970; null is the time of the call.
        atime: Moment,
        /// Time of the last change asked for, in nanoseconds since 1970; null is the time of the call.
        mtime: Moment,
        /// Device of the file; null when the call names the file by path.
        dev: Device,
    }
}
