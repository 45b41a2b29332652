use super::record;
use crate::{names::CallName, wire::Id};

record! {
    /// The credentials of a thread changed, and no system call that does so was seen: something in the kernel did it. Made by
    /// the agent, from two events of the thread.
    "cred_change" => CredChange {
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
        /// Inode of the user namespace before.
        old_user_ns: u32,
        /// The system call of the event before; null when it was none.
        last_call: CallName,
    }
}
