//! Real system calls on this kernel, and the records that the agent makes of them: as root, one test at a time.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actor;
mod attributes;
mod capability;
mod cases;
mod differential;
mod dns;
mod files;
mod flood;
mod guard;
mod host;
mod load;
mod lossless;
mod modify;
mod mounts;
mod network;
mod privileges;
mod programs;
mod push;
mod quiet;
mod race;
mod uring;

/// The ways in which programs read kernel memory: all must tell the same.
const FAMILIES: Families = Families;

/// All of them, or the one that `SIGTRAIL_FAMILY` names: a guest of `cargo xtask vm` tests what is used on its kernel.
struct Families;

impl IntoIterator for Families {
    type Item = &'static str;
    type IntoIter = std::vec::IntoIter<&'static str>;

    fn into_iter(self) -> Self::IntoIter {
        let mut all = vec!["fast", "base", "perf"];
        if let Ok(one) = std::env::var("SIGTRAIL_FAMILY") {
            all.retain(|family| *family == one);
        }
        assert!(!all.is_empty());
        all.into_iter()
    }
}
