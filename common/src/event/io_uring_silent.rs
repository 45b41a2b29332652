use super::record;
use crate::{
    names::UringOperation,
    wire::{Addr, Id, Text},
};

record! {
    /// An operation of io_uring(7) was asked for that shall say nothing when it succeeds (`IOSQE_CQE_SKIP_SUCCESS`), so
    /// that nobody hears of its result. When it fails, there is a record of its own kind, too.
    "io_uring_silent" => IoUringSilent {
        /// What is to be done.
        operation: UringOperation,
        /// The descriptor or directory that it is about, or the index of a registered file.
        descriptor: Id,
        /// The name that was given, in the kernel's own copy.
        name: Text,
        /// The second name: of a rename or link the new one, of a symbolic link its content.
        target: Text,
        /// The address that was given.
        address: Addr,
    }
}
