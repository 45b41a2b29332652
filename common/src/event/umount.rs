use super::record;
use crate::{names::UmountFlags, wire::Path};

record! {
    /// A file system was unmounted (umount(2), umount2(2)).
    "umount" => Umount {
        /// Where it was mounted.
        path: Path,
        /// Flags of the call.
        flags: UmountFlags,
    }
}
