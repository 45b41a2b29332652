use super::record;
use crate::{names::{Protocol, SocketType}, wire::Addr};

record! {
    /// A datagram was sent (sendto(2), sendmsg(2), the first message of sendmmsg(2), on internet sockets other than
    /// TCP).
    "send" => Send {
        /// The destination.
        peer: Addr,
        /// Our end.
        local: Addr,
        /// Protocol of the socket.
        protocol: Protocol,
        /// Type of the socket.
        socket: SocketType,
    }
}
