//! Names of users and groups, read from the files themselves: a static binary has no name service switch (nss(5)).

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use common::wire::{Id, UNSET};

/// The files are looked at this often, in nanoseconds of event time.
const CHECK_EVERY: u64 = 1_000_000_000;
/// What a file is longer than this is left unread.
const FILE_LIMIT: u64 = 16 << 20;

/// The names of this host. In a container the same number may have another name.
#[derive(Debug)]
pub struct Users {
    passwd: Names,
    group: Names,
    checked: u64,
}

impl Users {
    /// Reads passwd(5) and group(5) below `root`, and those of libnss-extrausers after them.
    pub fn load(root: &Path) -> Self {
        let names = |name: &str, parse| {
            Names::load([root.join("etc").join(name), root.join("var/lib/extrausers").join(name)], parse)
        };
        Self { passwd: names("passwd", passwd_line), group: names("group", group_line), checked: 0 }
    }

    /// Reads the files again if they changed; looks at most once a second. `ktime` is the time of an event.
    pub fn refresh(&mut self, ktime: u64) {
        if ktime < self.checked.saturating_add(CHECK_EVERY) {
            return;
        }
        self.checked = ktime;
        self.passwd.refresh();
        self.group.refresh();
    }

    /// The name of a user id; the first one where the file gives more.
    pub fn user(&self, uid: Id) -> Option<&str> {
        self.passwd.find(uid)
    }

    /// The name of a group id; the first one where the file gives more.
    pub fn group(&self, gid: Id) -> Option<&str> {
        self.group.find(gid)
    }
}

/// Tells one state of a file from another: device, inode, size, times of data and inode change.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

type ParseLine = fn(&str) -> Option<(u32, &str)>;

#[derive(Debug)]
struct Names {
    files: [PathBuf; 2],
    stamps: [Option<Stamp>; 2],
    parse: ParseLine,
    /// Sorted by id.
    by_id: Vec<(u32, Box<str>)>,
}

impl Names {
    fn load(files: [PathBuf; 2], parse: ParseLine) -> Self {
        let mut names = Self { files, stamps: [None; 2], parse, by_id: Vec::new() };
        names.refresh();
        names
    }

    fn find(&self, id: Id) -> Option<&str> {
        let at = self.by_id.binary_search_by_key(&id.0, |(id, _)| *id).ok()?;
        Some(&self.by_id[at].1)
    }

    /// A file that is gone or cannot be read has no names; so it is with getpwuid(3).
    fn refresh(&mut self) {
        let stamps = [stamp(&self.files[0]), stamp(&self.files[1])];
        if stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        self.by_id.clear();
        for file in &self.files {
            let mut bytes = Vec::new();
            let read = File::open(file).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes));
            if read.is_ok() {
                self.by_id.extend(parse(&bytes, self.parse));
            }
        }
        // stable: the first of several names of an id stays first
        self.by_id.sort_by_key(|(id, _)| *id);
        self.by_id.dedup_by_key(|(id, _)| *id);
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let it = fs::metadata(file).ok()?;
    Some((it.dev(), it.ino(), it.size(), (it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec())))
}

/// Lines that make no sense are passed over: they must not take the names of the others away.
fn parse(bytes: &[u8], line: ParseLine) -> impl Iterator<Item = (u32, Box<str>)> {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    lines.filter_map(move |text| line(text).map(|(id, name)| (id, name.into())))
}

/// `name:password:uid:gid:…`, see passwd(5).
fn passwd_line(line: &str) -> Option<(u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    number(gid)?;
    Some((number(uid)?, valid(name)?))
}

/// `name:password:gid:members`, see group(5).
fn group_line(line: &str) -> Option<(u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((number(gid)?, valid(name)?))
}

/// Comments and the `+` and `-` lines of NIS are no names.
fn valid(name: &str) -> Option<&str> {
    let odd =
        name.is_empty() || name.starts_with(['#', '+', '-']) || name.contains(|it: char| it.is_control() || it == ' ');
    (!odd).then_some(name)
}

fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != UNSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_take_nothing_from_the_others() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\n\
            toor:x:0:0::/root:/bin/sh\n\
            # comment:x:1:1::/:\n\
            \n\
            +::::::\n\
            +nis:x:2:2::/:\n\
            -bad:x:3:3::/:\n\
            short:x:4\n\
            :x:5:5::/:\n\
            minus:x:-1:5::/:\n\
            plus:x:+6:6::/:\n\
            space:x: 7:7::/:\n\
            two words:x:8:8::/:\n\
            big:x:4294967296:9::/:\n\
            unset:x:4294967295:9::/:\n\
            hex:x:0x10:9::/:\n\
            nogid:x:11:::/:\n\
            bell\x07:x:12:12::/:\n\
            latin\xe4:x:13:13::/:\n\
            j\xc3\xb6rg:x:14:14::/:\n\
            colons:x:15:15:a:b:c:d:e:f\n\
            nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\r\n\
            last:x:4294967294:20::/:";
        let found: Vec<_> = parse(passwd, passwd_line).map(|(id, name)| (id, name.into_string())).collect();
        let expected =
            [(0, "root"), (0, "toor"), (14, "jörg"), (15, "colons"), (65534, "nobody"), (4_294_967_294, "last")];
        assert_eq!(found, expected.map(|(id, name)| (id, name.to_owned())));

        let group = b"root:x:0:\nwheel:x:10:a,b\nshort:x\nodd:x:x:\nplain::11\n";
        let found: Vec<_> = parse(group, group_line).map(|(id, name)| (id, name.into_string())).collect();
        assert_eq!(found, [(0, "root"), (10, "wheel"), (11, "plain")].map(|(id, name)| (id, name.to_owned())));
    }

    #[test]
    fn changed_files_are_read_again_once_a_second() {
        const SECOND: u64 = 1_000_000_000;
        let root = tempfile::tempdir().unwrap();
        let mut users = Users::load(root.path());
        assert_eq!(users.user(Id(0)), None);

        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::create_dir_all(root.path().join("var/lib/extrausers")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\n").unwrap();
        fs::write(root.path().join("etc/group"), "staff:x:50:\n").unwrap();
        fs::write(root.path().join("var/lib/extrausers/passwd"), "other:x:0:0::/:\nextra:x:2000:2000::/:\n").unwrap();
        users.refresh(5 * SECOND);
        assert_eq!((users.user(Id(0)), users.user(Id(2000))), (Some("root"), Some("extra")));
        assert_eq!((users.group(Id(50)), users.group(Id(0))), (Some("staff"), None));
        assert_eq!((users.user(Id(1)), users.user(Id(UNSET))), (None, None));

        fs::write(root.path().join("etc/passwd"), "admin:x:0:0::/:\nnew:x:1:1::/:\n").unwrap();
        users.refresh(6 * SECOND - 1);
        assert_eq!(users.user(Id(0)), Some("root"), "too early to look");
        users.refresh(6 * SECOND);
        assert_eq!((users.user(Id(0)), users.user(Id(1))), (Some("admin"), Some("new")));
    }
}
