use super::record;
use crate::wire::{Bool, Id};

record! {
    /// A process got access to the ports of devices (iopl(2), ioperm(2)).
    "ioport" => Ioport {
        /// Level of iopl(2); null with ioperm(2).
        level: Id,
        /// The first port (ioperm(2)).
        first_port: Id,
        /// Number of ports.
        ports: Id,
        /// The ports are open from now on, or closed.
        opened: Bool,
    }
}
