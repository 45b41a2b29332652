//! Whatever is changed in a bundle is found; what is missing is told apart from that.

use std::{fs, path::Path, process::Command};

use seal::bundle::{BLOCK, Head};
use serde_json::json;
use tests::host::Host;

use super::{Idle, capture, members, verify};

/// Names and bytes, in their order.
type Members = Vec<(String, Vec<u8>)>;

/// Puts a bundle together of members.
fn write(bundle: &Path, members: &[(String, Vec<u8>)]) {
    let mut tar = Vec::new();
    for (name, bytes) in members {
        let head = Head::new(name, bytes.len() as u64, 1_780_000_000).unwrap();
        tar.extend_from_slice(&head.write());
        tar.extend_from_slice(bytes);
        tar.extend(vec![0; head.padding()]);
    }
    tar.extend([0; 2 * BLOCK]);
    fs::write(bundle, zstd::encode_all(tar.as_slice(), 1).unwrap()).unwrap();
}

#[test]
fn what_is_changed_is_found_and_what_is_missing_is_told() {
    let host = Host::new("");
    let idle = Idle::start();
    let agent = host.start();
    let case = host.path("case.sigtrail");
    let options = ["--pid", &idle.pid(), "--for", "0s", "--with", "maps", "-o", case.to_str().unwrap()];
    assert_eq!(capture(&host, &options).code, Some(0));
    // another one, whose seal is as good
    let other = host.path("other.sigtrail");
    let options =
        ["--pid", &std::process::id().to_string(), "--for", "0s", "--with", "maps", "-o", other.to_str().unwrap()];
    assert_eq!(capture(&host, &options).code, Some(0));
    assert_eq!(agent.stop().0, Some(0));
    let (whole, other) = (members(&case), members(&other));
    let at = |name: &str| whole.iter().position(|(it, _)| it == name).unwrap();
    let changed = host.path("changed.sigtrail");
    let check = |what: &str, members: &[(String, Vec<u8>)], code: i32| {
        write(&changed, members);
        let (found, report) = verify(&changed, &[]);
        assert_eq!(found, code, "{what}: {report:#}");
    };
    check("nothing", &whole, 0);
    // one byte of each member, at its begin, in the middle and at its end
    for (member, (name, bytes)) in whole.iter().enumerate() {
        for byte in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            if let Some(old) = bytes.get(byte) {
                // the line feed behind a key is no part of it
                if name == "host.vkey" && *old == b'\n' {
                    continue;
                }
                let mut members = whole.clone();
                members[member].1[byte] = old ^ 1;
                write(&changed, &members);
                let (code, report) = verify(&changed, &[]);
                assert!([1, 2].contains(&code), "{name}, byte {byte}: {report:#}");
                assert!(
                    code == 1 || ["batch.ndjson", "host.vkey"].contains(&name.as_str()),
                    "{name}, {byte}: {report:#}"
                );
            }
        }
    }
    let edited = |edit: &dyn Fn(&mut Members)| {
        let mut members = whole.clone();
        edit(&mut members);
        members
    };
    check("one more", &edited(&|it| it.insert(0, ("files/0000".into(), b"planted".to_vec()))), 1);
    check("one twice", &edited(&|it| it.insert(0, it[0].clone())), 1);
    check("one behind the manifest", &edited(&|it| it.push(("files/0000".into(), Vec::new()))), 1);
    check("another name", &edited(&|it| it[0].0 = "files/0001".into()), 1);
    check("one is missing", &edited(&|it| drop(it.remove(0))), 2);
    check("no manifest", &edited(&|it| drop(it.remove(at("manifest.json")))), 1);
    check("no batch", &edited(&|it| drop(it.remove(at("batch.ndjson")))), 2);
    let seal_of_other = |it: &mut Members| {
        let batch = other.iter().find(|(name, _)| name == "batch.ndjson").unwrap().1.clone();
        it[at("batch.ndjson")].1 = batch;
    };
    check("the seal of another", &edited(&seal_of_other), 1);
    // a manifest that fits the change, but was never sealed
    let forged = |it: &mut Members| {
        let text = String::from_utf8(it[at("manifest.json")].1.clone()).unwrap();
        it[at("manifest.json")].1 = text.replace("\"target\":\"pid:", "\"target\":\"pid:3").into_bytes();
    };
    check("a manifest of another hand", &edited(&forged), 1);
    // with another host's key nothing of it counts
    let (code, _) = verify(&case, &["--key", include_str!("../../vectors/host.vkey").trim_end()]);
    assert_eq!(code, 1);
    // cut anywhere: never whole
    let bytes = fs::read(&case).unwrap();
    for length in [1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&changed, &bytes[..length]).unwrap();
        assert_ne!(verify(&changed, &[]).0, 0, "{length}");
    }
    // and any flipped byte of the packed file
    for byte in (0..bytes.len()).step_by(bytes.len() / 20) {
        let mut bytes = bytes.clone();
        bytes[byte] ^= 0x10;
        fs::write(&changed, &bytes).unwrap();
        assert_ne!(verify(&changed, &[]).0, 0, "{byte}");
    }
}

#[test]
fn an_encrypted_bundle_is_for_its_recipients_alone() {
    let host = Host::new("");
    let idle = Idle::start();
    let agent = host.start();
    let made = Command::new("age-keygen").output().unwrap();
    let identity = String::from_utf8(made.stdout).unwrap();
    fs::write(host.path("identity"), &identity).unwrap();
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let case = host.path("case.sigtrail");
    let options = ["--pid", &idle.pid(), "--for", "0s", "--recipient", recipient, "-o", case.to_str().unwrap()];
    assert_eq!(capture(&host, &options).code, Some(0));
    assert!(fs::read(&case).unwrap().starts_with(b"age-encryption.org/v1\n"));
    let (code, report) = verify(&case, &["--identity", host.path("identity").to_str().unwrap()]);
    assert_eq!((code, &report["verdict"]), (0, &json!("verified")), "{report:#}");
    assert_ne!(verify(&case, &[]).0, 0);
    let wrong = capture(&host, &["--all", "--recipient", "age1wrong", "-o", host.path("w").to_str().unwrap()]);
    assert!(wrong.code == Some(1) && wrong.err.contains("no X25519 recipient"), "{wrong:?}");
    assert_eq!(agent.stop().0, Some(0));
}
