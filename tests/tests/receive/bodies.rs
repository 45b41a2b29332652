//! What the receiver makes of bodies.

use std::{fs, process::Command};

use nix::sys::signal::Signal;
use seal::{HostKey, Revocation, cosign::WitnessKey, note::Note, text::base64};
use serde_json::Value;
use tests::{
    host::{run, until, verifier},
    receiver::Receiver,
};

use crate::made::Made;

const ORIGIN: &str = "audit.example.org/sigtrail/made";

fn receiver(trust: &str, options: &[&str]) -> (tempfile::TempDir, Receiver) {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::new(&dir.path().join("receiver"), trust, options);
    receiver.start();
    (dir, receiver)
}

fn host(made: &Made) -> String {
    format!("host {}\n", made.vkey())
}

/// The size that a cosigned answer is over; the cosignature is checked.
fn size(receiver: &Receiver, answer: &str) -> u64 {
    let note = Note::parse(answer).unwrap();
    let key = WitnessKey::parse(&receiver.vkey()).unwrap();
    key.verify(&note.text, &note.signatures[0]).unwrap();
    note.text.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_replay_is_answered_alike_and_a_change_is_refused_and_put_aside() {
    let mut made = Made::new(ORIGIN, 1);
    let (_dir, receiver) = receiver(&host(&made), &[]);
    let body = [made.batch(""), made.batch("a"), made.batch("b")].concat();
    let first = receiver.post("/batches", &body, &[]);
    assert_eq!((first.0, size(&receiver, &first.1)), (200, 3));
    assert_eq!(receiver.post("/batches", &body, &[]), first);

    // a replay with a change, and a batch to come with one
    for (body, from, to) in [(body.clone(), "\"a\"", "\"x\""), (made.batch("c"), "\"c\"", "\"x\"")] {
        let text = String::from_utf8(body.clone()).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(text, changed);
        let refused = receiver.post("/batches", changed.as_bytes(), &[]);
        assert_eq!(refused.0, 422, "{refused:?}");
        let aside = receiver.log("hosts").join("aside");
        let kept = fs::read_dir(aside).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        assert!(kept.into_iter().any(|bytes| bytes == changed.as_bytes()));
        assert_eq!(receiver.post("/batches", &body, &[]).0, 200);
    }
    assert!(!receiver.alarms("tampered").is_empty());
    for (body, header, status) in [
        (&body[..], "content-digest: sha-256=:AAAA:", 400),
        (&body[..], "x-sigtrail-origin: other", 400),
        (&body[..], "content-encoding: br", 415),
        (&body[..], "content-encoding: zstd", 400),
        (b"no batch", "x-a: b", 400),
        (&body[..body.len() - 1], "x-a: b", 422),
        (&vec![b'a'; (16 << 20) + 1], "expect:", 413),
    ] {
        assert_eq!(receiver.post("/batches", body, &[header]).0, status, "{header}");
    }
    assert_eq!(receiver.get("/batches").0, 405);
    assert_eq!(receiver.get("/else").0, 404);
    let metrics = receiver.get("/metrics").1;
    for line in [
        "sigtrail_receive_batches_total 4",
        "alarms_total{alarm=\"tampered\"}",
        "log_size{origin=\"audit.example.org/sigtrail/made\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let ran = run(Command::new(verifier()).arg("--json").arg(receiver.log("hosts").join("log")));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&report["verdict"], &report["batches"]), (&Value::from("verified"), &Value::from(4)), "{report:#}");
}

#[test]
fn a_fork_is_refused_and_an_alarm() {
    let (mut made, mut clone) = (Made::new(ORIGIN, 1), Made::new(ORIGIN, 1));
    let (_dir, mut receiver) = receiver(&host(&made), &[]);
    receiver.post("/batches", &[made.batch(""), made.batch("a"), made.batch("b")].concat(), &[]);
    let forked = [clone.batch(""), clone.batch("a"), clone.batch("other")].concat();
    receiver.kill();
    receiver.start();
    // what another key signed is no word of this host
    let mut stranger = Made::new(ORIGIN, 2);
    stranger.batch("");
    let second = stranger.batch("a");
    assert_eq!(receiver.post("/batches", &second, &[]).0, 422);
    assert_eq!((receiver.alarms("fork").len(), receiver.alarms("tampered").len()), (0, 1));
    assert_eq!(receiver.post("/batches", &forked, &[]).0, 409);
    assert_eq!((receiver.alarms("fork").len(), receiver.alarms("clone").len()), (1, 0));
    assert_eq!(receiver.post("/batches", &made.batch("c"), &[]).0, 200);
    assert_eq!(receiver.alarms("clone").len(), 1);
}

#[test]
fn a_revoked_host_key_is_refused() {
    let mut made = Made::new(ORIGIN, 1);
    let fleet = HostKey::new("fleet.example.org", &[9; 32]).unwrap();
    let (_dir, mut receiver) = receiver(&format!("{}fleet {}\n", host(&made), fleet.vkey()), &[]);
    assert_eq!(receiver.post("/batches", &[made.batch(""), made.batch("a")].concat(), &[]).0, 200);
    let revocation = Revocation { hostkey: made.vkey().clone(), after: 2, time: 0 };
    let restart_with = |receiver: &mut Receiver, by: &HostKey| {
        fs::write(receiver.path("notes/revoked.note"), revocation.sign(by)).unwrap();
        receiver.kill();
        receiver.start();
    };
    restart_with(&mut receiver, &fleet);
    assert_eq!(receiver.post("/batches", &made.batch("b"), &[]).0, 200, "up to this one it counts");
    let next = made.batch("c");
    assert_eq!(receiver.post("/batches", &next, &[]).0, 403);
    let alarm = &receiver.alarms("untrusted")[0]["what"];
    assert!(alarm.as_str().unwrap().contains("the host key was revoked"), "{alarm}");
    // nor does a checkpoint of it
    let leaf = seal::Batch::parse(next.split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap().leaf;
    let ask = |receiver: &Receiver, note: &Note| {
        receiver.post("/add-checkpoint", format!("old 3\n{}\n\n{note}", base64(&leaf)).as_bytes(), &[]).0
    };
    assert_eq!(ask(&receiver, &made.checkpoint()), 403);
    // what another than the fleet revokes is not revoked
    restart_with(&mut receiver, &HostKey::new("fleet.example.org", &[8; 32]).unwrap());
    assert_eq!(ask(&receiver, &made.checkpoint()), 422, "of size 3 to size 4 it takes three hashes");
    assert_eq!(receiver.post("/batches", &next, &[]).0, 200);
}

#[test]
fn a_host_key_is_exchanged() {
    let mut made = Made::new(ORIGIN, 1);
    let (_dir, mut receiver) = receiver(&host(&made), &[]);
    assert_eq!(receiver.post("/batches", &[made.batch(""), made.batch("a"), made.rotate(7)].concat(), &[]).0, 200);
    receiver.kill();
    receiver.start();
    let answer = receiver.post("/batches", &made.batch("b"), &[]);
    assert_eq!((answer.0, size(&receiver, &answer.1)), (200, 4));
}

#[test]
fn strangers_are_refused_kept_apart_or_believed_once() {
    let mut made = Made::new(ORIGIN, 1);
    let fleet = HostKey::new("fleet.example.org", &[9; 32]).unwrap();
    let body = made.batch("");
    let (_dir, provisioned) = receiver("", &[]);
    assert_eq!(provisioned.post("/batches", &body, &[]).0, 403);
    assert_eq!(provisioned.alarms("untrusted").len(), 1);

    let (_dir, mut approve) = receiver(&format!("fleet {}\n", fleet.vkey()), &["--mode", "approve"]);
    assert_eq!(approve.post("/batches", &body, &[]).0, 202);
    fs::write(approve.path("notes/made.note"), made.note_by(&fleet)).unwrap();
    approve.signal(Signal::SIGHUP);
    until("the host to be believed", || (approve.post("/batches", &body, &[]).0 == 200).then_some(()));
    assert!(approve.log("hosts").join("log").is_dir());
    assert_eq!(approve.stop(), Some(0));

    let (_dir, tofu) = receiver("", &["--mode", "tofu"]);
    let answer = tofu.post("/batches", &body, &[]);
    assert_eq!((answer.0, size(&tofu, &answer.1)), (200, 1));
    let mut second = Made::new(ORIGIN, 2);
    assert_eq!(tofu.post("/batches", &second.batch(""), &[]).0, 409);
    assert_eq!(tofu.alarms("genesis").len(), 1);
}

#[test]
fn a_client_certificate_is_bound_to_a_log() {
    let mut made = Made::new(ORIGIN, 1);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("receiver");
    let ca = at.join("ca.pem").display().to_string();
    let mut receiver = Receiver::new(&at, &host(&made), &["--client-ca", &ca]);
    let body = receiver.path("first");
    fs::write(&body, made.batch("")).unwrap();
    let with = |command: &mut Command| {
        command.arg("--cert").arg(at.join("client.pem")).arg("--key").arg(at.join("client.key"));
        command.arg("--data-binary").arg(format!("@{}", body.display()));
    };
    let print = run(Command::new("sh")
        .args(["-c", "openssl x509 -in \"$0\" -outform DER | sha256sum"])
        .arg(at.join("client.pem")));
    let bind =
        |hash: &str| fs::write(at.join("trust"), format!("{}client {ORIGIN} sha256:{hash}\n", host(&made))).unwrap();
    bind(&"0".repeat(64));
    receiver.start_without_health();
    let status =
        until("the receiver to answer", || Some(receiver.curl("/batches", with).0).filter(|status| *status != 0));
    assert_eq!(status, 403);
    assert_eq!(receiver.post("/batches", b"", &[]).0, 0, "no certificate, no connection");
    bind(&print.out[..64]);
    receiver.signal(Signal::SIGHUP);
    until("the certificate to be bound", || (receiver.curl("/batches", with).0 == 200).then_some(()));
}

#[test]
fn any_log_may_ask_the_witness_and_a_hole_is_closed_by_a_proof() {
    let (mut made, mut other) = (Made::new(ORIGIN, 1), Made::new("log.example/other", 2));
    let trust = format!("{}log {}\n", host(&made), other.vkey());
    let (_dir, mut receiver) = receiver(&trust, &[]);
    let ask = |receiver: &Receiver, old: u64, proof: &[[u8; 32]], note: &Note| {
        let hashes: String = proof.iter().map(|hash| base64(hash) + "\n").collect();
        receiver.post("/add-checkpoint", format!("old {old}\n{hashes}\n{note}").as_bytes(), &[])
    };
    other.batch("");
    other.batch("a");
    let two = other.checkpoint();
    let stranger = Made::new("log.example/stranger", 3).checkpoint();
    assert_eq!(ask(&receiver, 0, &[], &stranger).0, 404);
    let unsigned = Note { signatures: Made::new("log.example/other", 4).checkpoint().signatures, ..two.clone() };
    assert_eq!(ask(&receiver, 0, &[], &unsigned).0, 403);
    assert_eq!(ask(&receiver, 1, &[], &two), (409, "0\n".to_owned()));
    assert_eq!(ask(&receiver, 3, &[], &two).0, 400);
    let answer = ask(&receiver, 0, &[], &two);
    assert_eq!((answer.0, size(&receiver, &format!("{}\n{}", two.text, answer.1))), (200, 2));
    other.batch("b");
    let three = other.checkpoint();
    receiver.kill();
    receiver.start();
    assert_eq!(ask(&receiver, 0, &[], &three), (409, "2\n".to_owned()));
    assert_eq!(ask(&receiver, 2, &[], &three).0, 422);
    assert_eq!(ask(&receiver, 2, &other.subtrees()[1..], &three).0, 200);

    // batch 1 never arrives: what follows is kept, and not cosigned until the tree is shown to have only grown
    let first = made.batch("");
    assert_eq!(size(&receiver, &receiver.post("/batches", &first, &[]).1), 1);
    made.batch("lost");
    let third = made.batch("c");
    let answer = receiver.post("/batches", &third, &[]);
    assert_eq!((answer.0, size(&receiver, &answer.1)), (200, 1));
    assert_eq!(receiver.alarms("hole").len(), 1);
    let answer = receiver.post("/batches", &made.batch("d"), &[]);
    assert_eq!((answer.0, size(&receiver, &answer.1)), (200, 1));
    // RFC 6962: from 1 to 4 leaves go the leaf 1 and the subtree of 2 and 3
    let leaf = |seal: &[u8]| seal::Batch::parse(seal.strip_suffix(b"\n").unwrap()).unwrap().leaf;
    let mut again = Made::new(ORIGIN, 1);
    let leaves: Vec<_> = ["", "lost", "c", "d"]
        .map(|event| again.batch(event))
        .iter()
        .map(|batch| leaf(&batch[batch.iter().position(|byte| *byte == b'\n').unwrap() + 1..]))
        .collect();
    let proof = [leaves[1], seal::tree::node(&leaves[2], &leaves[3])];
    let answer = ask(&receiver, 1, &proof, &made.checkpoint());
    assert_eq!(answer.0, 200, "{answer:?}");
    let answer = receiver.post("/batches", &made.batch("e"), &[]);
    assert_eq!((answer.0, size(&receiver, &answer.1)), (200, 5));
}
