//! Operations on sockets.

use common::{
    Kind,
    event::{Accept, Bind, Connect, Listen, Send, Socket},
};

use super::{Operation, on_operation};
use crate::{
    filter,
    kernel::Memory,
    program::{
        send::{fill_send, is_datagram},
        socket::{fill_accept, fill_bind, fill_connect, fill_listen},
        special::{Asked, fill_socket},
    },
    socket::Sock,
};

#[inline(always)]
fn connect<M: Memory>(it: &Operation) {
    it.send::<M, Connect>(Kind::Connect, filter::class_of(it.ret), |draft, it| {
        fill_connect::<M>(draft, Sock::of_file::<M>(it.file::<M>()), it.ret, it.given());
    });
}
on_operation!(uring_connect_fast, uring_connect_base, uring_connect_perf, connect);

#[inline(always)]
fn bind<M: Memory>(it: &Operation) {
    it.send::<M, Bind>(Kind::Bind, filter::class_of(it.ret), |draft, it| {
        fill_bind::<M>(draft, Sock::of_file::<M>(it.file::<M>()), it.ret, it.given());
    });
}
on_operation!(uring_bind_fast, uring_bind_base, uring_bind_perf, bind);

#[inline(always)]
fn listen<M: Memory>(it: &Operation) {
    it.send::<M, Listen>(Kind::Listen, filter::class_of(it.ret), |draft, it| {
        fill_listen::<M>(draft, Sock::of_file::<M>(it.file::<M>()), it.number::<0>());
    });
}
on_operation!(uring_listen_fast, uring_listen_base, uring_listen_perf, listen);

#[inline(always)]
fn accept<M: Memory>(it: &Operation) {
    it.send::<M, Accept>(Kind::Accept, filter::class_of(it.ret), |draft, it| {
        // a connection in a slot of the ring has no descriptor: there is only the listening socket
        let has_descriptor = !it.is_error() && it.number::<0>() == 0;
        let sock =
            if has_descriptor { Sock::of::<M>(it.task, it.ret as u32) } else { Sock::of_file::<M>(it.file::<M>()) };
        fill_accept::<M>(draft, sock, has_descriptor);
    });
}
on_operation!(uring_accept_fast, uring_accept_base, uring_accept_perf, accept);

#[inline(always)]
fn send<M: Memory>(it: &Operation) {
    let Some(sock) = Sock::of_file::<M>(it.file::<M>()) else { return };
    if is_datagram(sock) {
        it.send::<M, Send>(Kind::Send, filter::class_of(it.ret), |draft, it| fill_send::<M>(draft, sock, it.given()));
    }
}
on_operation!(uring_send_fast, uring_send_base, uring_send_perf, send);

#[inline(always)]
fn socket<M: Memory>(it: &Operation) {
    let asked = Asked { family: it.number::<0>(), kind: it.number::<1>(), protocol: it.number::<2>() };
    if asked.is_special() {
        it.send::<M, Socket>(Kind::Socket, filter::class_of(it.ret), |draft, _| fill_socket(draft, &asked));
    }
}
on_operation!(uring_socket_fast, uring_socket_base, uring_socket_perf, socket);
