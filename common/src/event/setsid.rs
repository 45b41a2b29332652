use super::record;
use crate::wire::Id;

record! {
    /// A process began a session of its own, without a terminal (setsid(2)).
    "setsid" => Setsid {
        /// The new session, in the pid namespace of the caller; null after a failure.
        session: Id,
    }
}
