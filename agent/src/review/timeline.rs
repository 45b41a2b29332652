//! How much happened when: a bounded number of equal spans of time, which get longer as the log does.

use std::collections::BTreeMap;

use super::Item;

/// Spans that are kept.
const SPANS: usize = 360;

/// What happened in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Events.
    pub events: u64,
    /// Those that are alerts.
    pub alerts: u64,
    /// Those that failed.
    pub failed: u64,
    /// Events that were lost.
    pub lost: u64,
}

impl Span {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.alerts += other.alerts;
        self.failed += other.failed;
        self.lost += other.lost;
    }
}

/// Spans by their number since 1970.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Seconds of a span.
    pub seconds: u64,
    spans: BTreeMap<u64, Span>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { seconds: 1, spans: BTreeMap::new() }
    }
}

impl Timeline {
    /// Takes in a record.
    pub fn add(&mut self, item: &Item<'_>, sealed: Option<u64>) {
        let Some(time) = item.time().or(sealed) else { return };
        let many = item.count();
        let is = |yes: bool| if yes { many } else { 0 };
        let lost = if item.kind() == "agent.lost" { item.number("count").unwrap_or(0) } else { 0 };
        let span = Span {
            events: many,
            alerts: is(item.is_alert()),
            failed: is(item.is_not("success")),
            lost: u64::try_from(lost).unwrap_or(0),
        };
        let second = time / 1_000_000_000;
        self.spans.entry(second / self.seconds).or_default().add(span);
        while self.width() > SPANS as u64 {
            self.seconds *= 2;
            for (at, span) in std::mem::take(&mut self.spans) {
                self.spans.entry(at / 2).or_default().add(span);
            }
        }
    }

    fn width(&self) -> u64 {
        let ends = self.spans.first_key_value().zip(self.spans.last_key_value());
        ends.map_or(0, |((first, _), (last, _))| last - first + 1)
    }

    /// All spans from the first to the last in which something happened, each with the second it begins at.
    pub fn spans(&self) -> impl Iterator<Item = (u64, Span)> {
        let first = self.spans.first_key_value().map_or(0, |(at, _)| *at);
        let span = move |at| ((first + at) * self.seconds, self.spans.get(&(first + at)).copied().unwrap_or_default());
        (0..self.width()).map(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_get_longer() {
        let mut timeline = Timeline::default();
        let add = |timeline: &mut Timeline, second: u64| {
            timeline.add(&Item::parse(br#"{"success":false}"#).unwrap(), Some(second * 1_000_000_000));
        };
        add(&mut timeline, 100);
        add(&mut timeline, 102);
        let counts: Vec<_> = timeline.spans().map(|(at, span)| (at, span.events)).collect();
        assert_eq!(counts, [(100, 1), (101, 0), (102, 1)]);
        add(&mut timeline, 100_000);
        assert!(timeline.spans().count() <= SPANS, "{}", timeline.seconds);
        assert_eq!(timeline.spans().map(|(_, span)| span.failed).sum::<u64>(), 3);
        add(&mut timeline, 5);
        assert_eq!(timeline.spans().map(|(_, span)| span.events).sum::<u64>(), 4);
    }
}
