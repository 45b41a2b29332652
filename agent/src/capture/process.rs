//! What /proc says of processes.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt},
    path::{Path, PathBuf},
};

use seal::text;
use serde_json::{Value, json};

use super::{Detail, Limits, Plan, bundle::Bundle, bundle::shown, file};

/// Processes that are listed.
const PROCESSES: usize = 65_536;
/// Arguments that are told in the list.
const ARGUMENTS: usize = 4096;
/// Open files that are told of a process.
const FILES: usize = 65_536;
/// A member has so many bytes of memory.
const REGION: u64 = 4 << 20;

/// A process, as it was when it was listed.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Real, effective, saved and file system user.
    pub uids: Vec<u32>,
    /// Who logged in.
    pub auid: Option<u32>,
    /// Path of its control group.
    pub cgroup: String,
    /// All of that, as it goes into the list.
    pub told: Value,
}

/// All processes, by id.
pub(super) fn list() -> io::Result<Vec<Process>> {
    let names = fs::read_dir("/proc")?.flatten();
    let mut pids: Vec<u32> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.truncate(PROCESSES);
    // one that is gone by now was none of the moment
    Ok(pids.into_iter().filter_map(Process::read).collect())
}

/// Writes the list.
pub(super) fn write(all: &[Process], name: &str, bundle: &mut Bundle) -> io::Result<()> {
    bundle.add(name, b"/proc", None, lines(all.iter().map(|process| &process.told)).as_bytes()).map(drop)
}

/// A value a line.
fn lines<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.fold(String::new(), |text, value| text + &value.to_string() + "\n")
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let text = |name: &str| Some(String::from_utf8_lossy(&file::read(&dir.join(name)).ok()?.0).into_owned());
        let status = text("status")?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let numbers = |name| field(name).map(|it| it.split_whitespace().filter_map(|it| it.parse().ok()).collect());
        let id = |name: &str| text(name)?.trim().parse().ok().filter(|id| *id != u32::MAX);
        // behind the name, which may hold anything, start is the 20th
        let start = text("stat").and_then(|it| it.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse::<u64>().ok());
        let link = |name: &str| fs::read_link(dir.join(name)).ok().map(|it| shown(it.as_os_str().as_bytes()));
        let arguments = file::read(&dir.join("cmdline")).ok()?.0;
        let shortened = &arguments[..arguments.len().min(ARGUMENTS)];
        let ended = shortened.strip_suffix(b"\0").unwrap_or(shortened);
        let argv = |it: &[u8]| it.split(|byte| *byte == 0).map(shown).collect::<Vec<_>>();
        let parent = field("PPid").and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        let uids: Vec<u32> = numbers("Uid").unwrap_or_default();
        let gids: Vec<u32> = numbers("Gid").unwrap_or_default();
        let auid = id("loginuid");
        let cgroup = text("cgroup").unwrap_or_default();
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
        let spaces = fs::read_dir(dir.join("ns")).into_iter().flatten().flatten();
        let spaces = spaces.filter_map(|it| Some(fs::read_link(it.path()).ok()?.display().to_string()));
        let exe = fs::metadata(dir.join("exe")).ok();
        let told = json!({
            "pid": pid, "ppid": parent, "start_ticks": start, "comm": field("Name").map(str::trim),
            "state": field("State").map(str::trim), "uids": uids, "gids": gids, "auid": auid,
            "sessionid": id("sessionid"), "groups": numbers("Groups").unwrap_or_default(), "exe": link("exe"),
            "exe_mode": exe.as_ref().map(|it| format!("{:o}", it.mode())),
            "exe_uid": exe.as_ref().map(MetadataExt::uid), "exe_inode": exe.as_ref().map(|it| it.ino().to_string()),
            "exe_size": exe.as_ref().map(|it| it.size().to_string()), "exe_gone": exe.as_ref().map(|it| it.nlink() == 0),
            "argv": if ended.is_empty() { Vec::new() } else { argv(ended) },
            "argv_cut": arguments.len() > ARGUMENTS, "cwd": link("cwd"), "root": link("root"), "cgroup": cgroup,
            "namespaces": spaces.collect::<BTreeSet<_>>(),
            "capabilities": field("CapEff").map(str::trim), "seccomp": field("Seccomp").map(str::trim),
            "tracer": field("TracerPid").map(str::trim),
        });
        Some(Self { pid, ppid: parent, uids, auid, cgroup, told })
    }

    /// Its network namespace.
    pub(super) fn network(&self) -> Option<u64> {
        Some(fs::metadata(format!("/proc/{}/ns/net", self.pid)).ok()?.ino())
    }

    /// Adds what the plan wants of it.
    pub(super) fn capture(&self, plan: &Plan, limits: &Limits, bundle: &mut Bundle) -> io::Result<()> {
        let dir = PathBuf::from(format!("/proc/{}", self.pid));
        let name = |of: &str| format!("process/{}/{of}", self.pid);
        for of in ["status", "stat", "cmdline", "cgroup", "limits"] {
            file::add(&dir.join(of), &name(of), bundle)?;
        }
        let is_ours = self.pid == std::process::id();
        if is_ours && [Detail::Environ, Detail::Memory].iter().any(|it| plan.with.contains(it)) {
            bundle.leave_out(dir.as_os_str().as_bytes(), "environ and memory of the agent: its keys are there");
        }
        // kernel threads have neither a program nor memory
        let has_exe = fs::read_link(dir.join("exe")).is_ok();
        for detail in &plan.with {
            match detail {
                Detail::Maps => file::add(&dir.join("maps"), &name("maps"), bundle)?,
                Detail::Fds => Self::files(&dir, &name("fds.ndjson"), bundle)?,
                Detail::Environ if !is_ours => file::add(&dir.join("environ"), &name("environ"), bundle)?,
                Detail::Memory if !is_ours && has_exe => self.memory(&dir, limits.memory_bytes, bundle)?,
                Detail::Exe if has_exe => self.program(&dir, bundle)?,
                // sockets are those of a namespace
                Detail::Environ | Detail::Memory | Detail::Exe | Detail::Sockets | Detail::Files => {}
            }
        }
        Ok(())
    }

    /// A copy of a program whose file is gone or has no name; of others, the hash.
    fn program(&self, dir: &Path, bundle: &mut Bundle) -> io::Result<()> {
        let path = dir.join("exe");
        let from = path.as_os_str().as_bytes();
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (about, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                bundle.leave_out(from, &error.to_string());
                return Ok(());
            }
        };
        if about.nlink() == 0 {
            return bundle.copy(&format!("process/{}/exe", self.pid), from, about.len(), file);
        }
        let target = fs::read_link(&path).map(|it| shown(it.as_os_str().as_bytes())).unwrap_or_default();
        match bundle.digest(file) {
            Ok((hash, size)) => {
                let told = json!({
                    "path": target, "sha256": text::hex(&hash), "size": size.to_string(),
                    "mode": format!("{:o}", about.mode()), "uid": about.uid(), "inode": about.ino().to_string(),
                });
                let line = format!("{told}\n");
                bundle.add(&format!("process/{}/exe.json", self.pid), from, None, line.as_bytes()).map(drop)
            }
            Err(error) => {
                bundle.leave_out(from, &error.to_string());
                Ok(())
            }
        }
    }

    /// Its open files, one a line.
    fn files(dir: &Path, name: &str, bundle: &mut Bundle) -> io::Result<()> {
        let path = dir.join("fd");
        let from = path.as_os_str().as_bytes();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                bundle.leave_out(from, &error.to_string());
                return Ok(());
            }
        };
        let mut fds: Vec<u32> = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()).collect();
        fds.sort_unstable();
        let error = (fds.len() > FILES).then(|| format!("only the first {FILES}"));
        fds.truncate(FILES);
        let mut told = Vec::new();
        for fd in fds {
            let to = fs::read_link(path.join(fd.to_string())).map(|it| shown(it.as_os_str().as_bytes()));
            let info = file::read(&dir.join("fdinfo").join(fd.to_string())).map(|(bytes, _)| shown(&bytes));
            told.push(json!({ "fd": fd, "to": to.unwrap_or_default(), "info": info.unwrap_or_default() }));
        }
        bundle.add(name, from, error, lines(told.iter()).as_bytes()).map(drop)
    }

    /// Its memory that can be read and written, in the order of its addresses.
    fn memory(&self, dir: &Path, most: u64, bundle: &mut Bundle) -> io::Result<()> {
        let path = dir.join("mem");
        let from = path.as_os_str().as_bytes();
        let opened = file::read(&dir.join("maps")).and_then(|(maps, _)| Ok((maps, File::open(&path)?)));
        let (maps, mut memory) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                bundle.leave_out(from, &error.to_string());
                return Ok(());
            }
        };
        let mut left = most;
        for (start, end) in String::from_utf8_lossy(&maps).lines().filter_map(region) {
            let mut at = start;
            while at < end {
                let size = (end - at).min(REGION);
                if size > left || bundle.is_over() {
                    bundle.leave_out(from, "there was more memory than memory_bytes or max_time allow");
                    return Ok(());
                }
                let mut bytes = Vec::new();
                let read =
                    memory.seek(SeekFrom::Start(at)).and_then(|_| (&mut memory).take(size).read_to_end(&mut bytes));
                bundle.pace(bytes.len() as u64);
                left -= bytes.len() as u64;
                let error = match read {
                    Ok(_) if bytes.len() as u64 == size => None,
                    Ok(_) => Some("it ended before its end".to_owned()),
                    Err(error) => Some(error.to_string()),
                };
                let name = format!("process/{}/memory/{at:x}-{:x}", self.pid, at + size);
                if !bundle.add(&name, from, error, &bytes)? {
                    return Ok(());
                }
                at += size;
            }
        }
        Ok(())
    }
}

/// A line of /proc/PID/maps: addresses of what can be read and written.
fn region(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    words.next()?.starts_with("rw").then_some((number(start)?, number(end)?))
}
