use super::record;
use crate::names::RebootCommand;

record! {
    /// The host was told to stop or start anew, or what Ctrl-Alt-Del does (reboot(2)).
    "reboot" => Reboot {
        /// What to do.
        command: RebootCommand,
    }
}
