//! The state directory after a crash, a restore, and damage.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use seal::BatchKind;
use tests::host::{Host, run, until};

/// What the agent says to a spool and a state that do not belong together.
const FORK: &str = "does not follow from the state of the chain";

/// A host whose agent has sealed some batches and stopped.
fn stopped(host: Host) -> Host {
    let agent = host.start();
    for name in ["a", "b", "c"] {
        host.touch(name);
        seal_next(&host);
    }
    assert_eq!(agent.stop().0, Some(0));
    host
}

/// Waits until another batch is sealed.
fn seal_next(host: &Host) {
    let last = || host.status()["last_batch"].as_u64().unwrap();
    let now = last();
    until("the next batch", || (last() > now).then_some(()));
}

/// Runs the agent until it seals, and stops it.
fn one_run(host: &Host) {
    let (code, said) = host.start().stop();
    assert_eq!(code, Some(0), "{said}");
}

/// The agent must not run here, and must not write anything.
pub fn refused(host: &Host, words: &str) {
    let before = snapshot(&host.path("state"));
    let (code, said) = host.launch().end();
    assert!(matches!(code, Some(1 | 3)), "{code:?}: {said}");
    assert!(said.lines().last().unwrap().contains(words), "`{words}` is not in: {said}");
    assert!(snapshot(&host.path("state")) == before, "it wrote something");
}

/// All files of the log, with their bytes. The ballast of the spool is none.
pub fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = run(Command::new("find").arg(dir).args(["-type", "f", "-not", "-name", "ballast"]));
    let mut files: Vec<PathBuf> = listed.out.lines().map(PathBuf::from).collect();
    files.sort_unstable();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Kills the agent and puts back the chain as it was before its last batch: so it is after a crash between the append
/// and the write of the state. The number of that batch.
fn crashed(host: &Host) -> u64 {
    let chain = host.path("state/chain");
    let agent = host.start();
    let last = || host.batches().last().unwrap().header.batch;
    loop {
        let (before, batch) = (fs::read(&chain).unwrap(), last());
        seal_next(host);
        // it must not seal while its files are looked at
        agent.signal(Signal::SIGSTOP);
        let now = last();
        if now == batch + 1 {
            agent.kill();
            fs::write(&chain, before).unwrap();
            return now;
        }
        agent.signal(Signal::SIGCONT);
    }
}

#[test]
fn a_batch_that_the_state_does_not_know_yet_is_gone_over() {
    let host = Host::new("");
    let last = crashed(&host);
    one_run(&host);
    let batches = host.batches();
    let after = &batches[last as usize + 1];
    assert_eq!((after.header.batch, after.header.facts.kind), (last + 1, BatchKind::Recovered));
    host.verified();
}

#[test]
fn an_older_state_is_refused() {
    let host = stopped(Host::new(""));
    let old = fs::read(host.path("state/chain")).unwrap();
    // a run has two batches at least, start and stop
    one_run(&host);
    fs::write(host.path("state/chain"), old).unwrap();
    refused(&host, FORK);
    host.verified();
}

#[test]
fn a_spool_from_elsewhere_is_refused() {
    let [host, namesake, other] = [(); 3].map(|()| Host::new(""));
    let config = fs::read_to_string(other.path("sigtrail.yaml")).unwrap();
    other.write("sigtrail.yaml", &config.replace("test.example.org", "other.example.org"));
    for host in [&host, &namesake, &other] {
        assert_eq!(run(&mut host.command("enroll")).code, Some(0));
    }
    let refused_with = |spool: &Host| {
        fs::remove_dir_all(host.path("state/spool")).unwrap();
        let copy = run(Command::new("cp").arg("-a").args([spool.path("state/spool"), host.path("state/spool")]));
        assert_eq!(copy.code, Some(0));
        refused(&host, FORK);
    };
    let own = fs::canonicalize(host.path("state")).unwrap().with_extension("own");
    let copy = run(Command::new("cp").arg("-a").args([host.path("state/spool"), own.clone()]));
    assert_eq!(copy.code, Some(0));
    // as long as the log of the state, then longer, then shorter
    refused_with(&namesake);
    refused_with(&other);
    one_run(&namesake);
    refused_with(&namesake);
    fs::remove_dir_all(host.path("state/spool")).unwrap();
    fs::rename(own, host.path("state/spool")).unwrap();
    one_run(&host);
    refused_with(&other);
}

#[test]
fn damaged_keys_are_refused() {
    let host = stopped(Host::new(""));
    let check = |name: &str, bytes: &[u8], words: &str| {
        let path = host.path("state").join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let (code, said) = host.launch().end();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.lines().last().unwrap().contains(words), "`{words}` is not in: {said}");
        fs::write(&path, whole).unwrap();
    };
    check("chain", &[], "state/chain");
    check("chain", &[0; 8192], "neither state slot holds a state");
    check("chain", &[7; 8192], "state/chain");
    check("keys/host", b"", "is no host key");
    check("keys/host", b"AAAA\n", "is no host key");
    one_run(&host);
    host.verified();
}

#[test]
fn a_second_agent_is_refused() {
    let host = Host::new("");
    let agent = host.start();
    let (code, said) = host.launch().end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.lines().last().unwrap().contains("another agent uses"), "{said}");
    // the first one goes on, and answers
    host.touch("a");
    seal_next(&host);
    assert_eq!(agent.stop().0, Some(0));
    host.verified();
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let host = Host::new("");
    // of the last batch: a byte, the head of its record, half of it, all but a little
    let torn = [(0, 1), (1, 9), (1, 2), (9, 10)].map(|(part, of)| {
        let last = crashed(&host);
        let segment = host.segments().pop().unwrap();
        let bytes = fs::read(&segment).unwrap();
        let start = last_record(&bytes);
        let kept = 1 + (bytes.len() - start) * part / of;
        fs::write(&segment, &bytes[..start + kept]).unwrap();
        (last, kept)
    });
    one_run(&host);
    let batches = host.batches();
    for (last, kept) in torn {
        let after = &batches[last as usize];
        assert_eq!((after.header.batch, after.header.facts.kind), (last, BatchKind::Recovered));
        let told = after.of_kind("agent.recovered");
        assert_eq!((&told[0]["cut_bytes"], &told[0]["last_batch"]), (&kept.into(), &(last - 1).to_string().into()));
    }
    host.verified();
}

/// Where the last record of a segment begins.
fn last_record(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let (_, _, rest) = seal::frame::read(&bytes[at..]).unwrap();
        if rest.is_empty() {
            return at;
        }
        at = bytes.len() - rest.len();
    }
}

#[test]
fn a_flipped_byte_in_the_spool_is_found_and_does_not_stop_the_agent() {
    let host = stopped(Host::new(""));
    let segment = host.segments().remove(0);
    let file = fs::OpenOptions::new().read(true).write(true).open(&segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 100).unwrap();
    let (code, report) = host.verify(&host.segments());
    assert_ne!(code, 0, "{report:#}");
    one_run(&host);
}
