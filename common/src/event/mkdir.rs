use super::record;
use crate::wire::{Mode, Path};

record! {
    /// A directory was made (mkdir(2), mkdirat(2)).
    "mkdir" => Mkdir {
        /// The directory.
        path: Path,
        /// The permissions asked for, before the umask.
        mode: Mode,
    }
}
