//! What /proc says about a process. A process may be hidden (`hidepid`) or vanish at any time: that is no error.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Kernel threads have this bit in their flags (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Files of /proc are read up to this size. The longest is mountinfo, on hosts of many containers.
const FILE_LIMIT: u64 = 4 << 20;

/// A mounted procfs.
#[derive(Debug)]
pub struct Proc(PathBuf);

/// A process as /proc has it now.
#[derive(Debug, PartialEq, Eq)]
pub struct Seed {
    /// Start in clock ticks since boot.
    pub ticks: u64,
    /// Process id of the parent; 0 when there is none in this namespace.
    pub ppid: u32,
    /// The program it runs; `None` for kernel threads and when it may not be read.
    pub exe: Option<Vec<u8>>,
    /// It is a thread of the kernel and runs no program.
    pub kernel_thread: bool,
    /// The lines of /proc/PID/cgroup.
    pub cgroup: Vec<u8>,
}

impl Proc {
    /// Takes the procfs that is mounted at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its mount point.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The ids of all processes that can be seen.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let names = fs::read_dir(&self.0)?;
        Ok(names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// What can be seen of a process; `None` when it is gone or hidden.
    pub fn seed(&self, pid: u32) -> Option<Seed> {
        let exe = self.exe(pid);
        let cgroup = self.read(pid, "cgroup").unwrap_or_default();
        // last: a start that agrees says that all of the above is of the same process
        let stat = stat(&self.read(pid, "stat")?)?;
        Some(Seed { ticks: stat.ticks, ppid: stat.ppid, exe, kernel_thread: stat.flags & KERNEL_THREAD != 0, cgroup })
    }

    /// The lines of /proc/PID/cgroup, if the process started at `ticks`.
    pub fn cgroup(&self, pid: u32, ticks: u64) -> Option<Vec<u8>> {
        let cgroup = self.read(pid, "cgroup")?;
        let stat = stat(&self.read(pid, "stat")?)?;
        (stat.ticks == ticks).then_some(cgroup)
    }

    /// A file about this process itself.
    pub fn own(&self, name: &str) -> Option<Vec<u8>> {
        read(&self.0.join("self").join(name))
    }

    fn read(&self, pid: u32, name: &str) -> Option<Vec<u8>> {
        read(&self.0.join(format!("{pid}/{name}")))
    }

    /// The path as the events of the kernel half have it: without the words that procfs adds, and memory files by
    /// their bare names.
    fn exe(&self, pid: u32) -> Option<Vec<u8>> {
        let link = self.0.join(format!("{pid}/exe"));
        let mut exe = OsString::into_vec(fs::read_link(&link).ok()?.into_os_string());
        // a file may be called "x (deleted)": ask whether it has a name
        if exe.ends_with(b" (deleted)") && fs::metadata(&link).is_ok_and(|it| it.nlink() == 0) {
            exe.truncate(exe.len() - b" (deleted)".len());
            if exe.starts_with(b"/memfd:") {
                exe.remove(0);
            }
        }
        Some(exe)
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    File::open(path).ok()?.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ppid: u32,
    flags: u64,
    ticks: u64,
}

/// Reads proc_pid_stat(5). The name may hold blanks and parentheses: what counts comes after the last one.
fn stat(line: &[u8]) -> Option<Stat> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace();
    // fields 4, 9 and 22; the state, field 3, is the first here
    let ppid = fields.nth(1)?.parse().ok()?;
    let flags = fields.nth(4)?.parse().ok()?;
    let ticks = fields.nth(12)?.parse().ok()?;
    Some(Stat { ppid, flags, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let tail = "S 7 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 148480 1 2 3";
        let sane = Some(Stat { ppid: 7, flags: 4_194_560, ticks: 148_480 });
        let cases = [
            (format!("12 (cat) {tail}"), sane),
            (format!("12 (a) S 9 (b) {tail}"), Some(Stat { ppid: 7, flags: 4_194_560, ticks: 148_480 })),
            (format!("12 () {tail}\n"), Some(Stat { ppid: 7, flags: 4_194_560, ticks: 148_480 })),
            ("12 (cat) S 7 1".to_owned(), None),
            ("12 cat S 7".to_owned(), None),
            (String::new(), None),
        ];
        for (line, expected) in cases {
            assert_eq!(stat(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        let empty = tempfile::tempdir().unwrap();
        let proc = Proc::new(empty.path().to_owned());
        assert_eq!(proc.seed(1), None);
        assert_eq!(proc.cgroup(1, 0), None);
        assert_eq!(proc.pids().unwrap(), Vec::<u32>::new());
    }
}
