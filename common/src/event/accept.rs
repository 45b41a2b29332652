use super::record;
use crate::{names::{Protocol, SocketType}, wire::Addr};

record! {
    /// A connection was accepted (accept(2), accept4(2)).
    "accept" => Accept {
        /// The peer; null when it has no address.
        peer: Addr,
        /// Our end.
        local: Addr,
        /// Protocol of the socket.
        protocol: Protocol,
        /// Type of the socket.
        socket: SocketType,
    }
}
