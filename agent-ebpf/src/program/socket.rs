//! connect; bind; listen; accept, accept4.

use common::{
    Kind,
    event::{Accept, Bind, Connect, Listen},
    names::{Protocol, SocketType},
    wire::Addr,
};

use crate::{
    kernel::Memory,
    program::{on_return, sys_exit::Return},
    socket::{Sock, given},
};

/// `EINPROGRESS` (errno(3)): the peer is set, the answer comes later.
const EINPROGRESS: i64 = 115;

#[inline(always)]
fn connect<M: Memory>(it: &Return) {
    if !it.pass(Kind::Connect) {
        return;
    }
    it.send::<M, Connect>(Kind::Connect, |draft, it| {
        let sock = Sock::of::<M>(it.task, it.arg::<0>() as u32);
        let (protocol, kind) = described(sock);
        draft.body.protocol = protocol;
        draft.body.socket = kind;
        draft.body.local = Addr::default();
        draft.body.peer = Addr::default();
        if let Some(sock) = sock {
            draft.body.local = sock.local::<M, _, _>(draft);
            if it.ret == 0 || it.ret == -EINPROGRESS {
                draft.body.peer = sock.peer::<M, _, _>(draft);
            }
        }
        if draft.body.peer.family == 0 {
            // after a failure the kernel keeps no peer
            draft.body.peer = given(draft, it.arg::<1>(), it.arg::<2>());
        }
    });
}
on_return!(connect_fast, connect_base, connect_perf, connect);

#[inline(always)]
fn bind<M: Memory>(it: &Return) {
    if !it.pass(Kind::Bind) {
        return;
    }
    it.send::<M, Bind>(Kind::Bind, |draft, it| {
        let sock = Sock::of::<M>(it.task, it.arg::<0>() as u32);
        let (protocol, kind) = described(sock);
        draft.body.protocol = protocol;
        draft.body.socket = kind;
        draft.body.local = Addr::default();
        match sock {
            Some(sock) if it.ret == 0 => draft.body.local = sock.local::<M, _, _>(draft),
            _ => draft.body.local = given(draft, it.arg::<1>(), it.arg::<2>()),
        }
    });
}
on_return!(bind_fast, bind_base, bind_perf, bind);

#[inline(always)]
fn listen<M: Memory>(it: &Return) {
    if !it.pass(Kind::Listen) {
        return;
    }
    it.send::<M, Listen>(Kind::Listen, |draft, it| {
        let sock = Sock::of::<M>(it.task, it.arg::<0>() as u32);
        let (protocol, kind) = described(sock);
        draft.body.protocol = protocol;
        draft.body.socket = kind;
        draft.body.backlog = it.arg::<1>() as u32;
        draft.body.local = Addr::default();
        if let Some(sock) = sock {
            draft.body.local = sock.local::<M, _, _>(draft);
        }
    });
}
on_return!(listen_fast, listen_base, listen_perf, listen);

#[inline(always)]
fn accept<M: Memory>(it: &Return) {
    if !it.pass(Kind::Accept) {
        return;
    }
    it.send::<M, Accept>(Kind::Accept, |draft, it| {
        // after a failure there is only the listening socket
        let descriptor = if it.is_error() { it.arg::<0>() } else { it.ret as u64 };
        let sock = Sock::of::<M>(it.task, descriptor as u32);
        let (protocol, kind) = described(sock);
        draft.body.protocol = protocol;
        draft.body.socket = kind;
        draft.body.local = Addr::default();
        draft.body.peer = Addr::default();
        if let Some(sock) = sock {
            draft.body.local = sock.local::<M, _, _>(draft);
            if !it.is_error() {
                draft.body.peer = sock.peer::<M, _, _>(draft);
            }
        }
    });
}
on_return!(accept_fast, accept_base, accept_perf, accept);

#[inline(always)]
fn described(sock: Option<Sock>) -> (Protocol, SocketType) {
    match sock {
        Some(sock) => (sock.protocol, sock.kind),
        None => (Protocol::default(), SocketType::default()),
    }
}
