//! D7: the state of an earlier version is gone on with, that of a later one is left alone.

use std::{
    env, fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use seal::BatchKind;
use sigtrail::sealed::number_in;
use tests::{
    host::{Host, bytes, run, sigtrail, until, verifier},
    nginx::{self, Nginx},
};

use crate::state::refused;

/// What `tests/state/README.md` says of format 1.
const LAST: u64 = 20;
const DELIVERED: u64 = 5;
const REFUSED: u64 = 1;

fn project(path: &str) -> PathBuf {
    Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap()).join(path)
}

/// A host that has the state directory of an earlier version.
fn host(more: &str) -> Host {
    let host = Host::new(more);
    let copy = run(Command::new("cp").arg("-r").args([project("state/1"), host.path("state")]));
    assert_eq!(copy.code, Some(0), "{copy:?}");
    // as the agent made them; a checkout has modes of its own
    for dir in ["", "/keys", "/spool", "/spool/cursors", "/spool/quarantine"] {
        let ran = run(Command::new("chmod").arg("0700").arg(format!("{}{dir}", host.path("state").display())));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    host
}

/// Both verifiers on a log: exit code and all that they say.
fn verified(host: &Host, log: &Path, from: u64) -> [(Option<i32>, String); 2] {
    let verifiers = [vec![verifier().into_os_string()], vec!["python3".into(), project("../tools/verify.py").into()]];
    verifiers.map(|words| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--key").arg(host.path("state/host.vkey"));
        let ran = run(command.args(["--from", &from.to_string()]).arg(log));
        (ran.code, ran.out + &ran.err)
    })
}

#[test]
fn the_state_of_an_earlier_version_is_gone_on_with() {
    let host = host("kernel: { pin: no }");
    fs::create_dir(host.path("nginx")).unwrap();
    let options = nginx::Options { tls: nginx::Tls::No, ..nginx::Options::default() };
    let nginx = Nginx::start(&host.path("nginx"), &options).unwrap();
    host.configure(&format!("sinks: [{{ type: http, name: web, url: '{}', required: false }}]", nginx.url()));
    let spool = host.path("state/spool");
    let before = bytes(&spool);
    assert_eq!(before.len() as u64, LAST);
    let poison = fs::read(spool.join(format!("quarantine/web/{REFUSED}.ndjson"))).unwrap();
    let retry =
        run(Command::new(sigtrail()).args(["spool", "retry", "--config"]).arg(host.path("sigtrail.yaml")).arg("web"));
    assert_eq!(retry.code, Some(0), "{retry:?}");

    let agent = host.start();
    until("all to be delivered", || {
        let has_all = host.status()["sinks"][0]["lag"] == 0;
        (has_all && !spool.join(format!("quarantine/web/{REFUSED}.again")).exists()).then_some(())
    });
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");

    // what was there is there, and the log goes on with the next number
    let after = bytes(&spool);
    assert!(after.starts_with(&before) && after.len() > before.len() + 1);
    assert_eq!(host.batches()[before.len()].header.facts.kind, BatchKind::Start);
    fs::write(host.path("log.ndjson"), after.concat()).unwrap();
    for (code, said) in verified(&host, &host.path("log.ndjson"), 1) {
        assert_eq!(code, Some(0), "{said}");
    }
    let aside = fs::read_dir(spool.join("quarantine")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(aside.into_iter().any(|name| name.to_string_lossy().ends_with(".tail")), "the torn tail is gone");

    // the cursor and the quarantine were understood: nothing comes twice, and what was refused comes again
    let mut numbers = Vec::new();
    for body in nginx.accepted() {
        let body = zstd::decode_all(&*fs::read(body).unwrap()).unwrap();
        if body == poison {
            numbers.push(REFUSED);
            continue;
        }
        let seals = body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"sigtrail\":\"seal/"));
        numbers.extend(seals.map(|line| number_in(line).unwrap()));
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq([REFUSED].into_iter().chain(DELIVERED + 1..=after.len() as u64)), "{numbers:?}");
}

/// A raised digit in the magic of the chain: neither a start, nor another enrolment, nor a repair touches anything.
#[test]
fn the_state_of_a_later_version_is_left_alone() {
    let host = host("");
    let path = host.path("state/chain");
    let slots = fs::read(&path).unwrap();
    let at = slots.chunks(4096).position(|slot| slot.starts_with(b"STSTATE1")).unwrap() * 4096;
    let chain = fs::File::options().write(true).open(&path).unwrap();
    chain.write_all_at(b"STSTATE2", at as u64).unwrap();
    refused(&host, "a newer version of sigtrail");
    for words in [&["enroll", "--again"][..], &["spool", "repair", "--apply"]] {
        let before = crate::state::snapshot(&host.path("state"));
        let ran = run(Command::new(sigtrail()).args(words).arg("--config").arg(host.path("sigtrail.yaml")));
        assert!(ran.code != Some(0) && ran.err.contains("a newer version of sigtrail"), "{words:?}: {ran:?}");
        assert!(crate::state::snapshot(&host.path("state")) == before, "{words:?} wrote something");
    }
}

/// A seal, a header and a header line of a later format: both verifiers say no, and the first why.
#[test]
fn the_seals_of_a_later_format_are_refused_with_the_reason() {
    let host = host("");
    let log = String::from_utf8(bytes(&host.path("state/spool")).concat()).unwrap();
    for (what, from, to, words) in [
        ("seal", r#"{"sigtrail":"seal/v1""#, r#"{"sigtrail":"seal/v2""#, "newer version of sigtrail"),
        ("header", r"sigtrail/batch/v1\n", r"sigtrail/batch/v2\n", "newer version of sigtrail"),
        ("line", r"\nlost 0\n", r"\nfuture 1\nlost 0\n", "`lost`"),
    ] {
        assert!(log.contains(from), "{what}");
        host.write("log.ndjson", &log.replace(from, to));
        let [(code, said), (second, _)] = verified(&host, &host.path("log.ndjson"), 1);
        assert_eq!((code, second), (Some(1), Some(1)), "{what}: {said}");
        assert!(said.contains(words), "{what}: {said}");
    }
}
