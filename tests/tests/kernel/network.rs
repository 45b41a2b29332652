//! connect, bind, listen, accept, send.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{ffi::OsStrExt as _, net::UnixListener},
    path::Path,
};

use nix::libc::{self, AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM};
use serde_json::{Value, json};
use tests::vm::skip;

use crate::{
    FAMILIES,
    actor::{Arg, Stage, args},
};

/// `struct sockaddr_in` or `struct sockaddr_in6`.
pub fn raw(addr: SocketAddr) -> Vec<u8> {
    let port = addr.port().to_be_bytes();
    match addr {
        SocketAddr::V4(it) => [&2_u16.to_ne_bytes()[..], &port, &it.ip().octets(), &[0; 8]].concat(),
        SocketAddr::V6(it) => [&10_u16.to_ne_bytes()[..], &port, &[0; 4], &it.ip().octets(), &[0; 4]].concat(),
    }
}

fn raw_unix(name: &[u8]) -> Vec<u8> {
    [&1_u16.to_ne_bytes()[..], name].concat()
}

pub fn told(addr: SocketAddr) -> Value {
    let family = if addr.is_ipv4() { "inet" } else { "inet6" };
    json!({ "family": family, "ip": addr.ip().to_string(), "port": addr.port() })
}

pub fn with_len(addr: &[u8]) -> (Arg, Arg) {
    (Arg::from(addr), Arg::from(i64::try_from(addr.len()).unwrap()))
}

/// The local port of a socket of the actor, from its side: `/proc/PID/net/tcp` and the like.
pub fn local_port(it: &Stage, fd: i64, table: &str) -> u16 {
    let pid = it.actor.pid();
    let name = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
    let inode = name.to_str().unwrap().trim_start_matches("socket:[").trim_end_matches(']').to_owned();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(9) == Some(&&*inode)).unwrap();
    u16::from_str_radix(row[1].rsplit_once(':').unwrap().1, 16).unwrap()
}

pub fn socket(it: &mut Stage, family: i32, ty: i32) -> i64 {
    it.quiet(libc::SYS_socket, args![family, ty, 0])
}

fn any(v6: bool) -> SocketAddr {
    if v6 { "[::1]:0" } else { "127.0.0.1:0" }.parse().unwrap()
}

#[test]
fn tcp() {
    for (family, v6) in FAMILIES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut it = Stage::new(family);
        let (af, table) = if v6 { (AF_INET6, "tcp6") } else { (AF_INET, "tcp") };
        let fields =
            |kind: &str, call: &str| json!({ "kind": kind, "call": call, "protocol": "tcp", "socket": "stream" });
        let with = |kind: &str, call: &str, local: Value, more: Value| {
            let mut fields = fields(kind, call);
            fields["local"] = local;
            let Value::Object(mut more) = more else { unreachable!() };
            fields.as_object_mut().unwrap().append(&mut more);
            fields
        };
        let ours = |port: u16| {
            let mut addr = any(v6);
            addr.set_port(port);
            told(addr)
        };
        let unbound = json!({
            "family": if v6 { "inet6" } else { "inet" }, "ip": if v6 { "::" } else { "0.0.0.0" }, "port": 0,
        });

        // out
        let server = TcpListener::bind(any(v6)).unwrap();
        let to = server.local_addr().unwrap();
        let fd = socket(&mut it, af, SOCK_STREAM);
        let (addr, len) = with_len(&raw(to));
        let (done, records) = it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        let (_peer, from) = server.accept().unwrap();
        it.compare("connect", done, records, with("connect", "connect", told(from), json!({ "peer": told(to) })));
        assert_eq!(from.port(), local_port(&it, fd, table));
        let (addr, len) = with_len(&raw(to));
        let again = with("connect", "connect", told(from), json!({ "peer": told(to), "user_copy": ["peer"] }));
        it.check("connect, EISCONN", libc::SYS_connect, &[fd.into(), addr, len], again);

        // refused, and not known yet
        let nobody = TcpListener::bind(any(v6)).unwrap().local_addr().unwrap();
        let fd = socket(&mut it, af, SOCK_STREAM);
        let (addr, len) = with_len(&raw(nobody));
        let (done, mut records) = it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        assert_eq!(done.ret, -i64::from(libc::ECONNREFUSED));
        records[0]["local"] = json!(null); // what is left of it after the failure is the kernel's business
        let more = json!({ "peer": told(nobody), "user_copy": ["peer"] });
        it.compare("refused", done, records, with("connect", "connect", json!(null), more));
        let fd = socket(&mut it, af, SOCK_STREAM | SOCK_NONBLOCK);
        let (addr, len) = with_len(&raw(to));
        let (done, records) = it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        assert_eq!(done.ret, -i64::from(libc::EINPROGRESS));
        let (_peer, from) = server.accept().unwrap();
        it.compare("in progress", done, records, with("connect", "connect", told(from), json!({ "peer": told(to) })));
        let (addr, len) = with_len(&raw(to));
        let bad = json!({
            "kind": "connect", "call": "connect", "protocol": null, "socket": null, "local": null, "peer": told(to),
            "user_copy": ["peer"],
        });
        it.check("EBADF", libc::SYS_connect, &[999.into(), addr, len], bad);

        // in
        let fd = socket(&mut it, af, SOCK_STREAM);
        let (addr, len) = with_len(&raw(any(v6)));
        let (done, records) = it.act(libc::SYS_bind, &[fd.into(), addr, len]);
        let port = records[0]["local"]["port"].as_u64().unwrap() as u16;
        it.compare("bind", done, records, with("bind", "bind", ours(port), json!({})));
        it.check(
            "listen",
            libc::SYS_listen,
            args![fd, 5],
            with("listen", "listen", ours(port), json!({ "backlog": 5 })),
        );
        assert_eq!(port, local_port(&it, fd, table));
        for (call, number) in [("accept", libc::SYS_accept), ("accept4", libc::SYS_accept4)] {
            let mut target = any(v6);
            target.set_port(port);
            let peer = TcpStream::connect(target).unwrap();
            let accepted = with("accept", call, ours(port), json!({ "peer": told(peer.local_addr().unwrap()) }));
            it.check(call, number, args![fd, 0, 0, 0], accepted);
        }
        it.quiet(libc::SYS_fcntl, args![fd, libc::F_SETFL, libc::O_NONBLOCK]);
        let none = with("accept", "accept4", ours(port), json!({ "peer": null }));
        it.check("accept4, EAGAIN", libc::SYS_accept4, args![fd, 0, 0, 0], none);
        let other = socket(&mut it, af, SOCK_STREAM);
        let mut taken = any(v6);
        taken.set_port(port);
        let (addr, len) = with_len(&raw(taken));
        let refused = with("bind", "bind", ours(port), json!({ "user_copy": ["local"] }));
        it.check("bind, EADDRINUSE", libc::SYS_bind, &[other.into(), addr, len], refused);
        let none = with("accept", "accept", unbound, json!({ "peer": null }));
        it.check("accept, EINVAL", libc::SYS_accept, args![other, 0, 0], none);
        let bad = json!({
            "kind": "listen", "call": "listen", "protocol": null, "socket": null, "local": null, "backlog": 1,
        });
        it.check("listen, EBADF", libc::SYS_listen, args![999, 1], bad);
    }
}

#[test]
fn udp() {
    for (family, v6) in FAMILIES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut it = Stage::new(family);
        let server = UdpSocket::bind(any(v6)).unwrap();
        let to = server.local_addr().unwrap();
        let sent = |call: &str, local: Value, copied: &[&str]| {
            json!({
                "kind": "send", "call": call, "protocol": "udp", "socket": "dgram", "local": local, "peer": told(to),
                "user_copy": copied,
            })
        };
        let (af, table) = if v6 { (AF_INET6, "udp6") } else { (AF_INET, "udp") };
        let fd = socket(&mut it, af, SOCK_DGRAM);
        let (addr, len) = with_len(&raw(to));
        let (done, records) = it.act(libc::SYS_sendto, &[fd.into(), "x".into(), 1.into(), 0.into(), addr, len]);
        // a socket without an address sends from any
        let local = json!({
            "family": if v6 { "inet6" } else { "inet" }, "ip": if v6 { "::" } else { "0.0.0.0" },
            "port": local_port(&it, fd, table),
        });
        it.compare("sendto", done, records, sent("sendto", local.clone(), &["peer"]));
        let message = Arg::Message(raw(to));
        it.check("sendmsg", libc::SYS_sendmsg, &[fd.into(), message, 0.into()], sent("sendmsg", local, &["peer"]));

        let fd = socket(&mut it, af, SOCK_DGRAM);
        let (addr, len) = with_len(&raw(to));
        let (done, records) = it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        let mut local = any(v6);
        local.set_port(local_port(&it, fd, table));
        let expected = json!({
            "kind": "connect", "call": "connect", "protocol": "udp", "socket": "dgram", "local": told(local), "peer": told(to),
        });
        it.compare("connect", done, records, expected);
        let connected = |call: &str| sent(call, told(local), &[]);
        it.check("sendto, connected", libc::SYS_sendto, args![fd, "x", 1, 0, 0, 0], connected("sendto"));
        it.check(
            "sendmsg, connected",
            libc::SYS_sendmsg,
            &[fd.into(), Arg::Message(vec![]), 0.into()],
            connected("sendmsg"),
        );
        let fd = socket(&mut it, af, SOCK_DGRAM);
        let (done, records) = it.act(libc::SYS_sendto, args![fd, "x", 1, 0, 0, 0]);
        assert!(done.ret < 0 && records[0]["peer"].is_null() && records[0]["success"] == false, "{records:#?}");
        // a stream has told its peer at connect
        let server = TcpListener::bind(any(v6)).unwrap();
        let fd = socket(&mut it, af, SOCK_STREAM);
        let (addr, len) = with_len(&raw(server.local_addr().unwrap()));
        it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        let (done, records) = it.act(libc::SYS_sendto, args![fd, "x", 1, 0, 0, 0]);
        assert!(done.ret == 1 && records.is_empty(), "{records:#?}");
    }
}

#[test]
fn unix() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let nameless = json!({ "family": "unix", "path": "" });
        let by_path = |path: &Path| json!({ "family": "unix", "path": path });
        let fields = |kind: &str, call: &str, local: &Value, more: Value| {
            let mut fields =
                json!({ "kind": kind, "call": call, "protocol": null, "socket": "stream", "local": local });
            let Value::Object(mut more) = more else { unreachable!() };
            fields.as_object_mut().unwrap().append(&mut more);
            fields
        };
        let path = it.path("server");
        let server = UnixListener::bind(&path).unwrap();
        let fd = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw_unix(path.as_os_str().as_bytes()));
        let expected = fields("connect", "connect", &nameless, json!({ "peer": by_path(&path) }));
        it.check("connect", libc::SYS_connect, &[fd.into(), addr, len], expected);
        drop(server);
        let fd = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw_unix(path.as_os_str().as_bytes()));
        let more = json!({ "peer": by_path(&path), "user_copy": ["peer"] });
        it.check("refused", libc::SYS_connect, &[fd.into(), addr, len], fields("connect", "connect", &nameless, more));

        let name = format!("kernel-test-{}-{family}", std::process::id());
        let told = json!({ "family": "unix", "abstract": name });
        let raw = raw_unix(&[b"\0", name.as_bytes()].concat());
        let listener = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw);
        it.check(
            "bind, abstract",
            libc::SYS_bind,
            &[listener.into(), addr, len],
            fields("bind", "bind", &told, json!({})),
        );
        let expected = fields("listen", "listen", &told, json!({ "backlog": 1 }));
        it.check("listen, abstract", libc::SYS_listen, args![listener, 1], expected);
        let fd = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw);
        let expected = fields("connect", "connect", &nameless, json!({ "peer": told }));
        it.check("connect, abstract", libc::SYS_connect, &[fd.into(), addr, len], expected);
        let expected = fields("accept", "accept4", &told, json!({ "peer": nameless }));
        it.check("accept, abstract", libc::SYS_accept4, args![listener, 0, 0, 0], expected);

        // a name that fills sun_path has no NUL behind it
        let long = format!("{}/{}", it.dir.display(), "l".repeat(107 - it.dir.as_os_str().len()));
        assert_eq!(long.len(), 108);
        let fd = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw_unix(long.as_bytes()));
        let expected = fields("bind", "bind", &by_path(Path::new(&long)), json!({}));
        it.check("bind, 108 bytes", libc::SYS_bind, &[fd.into(), addr, len], expected);
        let fd = socket(&mut it, AF_UNIX, SOCK_STREAM);
        let (addr, len) = with_len(&raw_unix(long.as_bytes()));
        let expected = fields("bind", "bind", &by_path(Path::new(&long)), json!({ "user_copy": ["local"] }));
        it.check("bind, EADDRINUSE", libc::SYS_bind, &[fd.into(), addr, len], expected);
    }
}

/// A 64-bit program may use the calls of 32-bit programs, which have other numbers.
#[test]
fn calls_of_32_bit_programs() {
    const SOCKET: i64 = 359; // syscall_32.tbl
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let done = it.actor.compat(20, args![]); // getpid
        if done.ret < 0 {
            skip("this kernel has no calls of 32-bit programs");
            return;
        }
        let file = it.path("file");
        std::fs::write(&file, "").unwrap();
        let mut kinds = Vec::new();
        let calls: [(i64, &[Arg], &str, &str, &str); 9] = [
            (5, args![&file, 0, 0], "open", "open", "path"),
            (295, args![-100, &file, 0, 0], "open", "openat", "path"),
            (15, args![&file, 0o600], "chmod", "chmod", "path"),
            (212, args![&file, 0, 0], "chown", "chown", "path"),
            (92, args![&file, 7], "truncate", "truncate", "path"),
            (9, args![&file, &it.path("link")], "link", "link", "path"),
            (38, args![&file, &it.path("link")], "rename", "rename", "path"),
            (10, args![&file], "unlink", "unlink", "path"),
            (11, args![&file, 0, 0], "exec", "execve", "path"),
        ];
        for (number, args, kind, call, field) in calls {
            let done = it.actor.compat(number, args);
            let records = it.records(done);
            assert_eq!(records.len(), 1, "{call}: {records:#?}");
            let seen = (&records[0]["kind"], &records[0]["call"], &records[0][field], &records[0]["ret"]);
            assert_eq!(seen, (&json!(kind), &json!(call), &json!(file), &json!(done.ret)));
            kinds.push(kind);
        }
        let done = it.actor.compat(SOCKET, args![AF_INET, SOCK_DGRAM, 0]);
        assert!(done.ret >= 0);
        let server = UdpSocket::bind(any(false)).unwrap();
        let (addr, len) = with_len(&raw(server.local_addr().unwrap()));
        let done = it.actor.compat(362, &[done.ret.into(), addr, len]);
        let records = it.records(done);
        assert_eq!(
            (&records[0]["kind"], &records[0]["peer"]),
            (&json!("connect"), &told(server.local_addr().unwrap()))
        );
    }
}
