use super::record;
use crate::{names::{Signal, Touched}, wire::Id};

record! {
    /// A signal was sent to another process (kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2),
    /// pidfd_send_signal(2)). Signal 0, which sends none, and signals to the own process make no event.
    "kill" => Kill {
        /// The receiver, in the pid namespace of the caller (with pidfd_send_signal(2) in the initial one). As kill(2) has it: 0
        /// is the own group, -1 is everyone, other negative numbers are groups. 0 with tkill(2), which names a thread alone.
        target_pid: i32,
        /// Thread that the call names; null when it names none.
        target_tid: Id,
        /// The signal.
        signal: Signal,
        /// `process` when the call names the agent, or a group or all processes with it among them; null otherwise.
        touches: Touched,
    }
}
