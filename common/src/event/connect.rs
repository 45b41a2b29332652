use super::record;
use crate::{names::{Protocol, SocketType}, wire::Addr};

record! {
    /// A socket was connected to a peer (connect(2)).
    "connect" => Connect {
        /// The peer.
        peer: Addr,
        /// Our end; null when it has none.
        local: Addr,
        /// Protocol of the socket.
        protocol: Protocol,
        /// Type of the socket.
        socket: SocketType,
    }
}
