use super::record;
use crate::names::{PersonalityDomain, PersonalityFlags};

record! {
    /// A process changed its execution domain (personality(2)). Questions make no event.
    "personality" => Personality {
        /// The domain.
        domain: PersonalityDomain,
        /// Flags, such as those that switch off the random layout of memory.
        flags: PersonalityFlags,
    }
}
