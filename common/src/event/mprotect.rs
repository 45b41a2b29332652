use super::record;
use crate::{names::{MapFlags, Protection}, wire::Wide};

record! {
    /// Memory was made executable: by mprotect(2), or new memory without a file or that is also writable (mmap(2)).
    "mprotect" => Mprotect {
        /// The address.
        address: Wide,
        /// Bytes.
        length: Wide,
        /// What may be done with the memory.
        protection: Protection,
        /// Flags of mmap(2).
        flags: MapFlags,
    }
}
