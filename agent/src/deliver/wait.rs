//! What a delivery does while it cannot go on.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Delivery, Orders};

impl Delivery {
    pub(super) async fn back_off(&mut self, why: String) {
        let wait = self.way.pace.backoff(self.failures);
        self.failed(why, true, wait).await;
    }

    /// Notes a failure and waits; new orders end the wait.
    pub(super) async fn failed(&mut self, why: String, needs_operator: bool, wait: Duration) {
        // A cause is told when it is new, then at each power of two.
        if self.failures.count_ones() <= 1 {
            tracing::warn!(sink = self.sink.name(), %why, failures = self.failures + 1, "not delivered");
        }
        self.failures = self.failures.saturating_add(1);
        self.way.status.update(|report| {
            report.retries += 1;
            report.trouble(why, needs_operator);
        });
        self.save().await;
        self.rest(Some(Instant::now() + wait), false).await;
    }

    /// Everything durable is delivered: waits for the next batch, or for orders.
    pub(super) async fn wait_for_more(&mut self) {
        self.save().await;
        // A batch can be announced a moment before it is seen, and a cursor may wait for room on the disk.
        let behind = self.position < *self.way.head.borrow() || !self.saved;
        let until = behind.then(|| Instant::now() + self.way.pace.look_again);
        self.rest(until, true).await;
    }

    /// Rests until a time, new orders, the end of the drain, or (if wanted) a new batch.
    async fn rest(&mut self, until: Option<Instant>, for_batches: bool) {
        let until = until.into_iter().chain(self.deadline).min();
        let draining = self.deadline.is_some();
        let (mut head, mut orders) = (self.way.head.clone(), self.way.orders.clone());
        let time = async {
            match until {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        // A closed channel has no more batches.
        let batch = async {
            if !for_batches || head.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        // A closed channel is an order: `obey` takes it for "stop".
        let order = async {
            if draining {
                pending::<()>().await;
            }
            orders.changed().await.is_ok()
        };
        tokio::select! {
            () = time => {}
            () = batch => {}
            _ = order => {}
        }
    }
}

/// Ends when the drain does: at the deadline, or so long after the order to stop.
pub(super) async fn drained(deadline: Option<Instant>, mut orders: watch::Receiver<Orders>, drain: Duration) {
    if let Some(deadline) = deadline {
        return sleep_until(deadline).await;
    }
    while orders.changed().await.is_ok() && !orders.borrow().stop {}
    sleep_until(Instant::now() + drain).await;
}
