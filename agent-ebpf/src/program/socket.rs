//! connect; bind; listen; accept, accept4.

use common::{
    Kind,
    event::{Accept, Bind, Connect, Listen},
    names::{Protocol, SocketType},
    wire::Addr,
};

use crate::{
    draft::CallDraft,
    kernel::Memory,
    program::{on_return, sys_exit::Return},
    socket::{Given, Sock, given},
};

/// `EINPROGRESS` (errno(3)): the peer is set, the answer comes later.
const EINPROGRESS: i64 = 115;

#[inline(always)]
fn connect<M: Memory>(it: &Return) {
    if !it.pass(Kind::Connect) {
        return;
    }
    it.send::<M, Connect>(Kind::Connect, |draft, it| {
        let asked = it.socket_arguments();
        let sock = Sock::of::<M>(it.task, asked.at[0] as u32);
        fill_connect::<M>(draft, sock, it.ret, Given::by_user(asked.at[1], asked.at[2]));
        asked.mark(&mut draft.body.local);
        asked.mark(&mut draft.body.peer);
    });
}
on_return!(connect_fast, connect_base, connect_perf, connect);

/// What is known of a connection that was asked for.
#[inline(always)]
pub fn fill_connect<M: Memory>(draft: &mut CallDraft<Connect>, sock: Option<Sock>, ret: i64, asked: Given) {
    let (protocol, kind) = described(sock);
    draft.body.protocol = protocol;
    draft.body.socket = kind;
    draft.body.local = Addr::default();
    draft.body.peer = Addr::default();
    if let Some(sock) = sock {
        draft.body.local = sock.local::<M, _, _>(draft);
        if ret == 0 || ret == -EINPROGRESS {
            draft.body.peer = sock.peer::<M, _, _>(draft);
        }
    }
    if draft.body.peer.family == 0 {
        // after a failure the kernel keeps no peer
        draft.body.peer = given(draft, asked);
    }
}

#[inline(always)]
fn bind<M: Memory>(it: &Return) {
    if !it.pass(Kind::Bind) {
        return;
    }
    it.send::<M, Bind>(Kind::Bind, |draft, it| {
        let asked = it.socket_arguments();
        let sock = Sock::of::<M>(it.task, asked.at[0] as u32);
        fill_bind::<M>(draft, sock, it.ret, Given::by_user(asked.at[1], asked.at[2]));
        asked.mark(&mut draft.body.local);
    });
}
on_return!(bind_fast, bind_base, bind_perf, bind);

/// What is known of an address that was asked for.
#[inline(always)]
pub fn fill_bind<M: Memory>(draft: &mut CallDraft<Bind>, sock: Option<Sock>, ret: i64, asked: Given) {
    let (protocol, kind) = described(sock);
    draft.body.protocol = protocol;
    draft.body.socket = kind;
    draft.body.local = Addr::default();
    match sock {
        Some(sock) if ret == 0 => draft.body.local = sock.local::<M, _, _>(draft),
        _ => draft.body.local = given(draft, asked),
    }
}

#[inline(always)]
fn listen<M: Memory>(it: &Return) {
    if !it.pass(Kind::Listen) {
        return;
    }
    it.send::<M, Listen>(Kind::Listen, |draft, it| {
        let asked = it.socket_arguments();
        fill_listen::<M>(draft, Sock::of::<M>(it.task, asked.at[0] as u32), asked.at[1] as u32);
        asked.mark(&mut draft.body.local);
    });
}
on_return!(listen_fast, listen_base, listen_perf, listen);

/// What is known of a socket that waits.
#[inline(always)]
pub fn fill_listen<M: Memory>(draft: &mut CallDraft<Listen>, sock: Option<Sock>, backlog: u32) {
    let (protocol, kind) = described(sock);
    draft.body.protocol = protocol;
    draft.body.socket = kind;
    draft.body.backlog = backlog;
    draft.body.local = Addr::default();
    if let Some(sock) = sock {
        draft.body.local = sock.local::<M, _, _>(draft);
    }
}

#[inline(always)]
fn accept<M: Memory>(it: &Return) {
    if !it.pass(Kind::Accept) {
        return;
    }
    it.send::<M, Accept>(Kind::Accept, |draft, it| {
        // after a failure there is only the listening socket
        let asked = it.socket_arguments();
        let descriptor = if it.is_error() { asked.at[0] } else { it.ret as u64 };
        fill_accept::<M>(draft, Sock::of::<M>(it.task, descriptor as u32), !it.is_error());
        if it.is_error() {
            asked.mark(&mut draft.body.local);
        }
    });
}
on_return!(accept_fast, accept_base, accept_perf, accept);

/// What is known of a connection that came: by its socket, or by the one that waits for it.
#[inline(always)]
pub fn fill_accept<M: Memory>(draft: &mut CallDraft<Accept>, sock: Option<Sock>, is_connection: bool) {
    let (protocol, kind) = described(sock);
    draft.body.protocol = protocol;
    draft.body.socket = kind;
    draft.body.local = Addr::default();
    draft.body.peer = Addr::default();
    if let Some(sock) = sock {
        draft.body.local = sock.local::<M, _, _>(draft);
        if is_connection {
            draft.body.peer = sock.peer::<M, _, _>(draft);
        }
    }
}

#[inline(always)]
fn described(sock: Option<Sock>) -> (Protocol, SocketType) {
    match sock {
        Some(sock) => (sock.protocol, sock.kind),
        None => (Protocol::default(), SocketType::default()),
    }
}
