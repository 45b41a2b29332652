use super::record;
use crate::{names::IoUringFlags, wire::User};

record! {
    /// A process made a queue for operations that no system call shows (io_uring_setup(2)).
    "io_uring" => IoUring {
        /// Entries of the queue.
        entries: u32,
        /// Flags of the queue.
        flags: User<IoUringFlags>,
    }
}
