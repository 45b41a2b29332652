//! To look at a sealed log: which records are wanted, what they say, and what they come to.
//!
//! Everything here is fed record by record and keeps a bounded amount: a log may be longer than the memory. Whether the
//! log is as it was sealed is the verifier's question.

pub mod export;
pub mod filter;
pub mod item;
pub mod page;
pub mod table;
pub mod timeline;
pub mod tree;

pub use filter::Filter;
pub use item::Item;

/// Kinds that use rights which only root has, or that change who somebody is.
const PRIVILEGED: &[&str] = &[
    "acct",
    "bpf",
    "capability",
    "capset",
    "chroot",
    "cred_change",
    "hostname",
    "ioport",
    "kexec",
    "lsm",
    "module_load",
    "module_unload",
    "mount",
    "perf_event_open",
    "pivot_root",
    "process_vm",
    "ptrace",
    "reboot",
    "setid",
    "settime",
    "swap",
    "umount",
];

/// Kinds that change a file or its name.
const CHANGES: &[&str] = &[
    "chmod",
    "chown",
    "file_setattr",
    "link",
    "mkdir",
    "mknod",
    "modify",
    "removexattr",
    "rename",
    "rmdir",
    "setxattr",
    "symlink",
    "truncate",
    "unlink",
    "utimes",
];

/// Kinds with another end of a connection.
const CONNECTIONS: &[&str] = &["accept", "connect", "dns", "send"];

fn is_one_of(kinds: &[&str], kind: &str) -> bool {
    kinds.binary_search(&kind).is_ok()
}

/// Whether a file was changed: also by an open that made it.
fn is_change(item: &Item<'_>, kind: &str) -> bool {
    is_one_of(CHANGES, kind) || kind == "open" && item.is("created")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_there() {
        for kinds in [PRIVILEGED, CHANGES, CONNECTIONS] {
            assert!(kinds.is_sorted());
            for kind in kinds {
                assert!(common::Kind::from_name(kind).is_some(), "{kind}");
            }
        }
    }
}
