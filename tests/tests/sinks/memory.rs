//! D4: a large backlog waits on the disk, not in memory: while its sink is dead, and while it is delivered.

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use sigtrail::batch::Limits;
use sigtrail::clock::Now;
use sigtrail::pipeline::{Closed, Log, LogOptions};
use sigtrail::source::Own;
use sigtrail::spool;
use tests::host::{Agent, Host, run};
use tests::nginx::{self, Nginx};

/// Most memory of the agent, and most open files, less those of the kernel half (maps, programs, links: about 150).
const MEMORY: u64 = 96 << 20;
const FILES: usize = 128;
/// Longest time for all of it.
const LONG: Duration = Duration::from_mins(10);

/// What the agent takes at most, as far as it was looked at.
#[derive(Debug, Default)]
struct Most {
    memory: u64,
    files: usize,
    bpf: usize,
}

impl Most {
    fn look(&mut self, agent: &Agent) {
        let at = |name: &str| format!("/proc/{}/{name}", agent.pid());
        let status = fs::read_to_string(at("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        self.memory = self.memory.max(resident.unwrap().parse::<u64>().unwrap() << 10);
        let open = fs::read_dir(at("fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let (bpf, files): (Vec<_>, Vec<_>) = open.partition(|to| to.to_string_lossy().contains("bpf"));
        (self.bpf, self.files) = (self.bpf.max(bpf.len()), self.files.max(files.len()));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Seals a spool of so many bytes with the keys of this host. The number of the last batch.
fn seal(host: &Host, bytes: u64) -> u64 {
    let limits = Limits { age: LONG, alert_age: LONG, lines: 10_000, bytes: 2 << 20, heartbeat: LONG };
    let spool = spool::Options {
        min_free: 0,
        max_bytes: 4 << 30,
        sync: spool::Sync::Never,
        ..spool::Options::new(host.path("state/spool"))
    };
    let now = || Now::read().unwrap();
    let mut log = Log::open(LogOptions { state_dir: host.path("state"), spool, limits }, now()).unwrap();
    let mut kind = log.first_kind();
    let size = || host.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    let mut random = fastrand::Rng::with_seed(1);
    // of 6 bits a byte, and no two the same in a batch: little of it can be compressed
    let mut noise = || std::iter::repeat_with(|| random.alphanumeric()).take(200_000).collect::<String>();
    let noise: Vec<Own> =
        std::iter::repeat_with(|| Own::Degraded { program: "x", kinds: Vec::new(), why: noise() }).take(20).collect();
    while size() < bytes {
        for own in noise.iter().cycle() {
            if log.is_full() {
                break;
            }
            log.own(own, now()).unwrap();
        }
        log.seal(kind, &Closed::default(), [0; 32], Vec::new(), &[], now()).unwrap();
        log.store().unwrap();
        kind = log.due_kind();
    }
    log.last()
}

fn waits_on_the_disk(backlog: u64) {
    let host = Host::new("spool: { min_free: 0 }");
    let made = run(&mut host.command("enroll"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let began = Instant::now();
    let last = seal(&host, backlog);
    println!("{} MiB in {last} batches, sealed in {:.1?}", backlog >> 20, began.elapsed());
    let dir = host.path("nginx");
    fs::create_dir(&dir).unwrap();
    nginx::ca::write(&dir).unwrap();
    // a receiver that takes connections and says nothing
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let ca = dir.join("ca.pem").display().to_string();
    let sink = format!("url: 'https://127.0.0.1:{port}/', ca_file: {ca}, connect_timeout: 500ms");
    host.configure(&format!("sinks:\n  - {{ type: http, name: a, {sink} }}\n  - {{ type: http, name: b, {sink} }}"));
    let agent = host.start();
    let mut most = Most::default();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        most.look(&agent);
    }
    println!("while its sinks are dead: {} MiB, {} files and {} of eBPF", most.memory >> 20, most.files, most.bpf);
    drop(silent);
    let options = nginx::Options { port, ..nginx::Options::default() };
    let nginx = Nginx::start(&dir, &options).unwrap();
    let late = Instant::now() + LONG;
    // how often each batch was accepted; each of two sinks delivers it once
    let times = || {
        let mut times = vec![0; last as usize + 1];
        for line in nginx.requests().iter().filter(|line| line.starts_with("204 ")) {
            let (from, to) = line.split(' ').nth(1).unwrap().split_once('-').unwrap();
            let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
            (from..=to.min(last)).for_each(|number| times[number as usize] += 1);
        }
        times
    };
    while times().contains(&0) || times().contains(&1) {
        assert!(Instant::now() < late, "not delivered");
        for _ in 0..10 {
            most.look(&agent);
        }
    }
    println!("while it is delivered: {} MiB, {} files at most", most.memory >> 20, most.files);
    assert!(times().iter().all(|times| *times == 2), "{:?}", times());
    let (code, said) = agent.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(most.memory < MEMORY && most.files < FILES, "{most:?}");
}

#[test]
fn a_quarter_of_a_gibibyte_waits_on_the_disk() {
    waits_on_the_disk(256 << 20);
}

#[test]
#[ignore = "takes minutes, and 4 GiB of disk"]
fn a_gibibyte_waits_on_the_disk() {
    waits_on_the_disk(1 << 30);
}
