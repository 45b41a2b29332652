use super::record;
use crate::{names::{Capability, PrctlOption}, wire::Wide};

record! {
    /// A process changed what protects it, or what it may do (prctl(2)). Options that are no matter of security make no event.
    "prctl" => Prctl {
        /// What to change.
        option: PrctlOption,
        /// The second argument.
        argument: Wide,
        /// The capability (`PR_CAPBSET_DROP`, `PR_CAP_AMBIENT`); null with other options.
        capability: Capability,
    }
}
