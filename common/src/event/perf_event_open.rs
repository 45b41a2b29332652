use super::record;
use crate::{names::{PerfFlags, PerfType}, wire::{User, Wide}};

record! {
    /// A performance event was opened (perf_event_open(2)).
    "perf_event_open" => PerfEventOpen {
        /// What is measured within the type.
        config: User<Wide>,
        /// Type of the event.
        event_type: User<PerfType>,
        /// Process that is measured; 0 is the caller, -1 is everyone.
        target_pid: i32,
        /// CPU that is measured; -1 is any.
        target_cpu: i32,
        /// Flags of the call.
        flags: PerfFlags,
    }
}
