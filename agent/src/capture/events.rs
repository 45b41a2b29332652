//! The events of the recorder that are about the target.

use std::{borrow::Cow, io, ops::RangeInclusive};

use seal::bundle::EVENTS;
use serde::Deserialize;

use super::{bundle::Bundle, process::Process, recorder::Tap, target::Follow};

/// A member has so many bytes of events.
const PART: usize = 4 << 20;

/// What is asked of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub ktime: Cow<'a, str>,
    pub pid: u32,
    pub target_pid: Option<i64>,
    pub child_pid: Option<u32>,
    pub uid: Option<u32>,
    pub euid: Option<u32>,
    pub auid: Option<u32>,
    #[serde(borrow)]
    pub process: Option<Of<'a>>,
}

/// What is asked of its process.
#[derive(Debug, Deserialize)]
pub(super) struct Of<'a> {
    /// A text, or an object in place of one.
    pub unit: Option<serde_json::Value>,
    #[serde(borrow)]
    pub container: Option<Container<'a>>,
}

/// What is asked of its container.
#[derive(Debug, Deserialize)]
pub(super) struct Container<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// About the target, in time.
    pub matched: u64,
    /// In the recorder.
    pub seen: u64,
    /// Chunks that were gone when they were to be read.
    pub missed: u64,
    /// Whether the recorder is on.
    pub always: bool,
}

/// Takes events out of the recorder.
pub(super) struct Events {
    follow: Follow,
    time: RangeInclusive<u64>,
    /// The chunk that is wanted next.
    next: u64,
    begun: bool,
    part: Vec<u8>,
    parts: u32,
    counted: Counted,
}

impl Events {
    /// Those about the target, of a time in nanoseconds since boot.
    pub fn new(target: &super::Target, all: &[Process], time: RangeInclusive<u64>) -> Self {
        let (follow, part) = (Follow::new(target, all), Vec::new());
        Self { follow, time, next: 0, begun: false, part, parts: 0, counted: Counted::default() }
    }

    /// Takes what is there now: on a busy host more may come than can be read.
    pub fn take(&mut self, tap: &Tap, bundle: &mut Bundle) -> io::Result<()> {
        let end = tap.end();
        while let Some(chunk) = tap.next(self.next).filter(|chunk| chunk.number < end) {
            if self.begun {
                self.counted.missed += chunk.number - self.next;
            }
            (self.begun, self.next) = (true, chunk.number + 1);
            if chunk.closed < *self.time.start() {
                continue;
            }
            if bundle.is_over() {
                self.counted.missed += 1;
                continue;
            }
            let lines = chunk.lines()?;
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                self.counted.seen += 1;
                // a line of ours is one that we can read
                let Ok(read) = serde_json::from_slice::<Line<'_>>(line) else { continue };
                let is_in_time = read.ktime.parse().is_ok_and(|time: u64| self.time.contains(&time));
                if self.follow.takes(&read) && is_in_time {
                    self.counted.matched += 1;
                    self.part.extend_from_slice(line);
                }
                if self.part.len() >= PART {
                    self.write(bundle)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the rest; how many there were.
    pub fn finish(mut self, tap: &Tap, bundle: &mut Bundle) -> io::Result<Counted> {
        if !self.part.is_empty() {
            self.write(bundle)?;
        }
        if self.counted.missed > 0 {
            let why = format!("{} chunks were gone before they could be read", self.counted.missed);
            bundle.leave_out(b"recorder", &why);
        }
        Ok(Counted { always: tap.always(), ..self.counted })
    }

    fn write(&mut self, bundle: &mut Bundle) -> io::Result<()> {
        self.parts += 1;
        bundle.add(&format!("{EVENTS}{:06}.ndjson", self.parts), b"recorder", None, &self.part)?;
        self.part.clear();
        Ok(())
    }
}
