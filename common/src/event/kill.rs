use super::record;
use crate::{names::{Signal, Touched}, wire::{Id, Name16, Path, Wide}};

record! {
    /// A signal was sent to another process (kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2),
    /// pidfd_send_signal(2)). Signal 0, which sends none, and signals to the own process make no event.
    "kill" => Kill {
        /// The receiver, in the pid namespace of the caller (with pidfd_send_signal(2) in the initial one). As kill(2) has it: 0
        /// is the own group, -1 is everyone, other negative numbers are groups. 0 with tkill(2), which names a thread alone.
        target_pid: i32,
        /// Thread that the call names; null when it names none.
        target_tid: Id,
        /// Process id of that process in the initial pid namespace. This and what follows is what the kernel has when the call
        /// returns; null when the call names no one process, or there is none.
        target_host_pid: Id,
        /// Its start in clock ticks since boot (field 22 of proc_pid_stat(5)): with `target_host_pid` the end of its
        /// `process.id`.
        target_start: Wide,
        /// Name of its first thread.
        target_comm: Name16,
        /// The program that it runs; null for a process that has ended but for its number.
        target_exe: Path,
        /// The signal.
        signal: Signal,
        /// `process` when the call names the agent, or a group or all processes with it among them; null otherwise.
        touches: Touched,
    }
}
