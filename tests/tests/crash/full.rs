//! C6 with a running agent: the disk of the spool is full while three receivers are down, and then they are not.

use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

use serde_json::Value;
use tests::{
    host::{Host, Sealed, sealed, until},
    nginx::{self, Nginx},
};

use crate::{handover, kill::received};

/// A small file system, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]).arg(&path).status();
        assert!(mount.unwrap().success(), "this test mounts a small tmpfs: run it as root");
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || thread::panicking());
    }
}

/// With `drop_newest` the first events stay, the critical ones get in, the others are counted: what was made is what is in the
/// log and what it says it lacks. And then there is room again.
#[test]
fn a_full_disk_costs_new_files_and_counts_each() {
    let host = handover::host(
        "spool: { segment_bytes: 64KiB, max_bytes: 64MiB, min_free: 0, when_full: drop_newest }\nkernel: { pin: no }",
    );
    let _disk = Disk::mount(host.path("state"));
    let receivers = ["one", "two", "three"].map(|name| {
        fs::create_dir(host.path(name)).unwrap();
        let options = nginx::Options { tls: nginx::Tls::No, ..nginx::Options::default() };
        let nginx = Nginx::start(&host.path(name), &options).unwrap();
        nginx.set_busy(true).unwrap();
        (name, nginx)
    });
    let sinks =
        receivers.each_ref().map(|(name, nginx)| format!("  - {{ type: http, name: {name}, url: '{}' }}", nginx.url()));
    host.configure(&format!("sinks:\n{}", sinks.join("\n")));
    let agent = host.start();

    let mut made = 0;
    let mut load = |count: u64| {
        for _ in 0..count {
            // names that do not compress
            let file = host.path(&format!("load/{made}-{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..)));
            fs::write(&file, "").unwrap();
            fs::remove_file(&file).unwrap();
            made += 1;
        }
    };
    let lost = || host.status()["total"]["lost"].as_u64().unwrap();
    until("a full disk", || {
        load(500);
        (lost() > 0).then_some(())
    });
    for number in 0..20 {
        let ran = Command::new(host.path("load/prog")).arg(number.to_string()).status();
        assert!(ran.unwrap().success());
    }
    load(500);
    for (_, nginx) in &receivers {
        nginx.set_busy(false).unwrap();
    }
    let all_have_all = || host.status()["sinks"].as_array().unwrap().iter().all(|sink| sink["lag"] == 0);
    until("all to be delivered", || all_have_all().then_some(()));
    let kept = || host.status()["total"]["kept"].as_u64().unwrap();
    until("room for all events", || {
        let before = kept();
        load(10);
        // the state is published once a second
        thread::sleep(Duration::from_millis(1200));
        (kept() >= before + 20).then_some(())
    });
    assert_eq!(agent.stop().0, Some(0));

    for (name, nginx) in &receivers {
        let log = received(nginx);
        host.write("received.ndjson", &String::from_utf8(log.concat()).unwrap());
        let (code, report) = host.verify(&[host.path("received.ndjson")]);
        assert_eq!((code, &report["verdict"]), (0, &Value::from("verified")), "{name}: {report:#}");
        let log: Vec<Sealed> = log.iter().map(|batch| sealed(batch)).collect();
        account(&host, &log, made);
    }
}

/// Two events for each file that was made: told, merged, or counted as lost, in the record and in the header.
fn account(host: &Host, log: &[Sealed], made: u64) {
    let load = format!("{}/", host.path("load").display());
    let (mut told, mut merged, mut lost) = (0, 0, 0);
    for batch in log {
        let files = ["open", "unlink"].into_iter().flat_map(|kind| batch.of_kind(kind));
        told += files.filter(|line| line["path"].as_str().unwrap().starts_with(&load)).count() as u64;
        let count = |line: &&Value| line["count"].as_str().unwrap().parse::<u64>().unwrap();
        merged += batch.of_kind("summary").iter().map(count).sum::<u64>();
        let causes = batch.of_kind("agent.lost");
        assert!(causes.iter().all(|line| line["cause"] == "spool_full"), "{causes:?}");
        let here = causes.iter().map(count).sum::<u64>();
        assert_eq!(here, batch.header.facts.lost);
        assert!(batch.header.facts.gaps.is_empty(), "{:?}", batch.header.facts.gaps);
        lost += here;
    }
    assert_eq!(told + merged + lost, 2 * made, "{told} told, {merged} merged, {lost} lost");
    let runs = log.iter().flat_map(|batch| batch.of_kind("exec")).count();
    assert!(lost > 0 && runs == 20, "{lost} lost, {runs} runs");
    // the last files found room
    assert_eq!(log.last().unwrap().header.facts.lost, 0);
    println!("{told} told, {merged} merged, {lost} counted");
}
