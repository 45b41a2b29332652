//! sendto, sendmsg, sendmmsg: datagrams on internet sockets.

use common::{Call, Kind, event::Send};

use crate::{
    draft::CallDraft,
    kernel::{self, Memory},
    program::{
        dns, on_return,
        sys_exit::{Return, SocketArguments},
    },
    socket::{Given, Sock, given},
};

/// `SOCK_STREAM` (socket(2)).
const STREAM: u32 = 1;

/// Whether it carries datagrams: streams have told their peer at connect or accept.
#[inline(always)]
pub fn is_datagram(sock: Sock) -> bool {
    sock.is_internet() && sock.kind.0 != STREAM
}

#[inline(always)]
fn send<M: Memory>(it: &Return) {
    let asked = it.socket_arguments();
    let Some(sock) = Sock::of::<M>(it.task, asked.at[0] as u32) else { return };
    if !is_datagram(sock) {
        return;
    }
    dns::look::<M>(it, &asked, sock);
    tell::<M>(it, &asked, sock);
}
on_return!(send_fast, send_base, send_perf, send);

/// Tells of the datagram that a call sent, of sendmmsg(2) the first.
#[inline(always)]
pub fn tell<M: Memory>(it: &Return, asked: &SocketArguments, sock: Sock) {
    if !it.pass(Kind::Send) {
        return;
    }
    it.send::<M, Send>(Kind::Send, |draft, it| {
        let (at, len) = if it.is(Call::Sendto) {
            (asked.at[4], asked.at[5])
        } else if it.is_compat() {
            // struct compat_msghdr { compat_uptr_t msg_name; compat_int_t msg_namelen; ... }
            let name = kernel::read_user::<[u32; 2]>(asked.at[1]).unwrap_or_default();
            (u64::from(name[0]), u64::from(name[1]))
        } else {
            // also at the start of struct mmsghdr: struct user_msghdr { void *msg_name; int msg_namelen; ... }
            let name = kernel::read_user::<[u64; 2]>(asked.at[1]).unwrap_or_default();
            (name[0], name[1] & 0xffff_ffff)
        };
        fill_send::<M>(draft, sock, Given::by_user(at, len));
        asked.mark(&mut draft.body.local);
        asked.mark(&mut draft.body.peer);
    });
}

/// What is known of a datagram.
#[inline(always)]
pub fn fill_send<M: Memory>(draft: &mut CallDraft<Send>, sock: Sock, to: Given) {
    draft.body.protocol = sock.protocol;
    draft.body.socket = sock.kind;
    draft.body.local = sock.local::<M, _, _>(draft);
    draft.body.peer = if to.is_empty() { sock.peer::<M, _, _>(draft) } else { given(draft, to) };
}
