use super::record;
use crate::{names::SyslogAction, wire::Id};

record! {
    /// The kernel's log was cleared, or its console was switched (syslog(2)). Reads make no event when they succeed.
    "syslog" => Syslog {
        /// What to do.
        action: SyslogAction,
        /// The new level, of `SYSLOG_ACTION_CONSOLE_LEVEL`.
        level: Id,
    }
}
