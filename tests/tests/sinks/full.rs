//! A disk that is full, and then is not.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sigtrail::sink::FileConfig;
use sigtrail::spool::{Appended, Next, Spool, SpoolError};

use crate::{Host, batch, batches, file_sink, files, options, text};

/// A file system of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs: run it as root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazy: a sink that is gone may still tidy up
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Writes to a file until the disk is full.
fn fill(path: &Path) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[7; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

/// C6: the disk is full while the sinks are down, then it is not.
#[tokio::test]
async fn a_full_disk_costs_the_oldest_and_says_which() {
    let mut host = Host::new();
    let disk = SmallDisk::mount(host.path("disk"), "1m");
    let at = disk.0.join("spool");
    // Bytes that do not compress.
    let noise = |number: u64| {
        let mut state = number + 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..2500).flat_map(next).chain(batch(number)).collect::<Vec<u8>>()
    };
    let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut spool, _) = Spool::open(options(&at)).unwrap();
    let mut evicted = 0;
    for number in 0..200 {
        let bytes = noise(number);
        for range in spool.append(number, &bytes).unwrap().evicted {
            assert_eq!(range.from, evicted);
            evicted = range.to + 1;
        }
        kept.push((number, bytes));
    }
    assert!(evicted > 100 && evicted < 190, "{evicted}");
    // Another fills what is left: the spool gives what it has, then refuses, then goes on as if nothing had been.
    let mut number = 200;
    let mut ballast_used = false;
    loop {
        fill(&disk.0.join("other"));
        let bytes = noise(number);
        match spool.append(number, &bytes) {
            Ok(done) => {
                evicted = done.evicted.last().map_or(evicted, |range| range.to + 1);
                ballast_used |= done.ballast_used;
                kept.push((number, bytes));
                number += 1;
            }
            Err(SpoolError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ballast_used || !at.join("ballast").exists());
    fs::remove_file(disk.0.join("other")).unwrap();
    let bytes = noise(number);
    let done = spool.append(number, &bytes).unwrap();
    evicted = done.evicted.last().map_or(evicted, |range| range.to + 1);
    kept.push((number, bytes));
    drop(spool);
    let (spool, recovery) = Spool::open(options(&at)).unwrap();
    assert_eq!((recovery.last.unwrap().number, recovery.cut), (number, 0));
    let mut reader = spool.reader(Some(0));
    let mut expected = kept.into_iter().filter(|(number, _)| *number >= evicted);
    assert_eq!(reader.next().unwrap(), Next::Gap { from: 1, to: evicted - 1 });
    while let Next::Batch(found) = reader.next().unwrap() {
        let (number, bytes) = expected.next().unwrap();
        assert!(found.number == number && found.bytes == bytes, "{number}");
    }
    assert!(expected.next().is_none());

    // A file sink on the full disk waits, one on another disk does not.
    fill(&disk.0.join("other"));
    host.append(0..10);
    let config = FileConfig { dir: disk.0.join("log"), ..FileConfig::default() };
    let waiting = host.deliver(file_sink("full", config));
    let other = host.deliver(file_sink("other", files(&host)));
    other.delivered(9).await;
    waiting.trouble("No space left").await;
    fs::remove_file(disk.0.join("other")).unwrap();
    waiting.delivered(9).await;
    assert_eq!(text(&fs::read(disk.0.join("log/audit.ndjson")).unwrap()), text(&batches(0..10)));
    for running in [waiting, other] {
        running.task.abort();
        assert!(running.task.await.is_err());
    }
}

/// A disk that another fills: the sink gives its oldest files away in time, and then waits; no other sink does.
#[tokio::test]
async fn a_sink_makes_room_for_itself_and_stops_no_other() {
    let mut host = Host::new();
    let disk = SmallDisk::mount(host.path("disk"), "1m");
    let config = FileConfig {
        dir: disk.0.join("log"),
        rotate_bytes: 64 << 10,
        compress: false,
        min_free: 512 << 10,
        ..FileConfig::default()
    };
    let small = host.deliver(file_sink("small", config));
    let other = host.deliver(file_sink("other", files(&host)));
    // three times what the disk has, of which few bytes are seals
    let large = |number: u64| [b"{\"type\":\"exec\"}\n".repeat(1000), batch(number)].concat();
    let last = 3 * (1 << 20) / large(0).len() as u64;
    for number in 0..=last {
        assert_eq!(host.spool.append(number, &large(number)).unwrap(), Appended::default());
        host.head.send_replace(Some(number));
        small.delivered(number).await;
    }
    let report = other.delivered(last).await;
    assert_eq!((report.retries, report.trouble), (0, None));
    let log = fs::read_dir(disk.0.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let seals = log.iter().filter(|path| path.extension().is_some_and(|end| end == "seals")).count();
    assert!(seals > 20, "{seals}");

    // nothing more to give: it waits, and goes on where it was
    fill(&disk.0.join("other"));
    host.append(last + 1..last + 40);
    other.delivered(last + 39).await;
    small.trouble("No space left").await;
    fs::remove_file(disk.0.join("other")).unwrap();
    small.delivered(last + 39).await;
    let all: Vec<u8> = (0..=last).flat_map(large).chain(batches(last + 1..last + 40)).collect();
    assert!(fs::read(host.path("log/audit.ndjson")).unwrap() == all);
}
