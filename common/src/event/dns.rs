use super::record;
use crate::wire::{Addr, dns::{MessageId, QuestionName, QuestionType}};

record! {
    /// A question was sent to a name server: to port 53, by UDP (sendto(2), sendmsg(2), the first message of
    /// sendmmsg(2)). Questions over TCP, TLS and HTTPS are not seen.
    "dns" => Dns {
        /// The name server.
        peer: Addr,
        /// The name, as RFC 1035 writes names; null when the message is no question.
        name: QuestionName,
        /// The type of the records that are wanted.
        qtype: QuestionType,
        /// The number by which the caller knows the answer.
        id: MessageId,
    }
}
