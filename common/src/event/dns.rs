use super::record;
use crate::wire::{Addr, Dns as Message, Id, User};

record! {
    /// A datagram was sent to port 53 of UDP, where name servers listen (sendto(2), sendmsg(2), each message of
    /// sendmmsg(2)). Questions over TCP, by write(2), by io_uring(7) or within TLS make no event of this kind.
    "dns" => Dns {
        /// What was asked, in the caller's memory when the call returned. Null when the datagram is no query with one
        /// question (RFC 1035 section 4): an answer, an update, something else.
        question: Message,
        /// The name server.
        peer: Addr,
        /// Our end.
        local: Addr,
        /// Bytes of the datagram.
        length: User<Id>,
        /// User id that made the socket.
        socket_uid: Id,
        /// Messages of sendmmsg(2) that were sent behind this one and make no event: those behind the sixteenth. Null when
        /// there are none.
        untold: Id,
    }
}
