//! Waiting times, all on the monotonic clock.

use std::time::Duration;

/// How long to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most of the first wait after a failure; doubles with each failure in a row.
    pub base: Duration,
    /// Most of any wait after trouble that passes.
    pub cap: Duration,
    /// Most of any wait after a wrong configuration or credential.
    pub slow_cap: Duration,
    /// How often a batch is offered that is refused.
    pub refused_tries: u32,
    /// Time between two of these offers.
    pub refused_every: Duration,
    /// Time to look again for what should be there already.
    pub look_again: Duration,
    /// Time to deliver what is there when the agent stops.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_mins(1),
            slow_cap: Duration::from_mins(5),
            refused_tries: 3,
            refused_every: Duration::from_secs(200),
            look_again: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}

impl Pace {
    /// The wait after `failures` earlier failures in a row: full jitter, so that a fleet does not come back as one.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        self.jitter(failures, self.cap)
    }

    /// The same for what an operator has to mend.
    pub(super) fn slow_backoff(&self, failures: u32) -> Duration {
        self.jitter(failures, self.slow_cap)
    }

    fn jitter(&self, failures: u32, cap: Duration) -> Duration {
        let most = self.base.saturating_mul(2u32.saturating_pow(failures)).min(cap);
        // Never quite nothing: a receiver that fails at once must not be asked in a tight loop.
        most.mul_f64(0.05 + 0.95 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_are_spread() {
        let pace = Pace::default();
        for failures in [0, 1, 5, 6, 40, u32::MAX] {
            let most = Duration::from_secs(1u64.checked_shl(failures.min(63)).unwrap_or(u64::MAX)).min(pace.cap);
            let waits: Vec<Duration> = (0..200).map(|_| pace.backoff(failures)).collect();
            assert!(waits.iter().all(|wait| *wait <= most && *wait >= most / 20), "{failures}");
            assert!(waits.iter().any(|wait| *wait < most / 2) && waits.iter().any(|wait| *wait > most / 2));
        }
        assert!((0..200).any(|_| pace.slow_backoff(20) > pace.cap));
    }
}
