//! Operations of io_uring(7), and sockets that are neither for streams nor for datagrams.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use nix::libc;
use serde_json::{Value, json};
use tests::vm::skip;

use crate::{
    FAMILIES,
    actor::{Stage, args, compile, ktime},
};

/// What the program of `uring.c` says that it did: names and results.
type Said = Vec<(String, i64)>;

/// Lets the program do its work in a mode; returns what it said, and the records of its operations.
fn work(it: &mut Stage, mode: &str, port: u16) -> (Said, Vec<Value>) {
    let program = it.path("uring");
    let dir = it.path(mode);
    for name in ["sub", "empty"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    for name in ["sub/inner", "target"] {
        fs::write(dir.join(name), "").unwrap();
    }
    symlink("target", dir.join("soft")).unwrap();
    let mut worker = Command::new(program);
    let worker = worker.arg(&dir).args([mode, &port.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = worker.id();
    let out = worker.wait_with_output().unwrap();
    assert!(out.status.success(), "{mode}: {out:?}");
    let said = String::from_utf8(out.stdout).unwrap();
    let said = said.lines().map(|line| line.split_once(' ').unwrap());
    let said = said.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect();
    let mut records = it.gather_all();
    records.retain(|record| record["pid"] == pid && record["via"] == "io_uring");
    records.sort_by_key(ktime);
    (said, records)
}

/// What must be in the record of an operation.
fn expected(name: &str, dir: &Path, port: u16, local: u16) -> Value {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let ip = |port: u16| json!({ "family": "inet", "ip": "127.0.0.1", "port": port });
    let (long, longer) = (at(&"n".repeat(240)), at(&format!("sub/{}", "o".repeat(240))));
    match name {
        "open" => json!({ "kind": "open", "path": at("file"), "access": "read-write", "create_mode": "0640" }),
        "open.missing" => json!({ "kind": "open", "path": at("sub/missing"), "access": "read", "errno": "ENOENT" }),
        "openat2" => json!({ "kind": "open", "path": at("sub/inner"), "flags": "O_RDONLY|O_LARGEFILE|O_CLOEXEC" }),
        "open.symlink" => json!({ "kind": "open", "path": at("target"), "access": "write" }),
        "ftruncate" => json!({ "kind": "truncate", "path": at("file"), "length": 77 }),
        "rename" => json!({ "kind": "rename", "path": at("file"), "target": at("sub/moved") }),
        "link" => json!({ "kind": "link", "path": at("sub/moved"), "target": at("hard") }),
        "symlink" => json!({ "kind": "symlink", "path": at("sub/symbol"), "content": "content" }),
        "rename.long" => json!({ "kind": "rename", "path": at("hard"), "target": long }),
        "rename.longer" => json!({ "kind": "rename", "path": long, "target": longer }),
        "unlink" => json!({ "kind": "unlink", "path": longer }),
        "unlink.missing" => json!({ "kind": "unlink", "path": at("missing"), "errno": "ENOENT" }),
        "rmdir" => json!({ "kind": "rmdir", "path": at("empty") }),
        "connect" => json!({ "kind": "connect", "peer": ip(port), "socket": "stream" }),
        "socket" => json!({ "kind": "socket", "family": "packet", "socket": "raw" }),
        "bind" => json!({ "kind": "bind", "local": ip(local) }),
        "listen" => json!({ "kind": "listen", "local": ip(local), "backlog": 5 }),
        "accept" => json!({ "kind": "accept", "local": ip(local) }),
        "sendmsg" | "send" => json!({ "kind": "send", "peer": ip(port), "socket": "dgram" }),
        name => panic!("{name} is new"),
    }
}

/// Demands these fields of a record.
fn check(name: &str, record: &Value, fields: &Value) {
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(&record[field], value, "{name}: {field} of {record}");
    }
}

/// A port with somebody behind it, for streams and for datagrams.
fn server() -> (TcpListener, UdpSocket, u16) {
    let streams = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = streams.local_addr().unwrap();
    (streams, UdpSocket::bind(addr).unwrap(), addr.port())
}

#[test]
fn operations() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        compile("uring", &it.path("uring"));
        let (_streams, _datagrams, port) = server();
        for mode in ["plain", "async", "sqpoll", "fixed"] {
            let (said, records) = work(&mut it, mode, port);
            let dir = it.path(mode);
            let local = said.iter().find(|(name, _)| name == "port").unwrap().1;
            let local = u16::try_from(local).unwrap();
            let is_told = |name: &str| name != "dir" && name != "port";
            let mut done: Said = said.into_iter().filter(|(name, _)| is_told(name)).collect();
            let kinds: Vec<_> = records.iter().map(|record| record["kind"].clone()).collect();
            if records.len() < done.len() {
                // 5.10 refuses an operation that it does not have before it is submitted
                done.retain(|(_, ret)| *ret != -22);
            }
            assert_eq!(records.len(), done.len(), "{family} {mode}: {done:?} was done, {kinds:?} told");
            for ((name, ret), record) in done.iter().zip(&records) {
                let what = format!("{family}, {mode}, {name}");
                let mut fields = expected(name, &dir, port, local);
                fields["ret"] = json!(ret);
                // -EINVAL: this kernel has no such operation, and nothing is known of it
                if *ret != -22 {
                    check(&what, record, &fields);
                }
                assert_eq!(record["evidence"]["hook"], "io_uring_complete", "{what}");
                assert!(record["call"].is_null(), "{what}");
            }
        }
    }
}

#[test]
fn silent_operations() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        compile("uring", &it.path("uring"));
        let (_streams, _datagrams, port) = server();
        let (said, records) = work(&mut it, "silent", port);
        let dir = it.path("silent");
        let results = said.iter().filter(|(name, _)| name != "dir" && name != "port").map(|(_, ret)| *ret);
        let (silent, loud): (Vec<_>, Vec<_>) = records.iter().partition(|it| it["kind"] == "io_uring_silent");
        let at = |name: &str| json!(dir.join(name).to_str().unwrap());
        let to = json!({ "family": "inet", "ip": "127.0.0.1", "port": port });
        let expected = [
            ("openat", "path", at("file")),
            ("openat", "path", at("sub/missing")),
            ("openat2", "path", at("sub/inner")),
            ("openat", "path", at("soft")),
            ("ftruncate", "path", Value::Null),
            ("renameat", "target", json!("moved")),
            ("linkat", "path", at("sub/moved")),
            ("symlinkat", "target", json!("content")),
            ("renameat", "path", at("hard")),
            ("renameat", "path", at(&"n".repeat(240))),
            ("unlinkat", "path", at(&format!("sub/{}", "o".repeat(240)))),
            ("unlinkat", "path", at("missing")),
            ("unlinkat", "path", at("empty")),
            ("connect", "address", to.clone()),
            ("socket", "descriptor", Value::Null),
            ("bind", "path", Value::Null),
            ("listen", "path", Value::Null),
            ("accept", "path", Value::Null),
            ("sendmsg", "address", to),
            ("send", "path", Value::Null),
        ];
        let mut expected: Vec<_> = expected.into_iter().zip(results).collect();
        if silent.len() < expected.len() {
            // an older kernel refuses an operation, or the flag, that it does not have before it is submitted
            expected.retain(|(_, ret)| *ret != -22);
        }
        if expected.is_empty() {
            return skip("operations are silent since Linux 5.17");
        }
        assert_eq!(silent.len(), expected.len(), "{family}: {silent:#?}");
        for (record, ((operation, field, value), _)) in silent.iter().zip(expected) {
            let fields = json!({ "operation": operation, field: value });
            check(&format!("{family}, {operation}"), record, &fields);
            assert_eq!(record["evidence"]["hook"], "io_uring_submit", "{family}, {operation}");
        }
        // the kernel breaks the silence of an open that fails, and not that of a removal
        let told = loud.iter().filter(|it| it["success"] == false);
        let told: Vec<_> = told.map(|it| (it["kind"].as_str().unwrap(), &it["path"], &it["errno"])).collect();
        assert_eq!(told, [("open", &at("sub/missing"), &json!("ENOENT"))], "{family}");
    }
}

#[test]
fn special_sockets() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let socket = |family: &str, socket: Value, protocol: Value, number: u32| {
            json!({
                "kind": "socket", "call": "socket", "family": family, "socket": socket, "protocol": protocol,
                "protocol_number": number,
            })
        };
        for (name, asked, body) in [
            ("raw", [libc::AF_INET, libc::SOCK_RAW, 1], socket("inet", json!("raw"), json!("icmp"), 1)),
            ("packet", [libc::AF_PACKET, libc::SOCK_RAW, 0x300], socket("packet", json!("raw"), Value::Null, 0x300)),
            ("netlink", [libc::AF_NETLINK, libc::SOCK_RAW, 9], socket("netlink", json!("raw"), Value::Null, 9)),
            ("alg", [libc::AF_ALG, libc::SOCK_SEQPACKET, 0], socket("alg", json!("seqpacket"), Value::Null, 0)),
            ("vsock", [libc::AF_VSOCK, libc::SOCK_STREAM, 0], socket("vsock", json!("stream"), Value::Null, 0)),
            ("no family", [99, 1, 0], socket("none", json!("stream"), Value::Null, 0)),
        ] {
            let mut body = body;
            if asked[0] == 99 {
                // a number without a name
                body["family"] = json!(99);
            }
            it.check(name, libc::SYS_socket, args![asked[0], asked[1], asked[2]], body);
        }
        for (family, kind) in
            [(libc::AF_INET, libc::SOCK_STREAM), (libc::AF_INET6, libc::SOCK_DGRAM), (libc::AF_UNIX, 1)]
        {
            let (_, records) = it.act(libc::SYS_socket, args![family, kind | libc::SOCK_CLOEXEC, 0]);
            assert!(records.is_empty(), "{records:?}");
        }
    }
}
