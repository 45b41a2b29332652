use super::record;
use crate::names::{Family, Protocol, SocketType};

record! {
    /// A socket was made that is neither for streams or datagrams of the internet nor local: raw, packet, netlink,
    /// vsock, the kernel's cryptography and others (socket(2)).
    "socket" => Socket {
        /// Address family.
        family: Family,
        /// Type of the socket.
        socket: SocketType,
        /// Protocol of an internet socket; null for other families.
        protocol: Protocol,
        /// The protocol as the caller numbers it: what it means depends on the family.
        protocol_number: u32,
    }
}
