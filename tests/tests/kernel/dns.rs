//! Questions to name servers.

use std::net::{SocketAddr, UdpSocket};

use nix::libc::{self, AF_INET, AF_INET6, SOCK_DGRAM};
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Arg, Stage, args},
    network::{local_port, raw, socket, told, with_len},
};

/// A message with one question: its number, the labels of the name, the number of the type.
fn question(id: u16, name: &[&[u8]], ty: u16) -> Vec<u8> {
    let mut message = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for label in name {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend([ty, 1].map(u16::to_be_bytes).concat());
    message
}

fn asked(id: u16, name: &str, ty: impl Into<Value>) -> Value {
    json!({ "class": "IN", "id": id, "name": name, "type": ty.into() })
}

fn size(data: &[u8]) -> i64 {
    i64::try_from(data.len()).unwrap()
}

/// The fields of a record about a datagram.
fn sent(call: &str, question: &Value, length: usize, local: &Value, to: SocketAddr, user_copy: &[&str]) -> Value {
    json!({
        "kind": "dns", "call": call, "question": question, "length": length, "local": local, "peer": told(to),
        "socket_uid": 0, "user_copy": user_copy,
    })
}

/// An address of our own, so that several of these tests may run at once, and who listens there: otherwise the second
/// message of a connected socket is refused.
fn server() -> (UdpSocket, SocketAddr) {
    let [.., high, low] = std::process::id().to_be_bytes();
    let to = SocketAddr::from(([127, high, low, 53], 53));
    (UdpSocket::bind(to).unwrap(), to)
}

#[test]
fn sent_to_an_address() {
    for (family, v6) in FAMILIES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut it = Stage::new(family);
        let (af, table, to) = if v6 {
            (AF_INET6, "udp6", "[::1]:53".parse().unwrap())
        } else {
            (AF_INET, "udp", SocketAddr::from(([127, 0, 0, 1], 53)))
        };
        let fd = socket(&mut it, af, SOCK_DGRAM);
        let send = |it: &mut Stage, name: &str, data: &[u8], question: Value| {
            let (addr, len) = with_len(&raw(to));
            let call = [fd.into(), Arg::from(data), size(data).into(), 0.into(), addr, len];
            let (done, mut records) = it.act(libc::SYS_sendto, &call);
            assert_eq!(records.pop().unwrap()["kind"], "send");
            let any = if v6 { "::" } else { "0.0.0.0" };
            let local = json!({ "family": told(to)["family"], "ip": any, "port": local_port(it, fd, table) });
            let copied: &[&str] =
                if question.is_null() { &["peer", "length"] } else { &["question", "peer", "length"] };
            it.compare(name, done, records, sent("sendto", &question, data.len(), &local, to, copied));
        };
        let long = "l".repeat(63);
        let longest = [long.as_bytes(), long.as_bytes(), long.as_bytes(), &long.as_bytes()[2..]];
        let longest_name = format!("{long}.{long}.{long}.{}", &long[2..]);
        let root: &[&[u8]] = &[];
        send(&mut it, "A", &question(7, &[b"www", b"example", b"com"], 1), asked(7, "www.example.com", "A"));
        send(
            &mut it,
            "strange",
            &question(8, &[b"a.b", b"\\\"", b" \xff\n"], 65280),
            asked(8, r#"a\.b.\\".\032\255\010"#, 65280),
        );
        send(&mut it, "root", &question(9, root, 2), asked(9, ".", "NS"));
        send(&mut it, "longest", &question(10, &longest, 28), asked(10, &longest_name, "AAAA"));
        let padded = [question(11, &[b"padded"], 16), vec![0xff; 1000]].concat();
        send(&mut it, "more behind it", &padded, asked(11, "padded", "TXT"));
        // no questions: an answer, a name without an end, no DNS at all
        let mut answer = question(12, &[b"answer"], 1);
        answer[2] |= 0x80;
        send(&mut it, "answer", &answer, Value::Null);
        send(&mut it, "cut", &question(13, &[b"cut"], 1)[..15], Value::Null);
        send(&mut it, "nothing", b"", Value::Null);

        // a broadcast is not permitted
        if !v6 {
            let data = question(14, &[b"denied"], 1);
            let everyone = SocketAddr::from(([255, 255, 255, 255], 53));
            let (addr, len) = with_len(&raw(everyone));
            let call = [fd.into(), Arg::from(&data), size(&data).into(), 0.into(), addr, len];
            let (done, mut records) = it.act(libc::SYS_sendto, &call);
            assert_eq!((done.ret, &records.pop().unwrap()["kind"]), (-i64::from(libc::EACCES), &json!("send")));
            let local = records[0]["local"].clone();
            let copied = ["question", "peer", "length"];
            let body = sent("sendto", &asked(14, "denied", "A"), data.len(), &local, everyone, &copied);
            it.compare("denied", done, records, body);
        }
        // another port
        let mut elsewhere = to;
        elsewhere.set_port(54);
        let (addr, len) = with_len(&raw(elsewhere));
        let data = question(15, &[b"elsewhere"], 1);
        let call = [fd.into(), Arg::from(&data), size(&data).into(), 0.into(), addr, len];
        let (done, records) = it.act(libc::SYS_sendto, &call);
        assert!(done.ret > 0 && records.len() == 1 && records[0]["kind"] == "send", "{records:#?}");
    }
}

/// As the resolvers of C libraries do it: A and AAAA in one call on a connected socket, the data in parts or not.
#[test]
fn several_in_one_call() {
    let (_server, to) = server();
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let fd = socket(&mut it, AF_INET, SOCK_DGRAM);
        let (addr, len) = with_len(&raw(to));
        let (done, records) = it.act(libc::SYS_connect, &[fd.into(), addr, len]);
        assert_eq!(done.ret, 0);
        let local = records[0]["local"].clone();
        let whole = |id: u16, ty: u16| question(id, &[b"host", b"test"], ty);
        let check =
            |it: &mut Stage, name: &str, call: i64, messages: Vec<Vec<Vec<u8>>>, expected: &[(Value, usize)]| {
                let count = messages.len();
                let all = i64::try_from(count).unwrap();
                let messages = Arg::Messages(vec![], messages);
                let is_one = call == libc::SYS_sendmsg;
                let args = if is_one {
                    vec![fd.into(), messages, 0.into()]
                } else {
                    vec![fd.into(), messages, all.into(), 0.into()]
                };
                let (done, mut records) = it.act(call, &args);
                assert!(done.ret == all || is_one && done.ret > 0, "{name}: {}", done.ret);
                assert_eq!(records.pop().unwrap()["kind"], "send", "{name}");
                assert_eq!(records.len(), expected.len(), "{name}: {records:#?}");
                for (at, (record, (question, length))) in records.into_iter().zip(expected).enumerate() {
                    let copied: &[&str] = if question.is_null() { &["length"] } else { &["question", "length"] };
                    let call = if is_one { "sendmsg" } else { "sendmmsg" };
                    let mut body = sent(call, question, *length, &local, to, copied);
                    body["untold"] = if at == 15 && count > 16 { json!(count - 16) } else { Value::Null };
                    it.compare(name, done, vec![record], body);
                }
            };
        let host = |id, ty: &str| asked(id, "host.test", ty);
        let len = whole(1, 1).len();
        let both = vec![vec![whole(1, 1)], vec![whole(2, 28)]];
        check(&mut it, "two", libc::SYS_sendmmsg, both, &[(host(1, "A"), len), (host(2, "AAAA"), len)]);
        let mixed = vec![vec![whole(3, 15)], vec![b"no question".to_vec()], vec![whole(4, 65)]];
        let expected = [(host(3, "MX"), len), (Value::Null, 11), (host(4, "HTTPS"), len)];
        check(&mut it, "one is none", libc::SYS_sendmmsg, mixed, &expected);
        let parts: Vec<_> = whole(5, 33).chunks(len.div_ceil(4)).map(<[u8]>::to_vec).collect();
        check(&mut it, "in parts", libc::SYS_sendmsg, vec![parts], &[(host(5, "SRV"), len)]);
        let many: Vec<_> = (0..19).map(|id| vec![whole(id, 1)]).collect();
        let expected: Vec<_> = (0..16).map(|id| (host(id, "A"), len)).collect();
        check(&mut it, "many", libc::SYS_sendmmsg, many, &expected);

        let data = whole(6, 12);
        let done = it.actor.compat(369, args![fd, &data, size(&data), 0, 0]); // sendto
        if done.ret > 0 {
            let records = it.records(done);
            assert_eq!((records.len(), &records[0]["question"]), (2, &host(6, "PTR")), "{records:#?}");
        }
    }
}
