//! Batches that the sink refused, offered once more because an operator wants it (`sigtrail spool retry`).
//!
//! In the quarantine of a sink `N.ndjson` is a batch, and `N.answer` what the receiver said to it. The operator's wish is
//! the name `N.again`: the delivery sees it when it starts and when files are opened anew (SIGHUP).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{Delivery, StepError, quarantine_of};
use crate::{disk, sealed::Batch, sink::Outcome};

/// A batch that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Its number.
    pub batch: u64,
    /// Whether it is to be offered again.
    pub again: bool,
}

impl Refused {
    /// Its file in the quarantine of the sink.
    pub fn path(self, quarantine: &Path) -> PathBuf {
        quarantine.join(format!("{}.{}", self.batch, if self.again { "again" } else { "ndjson" }))
    }

    /// What the receiver said: the HTTP status, and the beginning of its answer in the next lines.
    pub fn answer(self, quarantine: &Path) -> PathBuf {
        quarantine.join(format!("{}.answer", self.batch))
    }

    /// All batches in the quarantine of a sink, by number.
    pub fn list(quarantine: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(quarantine)? {
            let name = entry?.file_name();
            let Some((number, end)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            if let (Ok(batch), "ndjson" | "again") = (number.parse(), end) {
                all.push(Self { batch, again: end == "again" });
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Notes whether it is to be offered again.
    pub fn mark(self, quarantine: &Path, again: bool) -> io::Result<()> {
        fs::rename(self.path(quarantine), Self { again, ..self }.path(quarantine))?;
        disk::sync_dir(quarantine)
    }
}

impl Delivery {
    /// Offers the next one when there is nothing else to send. Whether there was one.
    pub(super) async fn offer_again(&mut self) -> Result<bool, StepError> {
        let quarantine = quarantine_of(&self.way.spool, self.sink.name());
        let wanted = match self.again.take() {
            Some(wanted) => wanted,
            None => wanted(quarantine.clone()).await?,
        };
        let Some(next) = wanted.last().copied() else {
            self.again = Some(wanted);
            return Ok(false);
        };
        self.again = Some(wanted);
        let path = next.path(&quarantine);
        let bytes = match spawn_blocking(move || fs::read(path)).await? {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(sink = self.sink.name(), batch = next.batch, "it is in quarantine no more");
                return self.settled(|| Ok(())).await;
            }
            Err(source) => return Err(StepError::Quarantine { path: next.path(&quarantine), source }),
        };
        let batch = Batch { number: next.batch, bytes, frame: Bytes::new() };
        let Some(outcome) = self.send(std::slice::from_ref(&batch)).await else { return Ok(true) };
        let (status, answer) = match outcome {
            // a receipt for an old batch is worth less than the one that is kept
            Outcome::Delivered { .. } => {
                let note = format!("batch {}, refused before, was taken", batch.number);
                tracing::info!(sink = self.sink.name(), "{note}");
                self.way.status.update(|report| report.delivered(1, batch.bytes.len() as u64, Some(note)));
                self.failures = 0;
                let gone = move || {
                    disk::remove_if_there(&next.path(&quarantine))?;
                    disk::remove_if_there(&next.answer(&quarantine))
                };
                return self.settled(gone).await;
            }
            Outcome::Retry { after, why } => {
                let wait = after.unwrap_or_else(|| self.way.pace.backoff(self.failures));
                self.failed(why, false, wait).await;
                return Ok(true);
            }
            Outcome::Slow { why } => {
                let wait = self.way.pace.slow_backoff(self.failures);
                self.failed(why, true, wait).await;
                return Ok(true);
            }
            Outcome::TooLarge { why } => (413, why),
            Outcome::Refused { status, answer } | Outcome::Rejected { status, answer } => (status, answer),
        };
        tracing::warn!(sink = self.sink.name(), batch = batch.number, status, "refused once more");
        let back = move || {
            disk::replace(&quarantine, &format!("{}.answer", next.batch), format!("{status}\n{answer}\n").as_bytes())?;
            next.mark(&quarantine, false)
        };
        self.settled(back).await
    }

    /// The last one on the list is done with.
    async fn settled(&mut self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<bool, StepError> {
        let path = quarantine_of(&self.way.spool, self.sink.name());
        spawn_blocking(work).await?.map_err(|source| StepError::Quarantine { path, source })?;
        self.again.as_mut().and_then(Vec::pop);
        Ok(true)
    }
}

/// Those to be offered, the first one last.
async fn wanted(quarantine: PathBuf) -> Result<Vec<Refused>, StepError> {
    let list = quarantine.clone();
    let mut all = match spawn_blocking(move || Refused::list(&list)).await? {
        Ok(all) => all,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(StepError::Quarantine { path: quarantine, source }),
    };
    all.retain(|one| one.again);
    all.reverse();
    Ok(all)
}
