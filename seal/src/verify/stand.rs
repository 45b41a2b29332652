//! Going on with a log of which the beginning was verified before: what a receiver does with each body.

use std::collections::BTreeMap;

use super::{Before, Seen, Trust, Verifier};
use crate::batch::Batch;
use crate::note::Vkey;
use crate::tree::{Hash, Range};

/// Where a verifier stands behind the last good batch: all that the next one must agree with, and nothing of what was
/// found. Its size does not grow with the log.
#[derive(Clone, Debug, Default)]
pub struct Stand {
    expected: Option<u64>,
    before: Option<Before>,
    log: Range,
    host: Option<Vkey>,
}

impl Stand {
    /// Behind a batch that was verified before, with the host key in force after it. The numbers of CPUs that were
    /// silent in this very batch are not known, so a gap in them may go unnoticed once.
    pub fn behind(batch: Batch, host: Vkey) -> Self {
        let Batch { header, leaf, before: mut log, .. } = batch;
        log.push(leaf);
        let cpus: BTreeMap<_, _> = header.facts.cpus.iter().map(|cpu| (cpu.id, cpu.last)).collect();
        Self { expected: header.batch.checked_add(1), before: Some(Before { header, cpus }), log, host: Some(host) }
    }

    /// The number of the next batch, once there was one.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// The log up to the last good batch.
    pub fn log(&self) -> &Range {
        &self.log
    }

    /// The host key in force.
    pub fn host(&self) -> Option<&Vkey> {
        self.host.as_ref()
    }
}

impl Verifier {
    /// Goes on where another verifier stood.
    pub fn resume(trust: Trust, stand: &Stand) -> Self {
        let mut verifier = Self::new(trust);
        let Stand { expected, before, log, host } = stand.clone();
        verifier.report.origin = before.as_ref().map(|before| before.header.origin.clone());
        Self { expected, before, log, host, ..verifier }
    }

    /// Where it stands now.
    pub fn stand(&self) -> Stand {
        let Self { expected, before, log, host, .. } = self;
        Stand { expected: *expected, before: before.clone(), log: log.clone(), host: host.clone() }
    }

    /// Tells it of an earlier batch, by what [`super::identify`] gives: a copy is then a duplicate, another one a
    /// fork. Numbers ascend from call to call.
    pub fn remember(&mut self, number: u64, identity: Hash) {
        self.seen.push_back(Seen { number, identity, root: None });
    }
}
