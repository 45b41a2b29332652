use super::record;
use crate::{names::KeyctlOperation, wire::Text};

record! {
    /// Keys in the kernel were used (add_key(2), request_key(2), keyctl(2)).
    "keyctl" => Keyctl {
        /// What to do (keyctl(2)); null with the other calls.
        operation: KeyctlOperation,
        /// Key or keyring (keyctl(2): the second argument; else the keyring that gets the key); negative numbers are special
        /// keyrings.
        key: i32,
        /// Type of the key.
        key_type: Text,
        /// Description of the key, or name of the keyring.
        description: Text,
    }
}
