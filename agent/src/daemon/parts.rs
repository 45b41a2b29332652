//! What the threads of the agent share.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use tokio::sync::watch;

use super::{capture::Desk, control, notify::Notify};
use crate::{
    deliver::{Gaps, Receipts},
    pipeline::Status,
    policy::Policy,
    source::Wanted,
};

/// What both halves share.
#[derive(Clone)]
pub(super) struct Parts {
    pub stop: Arc<AtomicBool>,
    pub why: Arc<Mutex<&'static str>>,
    pub leave: Arc<AtomicBool>,
    /// A directory of ours for files of a moment.
    pub scratch: Arc<Path>,
    pub head: watch::Sender<Option<u64>>,
    /// Told when the hot half has ended.
    pub over: watch::Sender<bool>,
    pub gaps: Gaps,
    pub receipts: Receipts,
    pub status: Arc<Mutex<Status>>,
    /// Captures.
    pub desk: Arc<Desk>,
    pub sinks: control::Sinks,
    /// A policy that shall hold from now on, with what it leaves to the kernel half.
    pub policy: Arc<Mutex<Option<(Policy, Wanted)>>>,
    /// The service manager.
    pub service: Arc<Mutex<Notify>>,
}

impl Parts {
    /// What a thread could not give up, for `status`.
    pub fn unconfined(&self, lacks: Vec<String>) {
        for why in &lacks {
            tracing::warn!(why, "the agent may more than it needs");
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.unconfined.extend(lacks);
        status.unconfined.sort_unstable();
        status.unconfined.dedup();
    }

    pub fn service(&self) -> MutexGuard<'_, Notify> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            stop: Arc::default(),
            why: Arc::new(Mutex::new("unknown")),
            leave: Arc::default(),
            scratch: Path::new("/").into(),
            head: watch::Sender::new(None),
            over: watch::Sender::new(false),
            gaps: Gaps::default(),
            receipts: Receipts::default(),
            status: Arc::default(),
            desk: Arc::default(),
            sinks: Arc::default(),
            policy: Arc::default(),
            service: Arc::default(),
        }
    }
}
