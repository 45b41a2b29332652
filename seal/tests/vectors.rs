//! The format from outside: the golden vectors to the byte, and openssl as the second opinion on signatures.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::fs;
use std::process::Command;

use common::{ORIGIN, golden, log, vector, verify};
use seal::proof::Proof;
use seal::{Batch, Trust, Verdict, Vkey};

#[test]
fn the_golden_log_is_made_to_the_byte() {
    let log = log(ORIGIN, 1);
    golden("log.ndjson", &log.bytes());
    golden("host.vkey", format!("{}\n", log.key).as_bytes());
}

#[test]
fn the_golden_log_verifies() {
    let key = Vkey::parse(fs::read_to_string(vector("host.vkey")).unwrap().trim_end()).unwrap();
    let trust = Trust { pins: vec![key], ..Trust::default() };
    let report = verify(trust, &fs::read(vector("log.ndjson")).unwrap());
    assert_eq!(report.verdict(), Verdict::Verified, "{:?}", report.findings);
}

fn batches() -> Vec<Batch> {
    let bytes = log(ORIGIN, 1).bytes();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"sigtrail\""));
    lines.map(|line| Batch::parse(line).unwrap()).collect()
}

/// What `openssl pkeyutl -verify` says; fails if there is no openssl 3.
fn openssl(key: &Vkey, text: &str, signature: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // SubjectPublicKeyInfo of Ed25519: RFC 8410 section 4
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    fs::write(path("key"), [&head, key.bytes().as_slice()].concat()).unwrap();
    fs::write(path("text"), text).unwrap();
    fs::write(path("sig"), signature).unwrap();
    let output = Command::new("openssl")
        .args(["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey"])
        .arg(path("key"))
        .arg("-in")
        .arg(path("text"))
        .arg("-sigfile")
        .arg(path("sig"))
        .output()
        .expect("openssl must be installed: it is the second opinion");
    String::from_utf8_lossy(&output.stdout).contains("Signature Verified Successfully") && output.status.success()
}

#[test]
fn openssl_agrees_with_every_signature() {
    let host = log(ORIGIN, 1).key;
    let mut chain: Option<Vkey> = None;
    for Batch { header, proof, .. } in batches() {
        let text = proof.checkpoint.text();
        assert!(openssl(&host, &text, &proof.signatures[0].bytes), "host, batch {}", header.batch);
        assert!(!openssl(&host, &format!("{text} "), &proof.signatures[0].bytes), "another text");
        if let Some(chain) = chain {
            assert!(openssl(&chain, &text, &proof.signatures[1].bytes), "chain, batch {}", header.batch);
        }
        chain = Some(header.next);
    }
}

#[test]
fn a_proof_of_the_golden_log_is_a_c2sp_tlog_proof() {
    let proof = batches().pop().unwrap().proof;
    let text = proof.to_string();
    let lines: Vec<_> = text.lines().collect();
    // 5 = 0b101 leaves before: two siblings
    assert_eq!(lines[..2], ["c2sp.org/tlog-proof@v1", "index 5"]);
    assert_eq!((lines[4], lines[5], lines[6], lines[8]), ("", ORIGIN, "6", ""));
    assert!(lines[9].starts_with(&format!("— {ORIGIN} ")) && lines[10].starts_with(&format!("— {ORIGIN}/chain ")));
    assert_eq!(Proof::parse(&text), Ok(proof));
}
