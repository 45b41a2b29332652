//! Gathers lines until it is time to seal them.

use std::time::Duration;

use seal::{Lines, batch::LineError};

use crate::clock::Now;

/// When a batch is sealed, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Age of its first line.
    pub age: Duration,
    /// Age of its first alert.
    pub alert_age: Duration,
    /// Number of lines.
    pub lines: u64,
    /// Bytes of lines.
    pub bytes: u64,
    /// Age of the batch before, when there are no lines.
    pub heartbeat: Duration,
}

/// The lines since the last seal.
#[derive(Debug)]
pub struct Batch {
    limits: Limits,
    lines: Lines,
    bytes: Vec<u8>,
    opened: Now,
    /// Time since boot of the first line, and of the first alert.
    first: Option<u64>,
    alert: Option<u64>,
}

impl Batch {
    /// An empty batch.
    pub fn new(limits: Limits, now: Now) -> Self {
        Self { limits, lines: Lines::new(), bytes: Vec::new(), opened: now, first: None, alert: None }
    }

    /// Adds the line that `write` appends, without a line feed. `boot` is the time now.
    pub fn add(&mut self, boot: u64, is_alert: bool, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), LineError> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if let Err(error) = self.lines.push(&self.bytes[start..]) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.bytes.push(b'\n');
        self.first = self.first.or(Some(boot));
        if is_alert {
            self.alert = self.alert.or(Some(boot));
        }
        Ok(())
    }

    /// Whether it is full: nothing more is added before the seal.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= self.limits.lines || self.bytes.len() as u64 >= self.limits.bytes
    }

    /// The time since boot at which it has to be sealed, if nothing more comes.
    pub fn deadline(&self) -> u64 {
        let after = |start: Option<u64>, age: Duration| start.map(|start| start + age.as_nanos() as u64);
        let lines = after(self.first, self.limits.age);
        let alert = after(self.alert, self.limits.alert_age);
        let heartbeat = self.opened.boot + self.limits.heartbeat.as_nanos() as u64;
        [lines, alert].into_iter().flatten().fold(heartbeat, u64::min)
    }

    /// What the seal covers.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// When it was opened.
    pub fn opened(&self) -> Now {
        self.opened
    }

    /// Begins anew after a seal; returns the lines, each with its line feed. `spare` is an old buffer to fill.
    pub fn take(&mut self, now: Now, mut spare: Vec<u8>) -> Vec<u8> {
        spare.clear();
        // one long batch must not hold memory for ever
        spare.shrink_to(self.limits.bytes as usize);
        self.lines = Lines::new();
        self.opened = now;
        self.first = None;
        self.alert = None;
        std::mem::replace(&mut self.bytes, spare)
    }
}
