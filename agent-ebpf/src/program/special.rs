//! socket: all but those for streams and datagrams, which are told by what is done with them.

use common::{
    Kind,
    event::Socket,
    names::{Family, Protocol, SocketType},
    wire::family,
};

use crate::{
    draft::CallDraft,
    kernel::Memory,
    program::{on_return, sys_exit::Return},
    socket::{Sock, is_internet},
};

/// The bits of a socket's type that are no flags (`SOCK_TYPE_MASK` in `include/linux/net.h`).
const TYPE: u32 = 0xf;
/// `SOCK_STREAM`, `SOCK_DGRAM` (socket(2)).
const STREAM: u32 = 1;
const DGRAM: u32 = 2;

/// The arguments of socket(2).
pub struct Asked {
    pub family: u32,
    pub kind: u32,
    pub protocol: u32,
}

impl Asked {
    /// Whether it is neither a local socket nor one for streams or datagrams of the internet.
    #[inline(always)]
    pub fn is_special(&self) -> bool {
        let kind = self.kind & TYPE;
        let is_plain = is_internet(self.family as u16) && (kind == STREAM || kind == DGRAM);
        !is_plain && self.family != u32::from(family::UNIX)
    }
}

#[inline(always)]
fn socket<M: Memory>(it: &Return) {
    let arguments = it.socket_arguments();
    let [family, kind, protocol, ..] = arguments.at;
    let mut asked = Asked { family: family as u32, kind: kind as u32, protocol: protocol as u32 };
    // arguments in memory may have changed meanwhile: the socket says what it is
    if it.is_socketcall()
        && !it.is_error()
        && let Some(sock) = Sock::of::<M>(it.task, it.ret as u32)
    {
        asked.family = sock.family();
        asked.kind = sock.kind.0;
        if sock.is_internet() {
            asked.protocol = sock.protocol.0;
        }
    }
    if asked.is_special() && it.pass(Kind::Socket) {
        it.send::<M, Socket>(Kind::Socket, |draft, _| fill_socket(draft, &asked));
    }
}
on_return!(socket_fast, socket_base, socket_perf, socket);

/// What is known of a socket that was asked for.
#[inline(always)]
pub fn fill_socket(draft: &mut CallDraft<Socket>, asked: &Asked) {
    draft.body.family = Family(asked.family);
    draft.body.socket = SocketType(asked.kind & TYPE);
    draft.body.protocol = Protocol(if is_internet(asked.family as u16) { asked.protocol } else { 0 });
    draft.body.protocol_number = asked.protocol;
}
