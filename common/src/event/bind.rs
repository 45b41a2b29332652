use super::record;
use crate::{names::{Protocol, SocketType}, wire::Addr};

record! {
    /// A socket got an address (bind(2)).
    "bind" => Bind {
        /// The address.
        local: Addr,
        /// Protocol of the socket.
        protocol: Protocol,
        /// Type of the socket.
        socket: SocketType,
    }
}
