use super::record;
use crate::wire::{Bool, Device, Id, Inode, Mode, Path, Text, TextList};

record! {
    /// A process started a program, or failed to (execve(2), execveat(2)).
    "exec" => Exec {
        /// Inode of the program.
        inode: Inode,
        /// The program that runs, as the kernel resolved it: for a script its interpreter. After a failure: what
        /// the caller asked for.
        path: Path,
        /// The arguments, empty ones kept.
        argv: TextList,
        /// Number of arguments that were passed; more than `argv` holds when that is truncated. Null when unknown.
        argc: Id,
        /// Bytes of all arguments that were passed, their NULs counted. Null when unknown.
        argv_len: Id,
        /// The variables of its environment that `kernel.environment` names, each as `NAME=value`; null when it has none
        /// of them.
        env: TextList,
        /// Working directory.
        cwd: Path,
        /// The script, when the program is its interpreter.
        script: Path,
        /// The interpreter as the first line of the script names it.
        interpreter: Text,
        /// Inode of the script: of the file that was executed, whatever its name leads to now. Null when more than 64 files
        /// were closed by the exec.
        script_inode: Inode,
        /// Device of the script.
        script_dev: Device,
        /// Device of the program.
        dev: Device,
        /// Type and permissions of the program.
        mode: Mode,
        /// The program has no name any more.
        deleted: Bool,
        /// The program lives in memory only (memfd_create(2)).
        memfd: Bool,
        /// The program is a file of an overlay file system that was made or changed since that was mounted: in a
        /// container, one that does not come from its image.
        upper_layer: Bool,
        /// Real user id before.
        old_uid: Id,
        /// Real group id before.
        old_gid: Id,
        /// Saved set-user-id before.
        old_suid: Id,
        /// Saved set-group-id before.
        old_sgid: Id,
        /// Effective user id before.
        old_euid: Id,
        /// Effective group id before.
        old_egid: Id,
        /// User id for file access before.
        old_fsuid: Id,
        /// Group id for file access before.
        old_fsgid: Id,
    }
}
