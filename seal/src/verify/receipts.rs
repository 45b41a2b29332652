//! Receipts: what witnesses say of the log, against the log itself.
//!
//! Witnesses cosign heads of different sizes. Whoever cosigned a larger tree of this log vouches for each smaller one
//! too, because the verifier itself has seen that the log only grew: so the quorum is asked of sizes "at least".

use super::{Told, Verifier, What};
use crate::batch::Batch;
use crate::cosign::Receipt;
use crate::note::Signature;
use crate::quorum::Policy;

/// Witnesses that are told apart in the report.
const NAMES: usize = 256;

/// How far each witness of the policy vouches for the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Witnessed(Vec<Option<u64>>);

impl Witnessed {
    pub(super) fn new(policy: Option<&Policy>) -> Self {
        Self(vec![None; policy.map_or(0, |policy| policy.witnesses.len())])
    }

    fn saw(&mut self, witness: usize, size: u64) {
        if let Some(known) = self.0.get_mut(witness) {
            *known = (*known).max(Some(size));
        }
    }

    /// The largest size that enough witnesses vouch for.
    pub(super) fn size(&self, policy: &Policy) -> Option<u64> {
        let enough = |size: &u64| policy.is_met(|at| self.0.get(at).is_some_and(|known| *known >= Some(*size)));
        self.0.iter().flatten().copied().filter(enough).max()
    }
}

/// What a cosignature is worth.
enum Worth {
    /// By the witness of this place, over this text.
    Good(usize),
    /// By nobody whom the policy names.
    Unknown,
    /// It names a witness of the policy and is not by it.
    Bad,
}

impl Verifier {
    /// Takes the receipts of a good batch, and the cosignatures under its own checkpoint.
    pub(super) fn receipts(&mut self, batch: &Batch) {
        let number = batch.header.batch;
        for receipt in batch.header.facts.receipts.iter().filter_map(|text| Receipt::parse(text)) {
            // of a state that was not read, or too far back, there is no root to compare with
            let text = self.text(batch, receipt.size);
            let worth = text.map_or(Worth::Unknown, |text| self.worth(&text, &receipt.cosignature));
            let name = receipt.cosignature.name.clone();
            let checked = matches!(worth, Worth::Good(_));
            match worth {
                Worth::Good(witness) => self.witnessed.saw(witness, receipt.size),
                Worth::Unknown => {}
                Worth::Bad => self.find(Some(number), What::Receipt(name.clone())),
            }
            let receipts = &mut self.report.receipts;
            if receipts.len() < NAMES || receipts.contains_key(&name) {
                receipts.insert(name, Told { batch: number, size: receipt.size, time: receipt.time(), checked });
            }
        }
        let checkpoint = &batch.proof.checkpoint;
        for signature in batch.proof.signatures.iter().skip(2) {
            // behind the two that must be there anybody may have added anything
            if let Worth::Good(witness) = self.worth(&checkpoint.text(), signature) {
                self.witnessed.saw(witness, checkpoint.size);
            }
        }
    }

    /// The checkpoint of an earlier state of the log.
    fn text(&self, batch: &Batch, size: u64) -> Option<String> {
        let root = self.seen(size.checked_sub(1)?)?.root?;
        Some(crate::proof::Checkpoint { origin: batch.header.origin.clone(), size, root }.text())
    }

    fn worth(&self, text: &str, signature: &Signature) -> Worth {
        let witnesses = self.trust.policy.iter().flat_map(|policy| &policy.witnesses).enumerate();
        let mut named = witnesses.filter(|(_, witness)| witness.is_named_by(signature)).peekable();
        if named.peek().is_none() {
            return Worth::Unknown;
        }
        named
            .find(|(_, witness)| witness.verify(text, signature).is_some())
            .map_or(Worth::Bad, |(at, _)| Worth::Good(at))
    }
}
