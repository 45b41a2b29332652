use super::record;
use crate::wire::{Device, Mode, Path};

record! {
    /// A device file, a named pipe or another special file was made (mknod(2), mknodat(2)).
    "mknod" => Mknod {
        /// The file.
        path: Path,
        /// Its type and the permissions asked for, before the umask.
        mode: Mode,
        /// The device that the file stands for; null when it is none.
        device: Device,
    }
}
