use super::record;
use crate::{names::LandlockRule, wire::{User, Wide}};

record! {
    /// A process restricted its access to files and network (landlock(7)).
    "landlock" => Landlock {
        /// The accesses that are handled (landlock_create_ruleset(2)) or allowed (landlock_add_rule(2)), as bits.
        access: User<Wide>,
        /// Type of the rule (landlock_add_rule(2)).
        rule_type: LandlockRule,
        /// Flags of the call, as bits.
        flags: u32,
    }
}
