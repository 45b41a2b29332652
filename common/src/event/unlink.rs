use super::record;
use crate::wire::Path;

record! {
    /// A name of a file was removed (unlink(2), unlinkat(2)).
    "unlink" => Unlink {
        /// The name.
        path: Path,
    }
}
