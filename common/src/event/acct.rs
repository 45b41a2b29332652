use super::record;
use crate::{names::QuotaCommand, wire::{Id, Path}};

record! {
    /// Process accounting was switched, or disk quotas were changed (acct(2), quotactl(2)). Questions about quotas make no event.
    "acct" => Acct {
        /// The accounting file, or the device; null when accounting is switched off.
        path: Path,
        /// What to do with quotas; null with acct(2).
        command: QuotaCommand,
        /// User, group or project that the quota is of; null with acct(2).
        quota_id: Id,
    }
}
