//! The agent does not tell of itself, and what it tells, it seals.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::fs::{chown, symlink},
    process::Command,
};

use serde_json::Value;
use tests::agent::{Agent, patience};

use crate::{FAMILIES, actor::Stage};

#[test]
fn nothing_of_the_watcher() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        for _ in 0..20 {
            it.gather();
        }
        let pid = it.tail.pid();
        let Stage { tail, .. } = it;
        let (lines, said) = tail.take().stop().unwrap();
        assert!(!said.contains("lost"), "{said}");
        let own: Vec<_> = lines.iter().filter(|line| line.contains(&format!("\"pid\":{pid},"))).collect();
        assert!(own.is_empty() && !lines.is_empty(), "{own:#?}");
    }
}

/// Every kind of event in one log, which verifies. The agent itself writes, connects and is asked for its status.
#[test]
fn the_log_of_all_kinds_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("policy.yaml"), "version: 1\ndefault: keep\n").unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    let pid = agent.pid();

    assert!(Command::new("true").status().unwrap().success());
    fs::write(path("file"), "x").unwrap();
    fs::hard_link(path("file"), path("link")).unwrap();
    fs::rename(path("link"), path("renamed")).unwrap();
    symlink("file", path("symlink")).unwrap();
    chown(path("file"), Some(0), Some(0)).unwrap();
    fs::set_permissions(path("file"), fs::metadata(path("file")).unwrap().permissions()).unwrap();
    fs::File::options().write(true).open(path("file")).unwrap().set_len(7).unwrap();
    fs::remove_file(path("renamed")).unwrap();
    fs::create_dir(path("dir")).unwrap();
    fs::remove_dir(path("dir")).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    client.write_all(b"x").unwrap();
    server.accept().unwrap().0.read_exact(&mut [0]).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9").unwrap();

    let late = std::time::Instant::now() + patience();
    while agent.status().unwrap()["total"]["received"].as_u64().unwrap() == 0 {
        assert!(std::time::Instant::now() < late);
    }
    let report = agent.stop().unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    Agent::log(dir.path(), |line| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_ne!(record["pid"], pid, "{line}");
        kinds.extend(record["kind"].as_str().map(str::to_owned));
    })
    .unwrap();
    for kind in [
        "exec", "fork", "exit", "open", "unlink", "rmdir", "rename", "link", "symlink", "chmod", "chown", "truncate",
        "connect", "bind", "listen", "accept", "send",
    ] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{report:#}");
}
