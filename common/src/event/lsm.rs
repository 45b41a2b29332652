use super::record;
use crate::{names::{LsmAttribute, LsmId}, wire::{Text, User}};

record! {
    /// A process changed an attribute of itself in a security module (lsm_set_self_attr(2)).
    "lsm" => Lsm {
        /// The attribute.
        attribute: LsmAttribute,
        /// The security module.
        module: User<LsmId>,
        /// The new value.
        content: Text,
    }
}
