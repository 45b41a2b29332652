use super::record;
use crate::{names::{Protocol, SocketType}, wire::Addr};

record! {
    /// A socket waits for connections (listen(2)).
    "listen" => Listen {
        /// The address.
        local: Addr,
        /// Protocol of the socket.
        protocol: Protocol,
        /// Type of the socket.
        socket: SocketType,
        /// Connections that may wait, as the caller asked for.
        backlog: u32,
    }
}
