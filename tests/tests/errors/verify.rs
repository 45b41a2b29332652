//! Logs that are damaged, and calls of the verifier that make no sense.

use std::{fs, path::Path, process::Command};

use tests::host::{Host, Ran, run, sigtrail, verifier};

/// Both verifiers say the same.
fn verify(args: &[&str], dir: &Path) -> Ran {
    let alone = run(Command::new(verifier()).args(args).current_dir(dir));
    let agent = run(Command::new(sigtrail()).arg("verify").args(args).current_dir(dir));
    assert_eq!((alone.code, &alone.out), (agent.code, &agent.out), "{args:?}");
    alone
}

#[test]
fn what_is_wrong_with_a_log_is_told_by_code_and_place() {
    let host = Host::new("sinks: []");
    let config = fs::read_to_string(host.path("sigtrail.yaml")).unwrap();
    host.write("sigtrail.yaml", &config.replace("sinks: []", &format!("sinks: [{}]", host.file_sink("log"))));
    let agent = host.start();
    host.touch("a");
    tests::host::until("a batch with it", || {
        let sealed = host.batches();
        sealed.iter().any(|batch| !batch.of_kind("open").is_empty()).then_some(())
    });
    assert_eq!(agent.stop().0, Some(0));
    let whole = fs::read(host.path("log/audit.ndjson")).unwrap();
    let segment = fs::read(&host.segments()[0]).unwrap();
    let stranger = Host::new("");
    let enrolled = run(&mut stranger.command("enroll"));
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");

    let dir = host.path("cases");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    let save = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    save("whole", &whole);
    save("nothing", b"");
    save("garbage", b"no key\n");
    save("text", b"Dear auditor,\n");
    save("segment.stl", &segment);
    save("cut.stl", &segment[..segment.len() - 7]);
    save("cut", &whole[..whole.len() - 7]);
    let mut flipped = whole.clone();
    let at = memmem(&whole, b"load/a").unwrap();
    flipped[at] ^= 1;
    save("flipped", &flipped);
    let mut lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    // of batch 1, which has more lines: a batch without any is one that was cut out, and told as such
    lines.remove(lines.iter().position(|line| memmem(line, b"\"agent.start\"").is_some()).unwrap());
    save("without a line", &lines.concat());
    let seals: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let is_seal = |line: &&[u8]| line.starts_with(b"{\"sigtrail\":");
    let second = seals.iter().enumerate().filter(|(_, line)| is_seal(line)).nth(1).unwrap().0;
    let first = seals.iter().position(is_seal).unwrap();
    save("without a batch", &[&seals[..=first], &seals[second + 1..]].concat().concat());
    save("without the beginning", &seals[first + 1..].concat());

    let key = host.path("state/host.vkey");
    let other = stranger.path("state/host.vkey");
    let (key, other) = (key.to_str().unwrap(), other.to_str().unwrap());
    let number = host.batches().iter().find(|it| !it.of_kind("open").is_empty()).unwrap().header.batch;
    let check = |args: &[&str], code: i32, words: &str| {
        let ran = verify(args, &dir);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        let said = ran.out + &ran.err;
        assert!(said.contains(words), "{args:?}: `{words}` is not in {said}");
    };
    check(&["whole", "--key", key], 0, "VERIFIED");
    check(&["whole"], 0, "not pinned");
    // delivered batches may be gone from the spool
    let from = host.batches()[0].header.batch.to_string();
    check(&["segment.stl", "--key", key, "--from", &from], 0, "VERIFIED");
    check(&["flipped", "--key", key], 1, &format!("flipped: batch {number}, line"));
    check(&["without a line", "--key", key], 1, "without a line: batch 1, line");
    check(&["whole", "--key", other], 1, "is not one of the expected host key");
    check(&["cut", "--key", key], 2, "unsealed lines at the end, the last one cut off");
    check(&["cut.stl", "--key", key, "--from", &from], 2, "cannot be read further");
    check(&["without a batch", "--key", key], 2, "missing");
    check(&["without the beginning", "--key", key], 2, "what was before is not there");
    check(&["nothing", "--key", key], 2, "no sealed batch");
    check(&["text", "--key", key], 2, "not a sealed log");
    check(&["empty", "--key", key], 3, "no files in the directory");
    check(&["missing", "--key", key], 3, "cannot read missing");
    check(&["whole", "--key", "garbage"], 3, "--key garbage");
    check(&["whole", "--key", "AAAA"], 3, "--key AAAA");
    check(&["whole", "--known-head", "no head"], 3, "--known-head no head");
    check(&[], 3, "required");
}

fn memmem(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
