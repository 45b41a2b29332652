//! Where a process belongs: its control group, and the container and unit that its path names.

use std::{
    collections::HashMap,
    fs,
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::DirEntryExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{container::container, proc::Proc, unit::unit};
use crate::record::Container;

/// Places are remembered by control group up to this number.
const PLACES: usize = 4096;
/// A search for a control group looks into this many directories at most, and starts at most once a second.
const SEARCH_LIMIT: usize = 4096;
const SEARCH_EVERY: u64 = 1_000_000_000;

/// A control group by its path, and what the path says. All empty when it is not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Path of the control group.
    pub cgroup: Option<String>,
    /// Its container.
    pub container: Option<Container>,
    /// Its systemd unit.
    pub unit: Option<String>,
}

impl Place {
    fn new(path: &[u8]) -> Self {
        // names of control groups are UTF-8 but by malice; such a path stays readable and unlike all others
        let path = String::from_utf8(path.to_vec()).unwrap_or_else(|_| path.escape_ascii().to_string());
        Self { container: container(&path), unit: unit(&path).map(str::to_owned), cgroup: Some(path) }
    }
}

/// Finds places.
///
/// Where version 2 of control groups rules alone, the id in the event decides, and what was found is remembered by it.
/// Where version 1 is mounted too, processes with one id may have different paths: then each process is asked, when
/// it is first seen, when its id changes and when it starts a program (container runtimes move themselves, then
/// start the program of the container).
#[derive(Debug, Default)]
pub struct Places {
    /// Mount point of cgroup2.
    mount: Option<PathBuf>,
    mixed: bool,
    known: HashMap<u64, Known>,
    /// The lines that were last read, and the place they name: where processes are asked one by one, mostly those of the
    /// one before.
    last: (Vec<u8>, Arc<Place>),
    searched: u64,
}

#[derive(Debug)]
struct Known {
    place: Arc<Place>,
    used: bool,
}

impl Places {
    /// Looks what is mounted.
    pub fn new(proc: &Proc) -> Self {
        let mounts = proc.own("mountinfo").unwrap_or_default();
        let own = proc.own("cgroup").unwrap_or_default();
        Self { mount: mount_point(&mounts), mixed: is_mixed(&own), ..Self::default() }
    }

    /// Whether the paths of version 1 count too.
    pub fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// The place and, where it is sure, the control group id of a process by the lines of its /proc/PID/cgroup.
    pub fn read(&mut self, lines: &[u8]) -> (Option<u64>, Arc<Place>) {
        if self.mixed && self.last.0 == lines {
            return (None, Arc::clone(&self.last.1));
        }
        let Some(path) = choose(lines) else { return (None, Arc::default()) };
        let id = if self.mixed { None } else { self.inode(path) };
        if let Some(place) = id.and_then(|id| self.remembered(id)) {
            return (id, place);
        }
        let place = Arc::new(Place::new(path));
        match id {
            Some(id) => self.remember(id, &place),
            None => self.last = (lines.to_vec(), Arc::clone(&place)),
        }
        (id, place)
    }

    /// The place of a process whose control group has this id. `ktime` is the time of the event.
    pub fn find(&mut self, id: u64, pid: u32, ticks: u64, ktime: u64, proc: &Proc) -> Arc<Place> {
        if !self.mixed
            && let Some(place) = self.remembered(id)
        {
            return place;
        }
        if let Some(lines) = proc.cgroup(pid, ticks) {
            let (found, place) = self.read(&lines);
            // otherwise it moved on since the event
            if found.is_none_or(|found| found == id) {
                return place;
            }
        }
        self.search(id, ktime).unwrap_or_default()
    }

    fn remembered(&mut self, id: u64) -> Option<Arc<Place>> {
        let known = self.known.get_mut(&id)?;
        known.used = true;
        Some(Arc::clone(&known.place))
    }

    fn remember(&mut self, id: u64, place: &Arc<Place>) {
        if self.known.len() >= PLACES {
            self.known.retain(|_, known| std::mem::take(&mut known.used));
        }
        if self.known.len() >= PLACES {
            self.known.clear();
        }
        self.known.insert(id, Known { place: Arc::clone(place), used: false });
    }

    /// The id of a control group is the inode of its directory.
    fn inode(&self, path: &[u8]) -> Option<u64> {
        // a group outside of the agent's cgroup namespace
        if path.split(|byte| *byte == b'/').any(|element| element == b"..") {
            return None;
        }
        let below = path.strip_prefix(b"/")?;
        let dir = self.mount.as_ref()?.join(std::ffi::OsStr::from_bytes(below));
        fs::metadata(dir).ok().map(|it| it.ino())
    }

    /// Looks for the directory of a control group: the process is gone, the group may be there still.
    fn search(&mut self, id: u64, ktime: u64) -> Option<Arc<Place>> {
        let mount = self.mount.as_ref()?;
        if ktime < self.searched.saturating_add(SEARCH_EVERY) {
            return None;
        }
        self.searched = ktime;
        let path = find_inode(mount, id)?;
        // then its path is one of version 1, which only /proc could tell
        if self.mixed && path == b"/" {
            return None;
        }
        let place = Arc::new(Place::new(&path));
        if !self.mixed {
            self.remember(id, &place);
        }
        Some(place)
    }
}

/// The path below `mount`, with a slash in front, of the directory with this inode. Nearest to the root first.
fn find_inode(mount: &Path, inode: u64) -> Option<Vec<u8>> {
    if fs::metadata(mount).ok()?.ino() == inode {
        return Some(b"/".to_vec());
    }
    let mut level = vec![mount.to_owned()];
    let mut left = SEARCH_LIMIT;
    while !level.is_empty() {
        let mut below = Vec::new();
        for dir in level {
            left = left.checked_sub(1)?;
            // a group that is removed meanwhile is not the one
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())) {
                if entry.ino() == inode {
                    let path = entry.path();
                    let path = path.strip_prefix(mount).ok()?;
                    return Some([b"/", path.as_os_str().as_bytes()].concat());
                }
                if below.len() < left {
                    below.push(entry.path());
                }
            }
        }
        level = below;
    }
    None
}

/// The path of a process among the lines of its /proc/PID/cgroup (cgroups(7)): that of version 2, else of systemd's own
/// hierarchy, else the longest of version 1; roots only when there is nothing else. But a path that names a container
/// comes first: where both versions are mounted, container runtimes leave version 2 alone.
fn choose(lines: &[u8]) -> Option<&[u8]> {
    let mut paths: Vec<(u8, &[u8])> = Vec::with_capacity(16);
    for line in lines.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let rank = match (number, controllers) {
            _ if path == b"/" => 3,
            (b"0", b"") => 0,
            (_, b"name=systemd") => 1,
            _ => 2,
        };
        paths.push((rank, path));
    }
    paths.sort_by_key(|(rank, path)| (*rank, std::cmp::Reverse(path.len())));
    let named = paths.iter().find(|(_, path)| str::from_utf8(path).is_ok_and(|path| container(path).is_some()));
    named.or(paths.first()).map(|(_, path)| *path)
}

/// Whether hierarchies of version 1 are mounted: version 2 is the one with number 0.
fn is_mixed(own: &[u8]) -> bool {
    own.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !line.starts_with(b"0:"))
}

/// Where cgroup2 is mounted with its root, by proc_pid_mountinfo(5).
fn mount_point(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let ty = fields.skip_while(|field| *field != b"-").nth(1)?;
        (ty == b"cgroup2" && root == b"/").then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
    })
}

/// Undoes `\040` and its like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|it| *first == b'\\' && it.iter().all(u8::is_ascii_digit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(byte);
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f1e0c5b7a9d4e2f8c6b5a4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f";

    #[test]
    fn one_path_is_chosen() {
        let docker = format!("/docker/{A}");
        let cases = [
            ("0::/system.slice/a.service\n".to_owned(), Some("/system.slice/a.service"), false),
            ("0::/\n".to_owned(), Some("/"), false),
            ("0::/gone.scope (deleted)\n".to_owned(), Some("/gone.scope"), false),
            ("0::/a:b:c\n".to_owned(), Some("/a:b:c"), false),
            ("9:name=systemd:/\n4:memory:/x/y\n1:cpu:/\n0::/\n".to_owned(), Some("/x/y"), true),
            ("9:name=systemd:/s.service\n4:memory:/x/y/much/longer\n0::/\n".to_owned(), Some("/s.service"), true),
            ("4:memory:/x/y\n3:cpu,cpuacct:/x/z\n".to_owned(), Some("/x/y"), true),
            (format!("4:memory:{docker}\n0::/system.slice/containerd.service\n"), Some(docker.as_str()), true),
            ("1:net_cls:/\n0::/init.scope\n".to_owned(), Some("/init.scope"), true),
            (String::new(), None, false),
            ("nonsense\n".to_owned(), None, true),
        ];
        for (lines, path, mixed) in cases {
            assert_eq!(choose(lines.as_bytes()), path.map(str::as_bytes), "{lines}");
            assert_eq!(is_mixed(lines.as_bytes()), mixed, "{lines}");
        }
    }

    #[test]
    fn mount_points() {
        let v1 = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let cases = [
            ("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n", Some("/sys/fs/cgroup/unified")),
            ("41 31 0:38 / /a\\040b\\134 rw shared:1 master:2 - cgroup2 cgroup2 rw\n", Some("/a b\\")),
            ("41 31 0:38 /sub /c rw - cgroup2 none rw\n", None),
            ("41 31 0:38 / /cgroup2 rw - tmpfs cgroup2 rw\n", None),
            ("41 31", None),
        ];
        for (line, point) in cases {
            assert_eq!(mount_point(format!("{v1}{line}").as_bytes()), point.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_inode() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("system.slice/x.service/sub");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.path().join("user.slice")).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let mut places = Places { mount: Some(root.path().to_owned()), ..Places::default() };
        let gone = Proc::new(root.path().join("no-proc"));

        let place = places.find(inode(&deep), 7, 7, 1_000_000_000, &gone);
        assert_eq!(
            (place.cgroup.as_deref(), place.unit.as_deref()),
            (Some("/system.slice/x.service/sub"), Some("x.service"))
        );
        let again = places.find(inode(&deep), 8, 8, 1_000_000_001, &gone);
        assert!(Arc::ptr_eq(&place, &again), "remembered");
        let early = places.find(inode(&root.path().join("user.slice")), 7, 7, 1_500_000_000, &gone);
        assert_eq!(*early, Place::default(), "one search a second");
        let root_group = places.find(inode(root.path()), 7, 7, 2_000_000_000, &gone);
        assert_eq!(root_group.cgroup.as_deref(), Some("/"));

        let (id, read) = places.read(b"0::/system.slice/x.service/sub\n");
        assert!(id == Some(inode(&deep)) && Arc::ptr_eq(&place, &read));
        let (id, read) = places.read(b"0::/gone (deleted)\n");
        assert_eq!((id, read.cgroup.as_deref()), (None, Some("/gone")));
    }

    #[test]
    fn places_are_bounded() {
        let mut places = Places::default();
        let place = Arc::default();
        for id in 0..3 * PLACES as u64 {
            places.remember(id, &place);
            assert!(places.remembered(0).is_some(), "what is in use stays");
            assert!(places.known.len() <= PLACES);
        }
    }

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes() {
        assert_eq!(Place::new(b"/a\xff.service").cgroup.as_deref(), Some("/a\\xff.service"));
    }
}
