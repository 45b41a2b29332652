//! What a security hook leaves for the end of the same system call. It never leaves the kernel.

use crate::wire::{Device, Inode, Path, record};

record! {
    /// The objects of a call, as the kernel resolved them.
    "noted" => Noted {
        /// Inode of the object; null when it was only about to be made.
        inode: Inode,
        /// The object.
        path: Path,
        /// The second object of a call that has two.
        target: Path,
        /// Device of the object.
        dev: Device,
        /// The [`crate::Call`] that asked; 0 when its end has taken the note.
        call: u32,
    }
}
