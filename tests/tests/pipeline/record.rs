//! Makes the golden streams: a small program does every kind of thing under `tail --record`.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use common::{Body, Event, Kind, wire::Id};
use nix::{sys::signal::Signal, unistd::Pid};
use tests::host::sigtrail;

use crate::stream;

/// The program and its files: a name that says nothing about the machine it was recorded on.
const DIR: &str = "/tmp/sigtrail-golden";
/// The part of it that tells its opens from those of the interpreter.
const NAME: &str = "sigtrail-golden";
/// Not more than this many events of a kind.
const MOST: usize = 8;

/// Each kind at least once, in each of its shapes.
const WORK: &str = include_str!("../../golden/work.py");

#[test]
#[ignore = "writes golden/*.events from what this kernel sends (as root, with python3), if SIGTRAIL_RECORD is 1 or names of kinds"]
fn record() {
    let Ok(asked) = env::var("SIGTRAIL_RECORD") else { return };
    let is_asked = |kind: &&Kind| asked == "1" || asked.split(',').any(|name| name == kind.name());
    let dir = Path::new(DIR);
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap();
    }
    fs::create_dir(dir).unwrap();
    let (work, kept) = (dir.join("work.py"), tempfile::tempdir().unwrap());
    fs::write(&work, WORK).unwrap();
    let kept = kept.path().join("all");

    let mut recorder = Command::new(sigtrail());
    recorder.args(["tail", "--all", "--record"]).arg(&kept).stderr(Stdio::piped());
    let mut recorder = recorder.spawn().unwrap();
    let mut said = BufReader::new(recorder.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("recording") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the recorder ended");
    }
    let mut worker = Command::new("/usr/bin/python3");
    let mut worker = worker.arg("-I").arg(&work).current_dir(dir).env_clear().stdin(Stdio::piped()).spawn().unwrap();
    let pid = worker.id();
    worker.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(worker.wait().unwrap().success());
    // it looks every 50 ms, and a stream is whole only between looks: this is no test
    thread::sleep(Duration::from_millis(500));
    nix::sys::signal::kill(Pid::from_raw(recorder.id().cast_signed()), Signal::SIGINT).unwrap();
    recorder.wait().unwrap();
    fs::remove_dir_all(dir).unwrap();

    let mut ours = BTreeSet::from([pid]);
    let mut events: Vec<_> = stream::read(&kept).into_iter().filter(|bytes| is_ours(bytes, pid, &mut ours)).collect();
    // the other lane may be ahead
    for (place, begin) in [Kind::Fork, Kind::Exec].into_iter().enumerate() {
        let at = events.iter().position(|event| decode(event).kind() == begin).unwrap();
        events[place..=at].rotate_right(1);
    }
    for kind in Kind::ALL.iter().filter(is_asked).filter(|kind| **kind != Kind::CredChange) {
        let mut left = MOST;
        let mut chosen: Vec<_> = events[..2].to_vec();
        for event in &events[2..] {
            let is = decode(event).kind();
            let of_kind =
                is == *kind && (is != Kind::Open || event.windows(NAME.len()).any(|part| part == NAME.as_bytes()));
            // a process begins with a fork
            let is_begin = is == Kind::Fork && [Kind::Exec, Kind::Exit].contains(kind);
            // and may end with other ids
            let is_change = *kind == Kind::Exit && [Kind::Setid, Kind::Namespace].contains(&is);
            if left > 0 && (of_kind || is_begin || is_change) {
                left -= usize::from(of_kind);
                chosen.push(event.clone());
            }
        }
        // those of whom nothing more is told
        while *kind != Kind::Fork && chosen.len() > 2 && chosen.last().is_some_and(|it| decode(it).kind() == Kind::Fork)
        {
            chosen.pop();
        }
        stream::number(&mut chosen);
        stream::write(&stream::golden(*kind, "events"), &chosen);
    }
    if is_asked(&&Kind::CredChange) {
        stream::write(&stream::golden(Kind::CredChange, "events"), &changed(&events));
    }
}

/// No event of the kernel half is a change of credentials that no call made: it would take a hole in the kernel. So
/// this stream is edited: a real fork and a real call of the child, as root did them, of which the fork is made nobody's.
fn changed(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let worker = decode(&events[1]).header.pid;
    let is_call = |event: &Event<'_>| event.kind() == Kind::MemfdCreate && event.header.pid == worker;
    let call = events[2..].iter().find(|event| is_call(&decode(event)));
    let mut chosen = vec![events[0].clone(), call.unwrap().clone()];
    stream::change(&mut chosen[0], |header| {
        for id in [&mut header.uid, &mut header.euid, &mut header.suid, &mut header.fsuid] {
            *id = Id(65534);
        }
    });
    stream::number(&mut chosen);
    chosen
}

/// Whether an event is of the program or of one that it started; the fork that made it counts.
fn is_ours(bytes: &[u8], pid: u32, ours: &mut BTreeSet<u32>) -> bool {
    let event = decode(bytes);
    if let Body::Fork(fork) = event.body
        && (ours.contains(&event.header.pid) || fork.child_pid == pid)
    {
        ours.insert(fork.child_pid);
        return true;
    }
    ours.contains(&event.header.pid)
}

fn decode(bytes: &[u8]) -> Event<'_> {
    Event::decode(bytes).unwrap()
}
