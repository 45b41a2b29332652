use super::record;
use crate::{names::MemfdFlags, wire::Text};

record! {
    /// A file was made that lives in memory only (memfd_create(2)).
    "memfd_create" => MemfdCreate {
        /// Its name, which serves for show.
        name: Text,
        /// Flags of the call.
        flags: MemfdFlags,
    }
}
