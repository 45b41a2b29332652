use super::record;
use crate::wire::{Path, Text};

record! {
    /// A symbolic link was made (symlink(2), symlinkat(2)).
    "symlink" => Symlink {
        /// The link.
        path: Path,
        /// What it says.
        content: Text,
    }
}
