//! What one event costs in the hot half, stage by stage: `cargo xtask bench --replay`.
//!
//! Recorded events pass again and again, each time with other times, numbers and inodes. The time is that of this
//! thread, so other load on the machine counts little. No kernel, no rights, no disk. `unpack` is the delivery's part.
//!
//! `cargo bench -p tests --bench replay -- 200000 FILE…` takes other streams (`sigtrail tail --record`) and another
//! number of events. Under `valgrind --tool=callgrind` it counts instructions, and so says the same on any machine that
//! is not quiet; but valgrind knows no SHA instructions, so `hash` is not that of a real run there.
#![expect(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::{
    hint::black_box,
    mem,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Event, Header, Prefix};
use nix::time::{ClockId, clock_gettime};
use seal::Lines;
use sigtrail::{
    clock::{Now, Stamp},
    enrich::Enrich,
    policy::{Policy, Scratch},
    record::{Record, Verdict, json},
    source::Replay,
    spool::frame,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// The golden streams that have what a workload of `cargo xtask bench` does.
const STREAMS: &[(&str, &[&str])] =
    &[("file", &["open", "rename", "chmod", "unlink"]), ("exec", &["exec"]), ("tcp", &["connect", "accept", "bind"])];

/// Events of a stream, if the command line says no other number.
const EVENTS: usize = 1_000_000;

/// Events that pass at once: about what one seal covers.
const BATCH: usize = 2048;

/// How far an event goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Decode,
    Enrich,
    Policy,
    Line,
    Hash,
    Compress,
    Unpack,
}

const STAGES: [(Stage, &str); 7] = [
    (Stage::Decode, "decode"),
    (Stage::Enrich, "enrich"),
    (Stage::Policy, "policy"),
    (Stage::Line, "line"),
    (Stage::Hash, "hash"),
    (Stage::Compress, "compress"),
    (Stage::Unpack, "unpack"),
];

/// What is kept from one event to the next.
struct Half {
    enrich: Enrich,
    policy: Policy,
    scratch: Scratch,
    stamp: Stamp,
    writer: json::Writer,
    encoder: frame::Encoder,
    lines: Vec<u8>,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
    kept: usize,
}

fn main() {
    let number = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(EVENTS);
    println!("ns of CPU per event");
    println!("| events | {} | sum | kept | bytes of a line | compressed |", STAGES.map(|(_, name)| name).join(" | "));
    println!("|{}", "---|".repeat(STAGES.len() + 5));
    let files: Vec<_> = std::env::args().skip(1).filter(|arg| Path::new(arg).is_file()).collect();
    for file in &files {
        println!("| {file} {}", row(read(Path::new(file)), number));
    }
    for (name, kinds) in STREAMS.iter().filter(|_| files.is_empty()) {
        let events = kinds.iter().flat_map(|kind| read(&golden(kind))).collect();
        println!("| {name} {}", row(events, number));
    }
}

/// Each stage is what the way up to it costs, less what the way up to the one before it costs.
fn row(mut events: Vec<Vec<u64>>, number: usize) -> String {
    let mut half = Half::new();
    let mut times = [Duration::ZERO; STAGES.len()];
    let (mut passed, mut kept, mut bytes, mut packed) = (0, 0, 0, 0);
    let count = events.len();
    while passed < number {
        let batch: Vec<_> = (passed..passed + BATCH)
            .map(|number| {
                let event = &mut events[number % count];
                renew(event, number);
                event.clone()
            })
            .collect();
        for (time, (stage, _)) in times.iter_mut().zip(STAGES) {
            let before = cpu();
            half.pass(&batch, stage);
            *time += cpu().saturating_sub(before);
        }
        passed += batch.len();
        kept += half.kept;
        bytes += half.lines.len();
        packed += half.packed.len();
    }
    let nanos = |time: Duration| time.as_nanos() as f64 / passed as f64;
    let mut before = 0.0;
    let stages = times.map(|time| format!("{:.0}", nanos(time) - std::mem::replace(&mut before, nanos(time))));
    let each = |sum: usize| sum as f64 / kept as f64;
    let share = 100 * kept / passed;
    format!("| {} | {before:.0} | {share} % | {:.0} | {:.1} |", stages.join(" | "), each(bytes), each(packed))
}

impl Half {
    fn new() -> Self {
        let mut stamp = Stamp::default();
        stamp.set(Now { boot: 0, wall: 1_795_376_805_000_000_007 });
        Self {
            enrich: Enrich::of_events().unwrap(),
            policy: Policy::parse(&[("default", Policy::default_text())]).unwrap(),
            scratch: Scratch::default(),
            stamp,
            writer: json::Writer::default(),
            encoder: frame::Encoder::new().unwrap(),
            lines: Vec::new(),
            packed: Vec::new(),
            unpacked: Vec::new(),
            kept: 0,
        }
    }

    /// Takes the events as far as `end`.
    fn pass(&mut self, batch: &[Vec<u64>], end: Stage) {
        self.lines.clear();
        self.packed.clear();
        self.kept = 0;
        let mut lines = Lines::new();
        for event in batch {
            let event = Event::decode(event.as_bytes()).unwrap();
            if end < Stage::Enrich {
                black_box(event);
                continue;
            }
            let context = self.enrich.context(&event);
            if end < Stage::Policy {
                black_box(context);
                continue;
            }
            let record = Record { event, context };
            let judgement = self.policy.judge(&record, &mut self.scratch);
            if black_box(judgement).verdict == Verdict::Drop || end < Stage::Line {
                continue;
            }
            let start = self.lines.len();
            let time = self.stamp.text(event.header.ktime);
            self.writer.line(&record, judgement, time, &mut self.lines);
            if end >= Stage::Hash {
                lines.push(&self.lines[start..]).unwrap();
            }
            self.lines.push(b'\n');
            self.kept += 1;
        }
        if end >= Stage::Hash {
            black_box(lines.root());
        }
        if end >= Stage::Compress {
            self.lines.extend_from_slice(b"{\"sigtrail\":\"seal/v1\",\"header\":\"\\nbatch 7\\n\"}\n");
            self.encoder.encode(7, &self.lines, &mut self.packed).unwrap();
        }
        if end >= Stage::Unpack {
            let (head, payload, _) = seal::frame::read(&self.packed).unwrap();
            self.unpacked = black_box(frame::decode(head.batch, payload, mem::take(&mut self.unpacked)).unwrap());
        }
    }
}

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{kind}.events"))
}

/// The events of a stream, in whole words as the ring has them.
fn read(path: &Path) -> Vec<Vec<u64>> {
    let mut events = Vec::new();
    let empty = Replay::open(path).unwrap().drain(|event| {
        let mut words = vec![0; event.len().div_ceil(8)];
        words.as_mut_bytes()[..event.len()].copy_from_slice(event);
        events.push(words);
        ControlFlow::Continue(())
    });
    assert!(empty);
    events
}

/// Another event of the same process: later, and with another number.
fn renew(event: &mut [u64], number: usize) {
    let at = size_of::<Prefix>();
    let (header, _) = Header::mut_from_prefix(&mut event.as_mut_bytes()[at..]).unwrap();
    header.seq = number as u64;
    header.ktime += 20_000_000;
}

/// What this thread used.
fn cpu() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}
