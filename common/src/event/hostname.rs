use super::record;
use crate::wire::Text;

record! {
    /// The name of the host or of its NIS domain was set (sethostname(2), setdomainname(2)).
    "hostname" => Hostname {
        /// The name, as the kernel has it after a success.
        name: Text,
    }
}
