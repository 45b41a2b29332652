//! Real system calls on this kernel, and the records that the agent makes of them: as root, one test at a time.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actor;
mod cases;
mod differential;
mod files;
mod host;
mod load;
mod lossless;
mod network;
mod privileges;
mod programs;
mod quiet;
mod race;

/// The ways in which programs read kernel memory, as far as this kernel has them: all must tell the same.
const FAMILIES: Families = Families;

struct Families;

impl IntoIterator for Families {
    type Item = &'static str;
    type IntoIter = std::iter::Copied<std::slice::Iter<'static, &'static str>>;

    fn into_iter(self) -> Self::IntoIter {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        // bpf_rdonly_cast came with Linux 6.2; after 6.18 typed tracepoints are skipped now and then
        let all: &'static [&'static str] = if version < (6, 2) {
            &["base"]
        } else if version <= (6, 18) {
            &["fast", "base", "perf"]
        } else {
            &["perf"]
        };
        all.iter().copied()
    }
}
