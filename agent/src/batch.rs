//! Gathers lines until it is time to seal them.

use std::time::Duration;

use seal::{Lines, batch::LineError};

use crate::clock::Now;

/// When a batch is sealed, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Age of its first line.
    pub age: Duration,
    /// Age of its first alert; a tenth of it when no alert was sealed for ten times as long, so that a single one is
    /// quick and many share a seal.
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
    /// Time since boot at which an alert was last sealed.
    alerted: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new(limits: Limits, now: Now) -> Self {
        Self { limits, lines: Lines::new(), bytes: Vec::new(), opened: now, first: None, alert: None, alerted: 0 }
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

    /// Whether an alert is in it.
    pub fn has_alert(&self) -> bool {
        self.alert.is_some()
    }

    /// The time since boot at which it has to be sealed, if nothing more comes.
    pub fn deadline(&self) -> u64 {
        let after = |start: Option<u64>, age: Duration| start.map(|start| start + age.as_nanos() as u64);
        let lines = after(self.first, self.limits.age);
        let patience = self.limits.alert_age;
        let is_single = self.alert.is_some_and(|it| it >= self.alerted + 10 * patience.as_nanos() as u64);
        let alert = after(self.alert, if is_single { patience / 10 } else { patience });
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
        if self.alert.take().is_some() {
            self.alerted = now.boot;
        }
        std::mem::replace(&mut self.bytes, spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LIMITS: Limits = Limits {
        age: Duration::from_secs(5),
        alert_age: Duration::from_secs(1),
        lines: 3,
        bytes: 30,
        heartbeat: Duration::from_mins(1),
    };

    fn at(seconds: u64) -> Now {
        Now { boot: seconds * SECOND, wall: 0 }
    }

    fn batch(lines: &[(u64, bool)]) -> Batch {
        let mut batch = Batch::new(LIMITS, at(100));
        for (second, is_alert) in lines {
            batch.add(second * SECOND, *is_alert, |out| out.extend_from_slice(b"{}")).unwrap();
        }
        batch
    }

    /// Lines: when, and whether it is an alert.
    #[test]
    fn the_first_limit_decides() {
        let check = |lines: &[(u64, bool)], expected: u64| {
            assert_eq!(batch(lines).deadline(), expected * SECOND, "{lines:?}");
        };
        check(&[], 160);
        check(&[(110, false)], 115);
        check(&[(110, false), (114, false)], 115);
        check(&[(110, false), (115, true)], 115);
        check(&[(159, false)], 160);
    }

    /// Alerts of batch after batch: when, and how long after that it is sealed, in tenths of a second.
    #[test]
    fn a_single_alert_is_sealed_sooner() {
        let mut batch = Batch::new(LIMITS, at(100));
        for (second, tenths) in [(110, 1), (112, 10), (121, 10), (132, 1), (141, 10)] {
            let boot = second * SECOND;
            batch.add(boot, true, |out| out.extend_from_slice(b"{}")).unwrap();
            assert_eq!(batch.deadline() - boot, tenths * SECOND / 10, "{second}");
            batch.take(at(second + 1), Vec::new());
        }
    }

    #[test]
    fn a_batch_is_full_by_lines_or_bytes() {
        assert!(!batch(&[(100, false); 2]).is_full());
        assert!(batch(&[(100, false); 3]).is_full());
        let mut long = batch(&[]);
        long.add(0, false, |out| out.extend_from_slice(br#"{"a":"bcdefghijklmnopqrstuvw"}"#)).unwrap();
        assert!(long.is_full());
    }

    #[test]
    fn a_line_that_is_refused_leaves_no_trace() {
        let mut batch = batch(&[]);
        assert!(batch.add(101 * SECOND, true, |out| out.extend_from_slice(b"{\n}")).is_err());
        assert_eq!((&batch.bytes[..], batch.lines().len(), batch.deadline()), (&b""[..], 0, 160 * SECOND));
        batch.add(102 * SECOND, false, |out| out.extend_from_slice(b"{}")).unwrap();
        assert_eq!((&batch.bytes[..], batch.lines().len(), batch.deadline()), (&b"{}\n"[..], 1, 107 * SECOND));
    }

    #[test]
    fn after_a_seal_all_begins_anew() {
        let mut batch = batch(&[(100, true); 3]);
        assert_eq!(batch.take(at(200), b"old".to_vec()), b"{}\n{}\n{}\n");
        assert_eq!((&batch.bytes[..], batch.lines().is_empty(), batch.opened()), (&b""[..], true, at(200)));
        assert_eq!((batch.is_full(), batch.deadline()), (false, 260 * SECOND));
    }
}
