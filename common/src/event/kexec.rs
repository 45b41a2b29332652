use super::record;
use crate::{names::{KexecFileFlags, KexecFlags}, wire::{Path, Text}};

record! {
    /// Another kernel was put in place for the next start (kexec_load(2), kexec_file_load(2)).
    "kexec" => Kexec {
        /// The kernel; null with kexec_load(2), which takes it from memory.
        path: Path,
        /// Command line of the kernel.
        cmdline: Text,
        /// Flags of kexec_load(2).
        flags: KexecFlags,
        /// Flags of kexec_file_load(2).
        file_flags: KexecFileFlags,
    }
}
