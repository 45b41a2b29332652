use super::record;
use crate::{names::RenameFlags, wire::Path};

record! {
    /// A file was renamed (rename(2), renameat(2), renameat2(2)).
    "rename" => Rename {
        /// The old name.
        path: Path,
        /// The new name.
        target: Path,
        /// Flags of the call.
        flags: RenameFlags,
    }
}
