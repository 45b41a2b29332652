//! sendto, sendmsg, sendmmsg: datagrams on internet sockets, and what they ask of name servers.

use common::{
    Call, Kind,
    event::{Dns, Send},
    filter::class,
    wire::{
        Text,
        dns::{MessageId, QuestionName, QuestionType},
        mark,
    },
};

use crate::{
    draft::{CallDraft, TEXT, kernel_read},
    filter,
    kernel::{self, Memory, clamp, copy_user},
    program::{on_socket_return, sys_exit::Return},
    socket::{Given, Sock, given},
};

/// `SOCK_STREAM`, `SOCK_DGRAM` (socket(2)).
const STREAM: u32 = 1;
const DGRAM: u32 = 2;
/// The port of name servers.
const DOMAIN: u16 = 53;
/// Bytes of a message that are copied: a question is at the front, and the name of one has at most 255 bytes.
const MESSAGE: i32 = 512;

/// Whether it carries datagrams: streams have told their peer at connect or accept.
#[inline(always)]
pub fn is_datagram(sock: Sock) -> bool {
    sock.is_internet() && sock.kind.0 != STREAM
}

/// Where a message and its destination lie in the caller's memory.
struct Message {
    to: u64,
    to_len: u64,
    bytes: u64,
    len: u64,
}

impl Message {
    #[inline(always)]
    fn of(it: &Return) -> Message {
        if it.is(Call::Sendto) {
            return Message { bytes: it.arg::<1>(), len: it.arg::<2>(), to: it.arg::<4>(), to_len: it.arg::<5>() };
        }
        // struct mmsghdr starts with its msghdr
        if it.is_compat() {
            // struct compat_msghdr { compat_uptr_t msg_name; compat_int_t msg_namelen; compat_uptr_t msg_iov; ... }
            let header = kernel::read_user::<[u32; 3]>(it.arg::<1>()).unwrap_or_default();
            let part = kernel::read_user::<[u32; 2]>(header[2].into()).unwrap_or_default();
            Message { to: header[0].into(), to_len: header[1].into(), bytes: part[0].into(), len: part[1].into() }
        } else {
            // struct user_msghdr { void *msg_name; int msg_namelen; struct iovec *msg_iov; ... }
            let header = kernel::read_user::<[u64; 3]>(it.arg::<1>()).unwrap_or_default();
            let part = kernel::read_user::<[u64; 2]>(header[2]).unwrap_or_default();
            Message { to: header[0], to_len: header[1] & 0xffff_ffff, bytes: part[0], len: part[1] }
        }
    }

    #[inline(always)]
    fn given(&self) -> Given {
        Given::by_user(self.to, if self.to == 0 { 0 } else { self.to_len })
    }
}

#[inline(always)]
fn send<M: Memory>(it: &Return) {
    let Some(sock) = Sock::of::<M>(it.task, it.arg::<0>() as u32) else { return };
    if !is_datagram(sock) {
        return;
    }
    let message = Message::of(it);
    if filter::is_wanted(Kind::Dns as u32, class::ALL) && sock.kind.0 == DGRAM && port::<M>(sock, &message) == DOMAIN {
        question::<M>(it, sock, &message);
    }
    if it.pass(Kind::Send) {
        it.send::<M, Send>(Kind::Send, |draft, _| fill_send::<M>(draft, sock, message.given()));
    }
}
on_socket_return!(send_fast, send_base, send_perf, send);

/// What is known of a datagram.
#[inline(always)]
pub fn fill_send<M: Memory>(draft: &mut CallDraft<Send>, sock: Sock, to: Given) {
    draft.body.protocol = sock.protocol;
    draft.body.socket = sock.kind;
    draft.body.local = sock.local::<M, _, _>(draft);
    draft.body.peer = if to.is_empty() { sock.peer::<M, _, _>(draft) } else { given(draft, to) };
}

/// The port that a message goes to.
#[inline(always)]
fn port<M: Memory>(sock: Sock, message: &Message) -> u16 {
    if message.to == 0 {
        return sock.peer_port::<M>();
    }
    // struct sockaddr_in and sockaddr_in6 { u16 family; be16 port; ... }
    u16::from_be(kernel::read_user::<u16>(message.to.wrapping_add(2)).unwrap_or(0))
}

#[inline(always)]
fn question<M: Memory>(it: &Return, sock: Sock, message: &Message) {
    if !it.pass(Kind::Dns) {
        return;
    }
    it.send::<M, Dns>(Kind::Dns, |draft, _| {
        draft.body.peer = if message.to == 0 { sock.peer::<M, _, _>(draft) } else { given(draft, message.given()) };
        let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
        let len = clamp::<MESSAGE>(message.len);
        // SAFETY: a message is shorter than the room behind the last text.
        let copied = unsafe { copy_user((&raw mut draft.tail).cast::<u8>().add(start as usize), len, message.bytes) };
        let text = if copied {
            draft.used = start + len;
            Text { start: start as u32, len: len as u32, marks: mark::USER }
        } else {
            Text { marks: mark::USER | mark::ABSENT, ..Text::default() }
        };
        draft.body.name = QuestionName(text);
        draft.body.qtype = QuestionType(text);
        draft.body.id = MessageId(text);
    });
}
