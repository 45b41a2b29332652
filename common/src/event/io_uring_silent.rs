use super::record;
use crate::{
    names::UringOperation,
    wire::{Addr, Id, Path, Text},
};

record! {
    /// An operation of io_uring(7) was asked for that shall say nothing when it succeeds (`IOSQE_CQE_SKIP_SUCCESS`), so
    /// that nobody hears of its result. When it fails and the kernel says so after all, there is a record of its own kind, too.
    "io_uring_silent" => IoUringSilent {
        /// What is to be done.
        operation: UringOperation,
        /// The descriptor that it is about, or the number of a registered file.
        descriptor: Id,
        /// The name that was given, in the kernel's own copy, with the directory that it starts from.
        path: Path,
        /// The second name: of a rename or link the new one as it was given, of a symbolic link its content.
        target: Text,
        /// The address that was given.
        address: Addr,
    }
}
