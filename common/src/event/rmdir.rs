use super::record;
use crate::wire::Path;

record! {
    /// A directory was removed (rmdir(2), unlinkat(2) with `AT_REMOVEDIR`).
    "rmdir" => Rmdir {
        /// The directory.
        path: Path,
    }
}
