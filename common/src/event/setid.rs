use super::record;
use crate::wire::Id;

record! {
    /// A process changed its user or group ids (setuid(2), setgid(2), setreuid(2), setregid(2), setresuid(2), setresgid(2),
    /// setfsuid(2), setfsgid(2), setgroups(2)). The ids after the call are those that every record has.
    "setid" => Setid {
        /// What was asked for as the real id: of the user or of the group, as the call says; null when it stays.
        asked_real: Id,
        /// What was asked for as the effective id. A privileged setuid(2) or setgid(2) sets all of them.
        asked_effective: Id,
        /// What was asked for as the saved id.
        asked_saved: Id,
        /// What was asked for as the id for file access (setfsuid(2), setfsgid(2)).
        asked_fs: Id,
        /// Number of supplementary groups (setgroups(2)); null with other calls.
        groups: Id,
    }
}
