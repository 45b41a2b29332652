use super::record;
use crate::wire::Path;

record! {
    /// A file got another name (link(2), linkat(2)).
    "link" => Link {
        /// The file.
        path: Path,
        /// The new name.
        target: Path,
    }
}
