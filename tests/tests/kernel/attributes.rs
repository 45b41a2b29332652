//! mkdir, mknod, setxattr, removexattr, utimes, file_setattr, open_by_handle_at. Numbers of 32-bit calls are those of
//! `arch/x86/entry/syscalls/syscall_32.tbl`.

use std::{fs, os::unix::fs::symlink};

use nix::libc::{self, AT_FDCWD};
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Arg, Stage, args, stat},
    files::{Attributes, with},
};

const ABSENT: &str = "/no-such-place/file";
const EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;

/// Gives up the rights of root: what belongs to root can no longer be changed.
fn give_up(it: &mut Stage) {
    it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
}

#[test]
fn directories_and_special_files() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let dir = it.path("dir");
        let fd = it.quiet(libc::SYS_open, args![&it.dir.clone(), libc::O_PATH, 0]);
        it.quiet(libc::SYS_chdir, args![&it.dir.clone()]);
        let named = |kind: &str, call: &str, path: &str, more: Value| with(Attributes::named(kind, call, path), more);
        let mode = |mode: &str| json!({ "mode": mode });
        let name = dir.to_str().unwrap();

        let (mkdir, mkdirat) = (libc::SYS_mkdir, libc::SYS_mkdirat);
        it.check("mkdir", mkdir, args!["dir", 0o1750], named("mkdir", "mkdir", name, mode("1750")));
        assert!(dir.is_dir());
        it.check("mkdir, EEXIST", mkdir, args![&dir, 0o700], named("mkdir", "mkdir", name, mode("0700")));
        it.check("mkdir, ENOENT", mkdir, args![ABSENT, 0o700], named("mkdir", "mkdir", ABSENT, mode("0700")));
        let below = dir.join("below");
        let expected = named("mkdir", "mkdirat", below.to_str().unwrap(), mode("0755"));
        it.check("mkdirat", mkdirat, args![fd, "dir/below", 0o755], expected);
        let narrow = it.path("narrow");
        let expected = named("mkdir", "mkdir", narrow.to_str().unwrap(), mode("0755"));
        it.check_compat("mkdir, 32 bits", 39, args![&narrow, 0o755], expected);
        let expected = named("mkdir", "mkdirat", narrow.to_str().unwrap(), mode("0755"));
        it.check_compat("mkdirat, 32 bits", 296, args![fd, "narrow", 0o755], expected);

        let (mknod, mknodat) = (libc::SYS_mknod, libc::SYS_mknodat);
        let special = |mode: &str, device: Value| json!({ "mode": mode, "device": device });
        let path = |name: &str| it.dir.join(name).to_str().unwrap().to_owned();
        let (pipe, null, disk, old) = (path("pipe"), path("null"), path("disk"), path("old"));
        let expected = named("mknod", "mknod", &pipe, special("10600", Value::Null));
        it.check("a named pipe", mknod, args![pipe.as_str(), libc::S_IFIFO | 0o600, 0], expected);
        let expected = named("mknod", "mknodat", &null, special("20666", json!("1:3")));
        it.check("a character device", mknodat, args![fd, "null", libc::S_IFCHR | 0o666, 0x103], expected);
        // major 4095, minor 0xfff00 | 1
        let expected = named("mknod", "mknod", &disk, special("60600", json!("4095:1048321")));
        let number = 0xfff0_0000_u32 | 0xfff << 8 | 1;
        it.check("a block device", mknod, args![disk.as_str(), libc::S_IFBLK | 0o600, number], expected);
        let expected = named("mknod", "mknod", &old, special("0600", Value::Null));
        it.check_compat("mknod, 32 bits", 14, args![old.as_str(), 0o600, 7], expected);
        let expected = named("mknod", "mknodat", &old, special("100600", Value::Null));
        it.check_compat("mknodat, EEXIST, 32 bits", 297, args![fd, "old", libc::S_IFREG | 0o600, 7], expected);

        give_up(&mut it);
        let new = path_of(&it, "new");
        it.check("mkdir, EACCES", mkdir, args!["new", 0o700], named("mkdir", "mkdir", &new, mode("0700")));
        let expected = named("mknod", "mknod", &new, special("20600", json!("1:3")));
        it.check("mknod, EPERM", mknod, args![new.as_str(), libc::S_IFCHR | 0o600, 0x103], expected);
    }
}

fn path_of(it: &Stage, name: &str) -> String {
    it.path(name).to_str().unwrap().to_owned()
}

/// `struct xattr_args` of setxattrat(2): a value of two bytes.
fn xattr_args(flags: u32) -> Vec<u8> {
    let mut bytes = 0_u64.to_ne_bytes().to_vec();
    bytes.extend([0_u32, flags].iter().flat_map(|it| it.to_ne_bytes()));
    bytes
}

#[test]
fn extended_attributes() {
    const SETXATTRAT: i64 = 463; // syscall_64.tbl; since Linux 6.13
    const REMOVEXATTRAT: i64 = 466;
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let its = Attributes::new(&mut it);
        let Attributes { fd, dir, .. } = its;
        let (named, bad_fd) = (Attributes::named, Attributes::bad_fd);
        let file = its.file.clone();
        let name = file.to_str().unwrap();
        let link = it.path("link");
        symlink("file", &link).unwrap();
        let both = json!(["path", "name"]);
        let set = |name: &str, size: u64, flags: &str| json!({ "name": name, "size": size, "flags": flags, "user_copy": both });
        let set_by_fd = |name: &str, size: u64, flags: &str| json!({ "name": name, "size": size, "flags": flags, "user_copy": ["name"] });

        let expected = with(named("setxattr", "setxattr", name), set("user.note", 2, "XATTR_CREATE"));
        it.check("setxattr", libc::SYS_setxattr, args![&file, "user.note", "ab", 2, 1], expected);
        let expected = with(named("setxattr", "setxattr", ABSENT), set("user.note", 0, "0"));
        it.check("setxattr, ENOENT", libc::SYS_setxattr, args![ABSENT, "user.note", "", 0, 0], expected);
        let expected = with(named("setxattr", "lsetxattr", link.to_str().unwrap()), set("trusted.x", 1, "0"));
        it.check("lsetxattr", libc::SYS_lsetxattr, args![&link, "trusted.x", "a", 1, 0], expected);
        let replaced = set_by_fd("user.note", 3, "XATTR_REPLACE");
        let expected = with(its.by_fd("setxattr", "fsetxattr"), replaced);
        it.check("fsetxattr", libc::SYS_fsetxattr, args![fd, "user.note", "abc", 3, 2], expected);
        let expected = with(bad_fd("setxattr", "fsetxattr"), set_by_fd("user.note", 3, "0"));
        it.check("fsetxattr, EBADF", libc::SYS_fsetxattr, args![999, "user.note", "abc", 3, 0], expected);
        let long = "user.".to_owned() + &"x".repeat(300);
        let mut cut = set(&long[..257], 1, "0");
        cut["truncated"] = json!(["name"]);
        let expected = with(named("setxattr", "setxattr", name), cut);
        it.check("a name too long", libc::SYS_setxattr, args![&file, long.as_str(), "a", 1, 0], expected);
        let expected = with(named("setxattr", "setxattrat", name), set("user.at", 0, "0"));
        it.check("setxattrat", SETXATTRAT, args![dir, "file", 0, "user.at", xattr_args(0), 16], expected);
        // an empty name is one that the caller says
        let expected = with(named("setxattr", "setxattrat", name), set("user.at", 0, "XATTR_REPLACE"));
        let by_fd = args![fd, "", EMPTY_PATH, "user.at", xattr_args(2), 16];
        it.check("setxattrat of a descriptor", SETXATTRAT, by_fd, expected);
        let expected = with(named("setxattr", "setxattr", name), set("user.narrow", 1, "0"));
        it.check_compat("setxattr, 32 bits", 226, args![&file, "user.narrow", "a", 1, 0], expected);
        let expected = with(its.by_fd("setxattr", "fsetxattr"), set_by_fd("user.narrow", 1, "0"));
        it.check_compat("fsetxattr, 32 bits", 228, args![fd, "user.narrow", "a", 1, 0], expected);

        let gone = |name: &str| json!({ "name": name, "user_copy": both });
        let gone_by_fd = |name: &str| json!({ "name": name, "user_copy": ["name"] });
        let expected = with(named("removexattr", "removexattr", name), gone("user.note"));
        it.check("removexattr", libc::SYS_removexattr, args![&file, "user.note"], expected.clone());
        it.check("removexattr, ENODATA", libc::SYS_removexattr, args![&file, "user.note"], expected);
        let expected = with(named("removexattr", "lremovexattr", link.to_str().unwrap()), gone("trusted.x"));
        it.check("lremovexattr", libc::SYS_lremovexattr, args![&link, "trusted.x"], expected);
        let expected = with(its.by_fd("removexattr", "fremovexattr"), gone_by_fd("user.narrow"));
        it.check("fremovexattr", libc::SYS_fremovexattr, args![fd, "user.narrow"], expected);
        let expected = with(named("removexattr", "removexattrat", name), gone("user.at"));
        it.check("removexattrat", REMOVEXATTRAT, args![dir, "file", 0, "user.at"], expected);
        let expected = with(its.by_fd("removexattr", "removexattrat"), gone_by_fd("user.at"));
        it.check("removexattrat of a descriptor", REMOVEXATTRAT, args![fd, 0, EMPTY_PATH, "user.at"], expected);
        let expected = with(named("removexattr", "removexattr", name), gone("user.at"));
        it.check_compat("removexattr, 32 bits", 235, args![&file, "user.at"], expected);

        give_up(&mut it);
        let expected = with(named("setxattr", "setxattr", name), set("security.capability", 1, "0"));
        it.check("setxattr, EPERM", libc::SYS_setxattr, args![&file, "security.capability", "a", 1, 0], expected);
        let expected = with(named("removexattr", "removexattr", name), gone("user.x"));
        it.check("removexattr, EACCES", libc::SYS_removexattr, args![&file, "user.x"], expected);
    }
}

fn longs(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn ints(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

#[test]
fn times() {
    let (now, omit) = (libc::UTIME_NOW, libc::UTIME_OMIT);
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let its = Attributes::new(&mut it);
        let Attributes { fd, dir, .. } = its;
        let (named, bad_fd) = (Attributes::named, Attributes::bad_fd);
        let file = its.file.clone();
        let name = file.to_str().unwrap();
        let times = |times: &str, atime: Value, mtime: Value| json!({ "times": times, "atime": atime, "mtime": mtime });
        let (both, null) = ("atime|mtime", Value::Null);
        let (utime, utimes) = (libc::SYS_utime, libc::SYS_utimes);
        let (futimesat, utimensat) = (libc::SYS_futimesat, libc::SYS_utimensat);

        let given = times(both, json!(0), json!("1000000000000000000"));
        let expected = with(named("utimes", "utime", name), given);
        it.check("utime", utime, args![&file, longs(&[0, 1_000_000_000])], expected);
        let expected = with(named("utimes", "utime", ABSENT), times(both, null.clone(), null.clone()));
        it.check("utime now, ENOENT", utime, args![ABSENT, 0], expected);
        let given = times(both, json!(1_000_002_000), json!("-31535999999999000"));
        let expected = with(named("utimes", "utimes", name), given);
        it.check("utimes", utimes, args![&file, longs(&[1, 2, -31_536_000, 1])], expected);
        let expected = with(named("utimes", "futimesat", name), times(both, json!(0), json!(1_000)));
        it.check("futimesat", futimesat, args![dir, "file", longs(&[0, 0, 0, 1])], expected);
        let expected = with(its.by_fd("utimes", "futimesat"), times(both, json!(0), json!(1_000)));
        it.check("futimesat of a descriptor", futimesat, args![fd, 0, longs(&[0, 0, 0, 1])], expected);
        let expected = with(named("utimes", "utimensat", name), times("mtime", null.clone(), json!(1_000_000_007)));
        it.check("utimensat", utimensat, args![dir, "file", longs(&[5, omit, 1, 7]), 0], expected);
        let expected = with(its.by_fd("utimes", "utimensat"), times("atime", null.clone(), null.clone()));
        it.check("a descriptor", utimensat, args![fd, 0, longs(&[0, now, 0, omit]), 0], expected);
        let expected = with(named("utimes", "utimensat", name), times("atime", null.clone(), null.clone()));
        it.check("an empty path", utimensat, args![fd, "", longs(&[0, now, 0, omit]), EMPTY_PATH], expected);
        let expected = with(bad_fd("utimes", "utimensat"), times(both, null.clone(), null.clone()));
        it.check("utimensat, EBADF", utimensat, args![999, 0, 0, 0], expected);
        let far = times(both, json!("9223372035000000000"), json!("-9223372035000000000"));
        let expected = with(named("utimes", "utimensat", name), far);
        it.check(
            "times out of all bounds",
            utimensat,
            args![dir, "file", longs(&[i64::MAX, 0, i64::MIN, 0]), 0],
            expected,
        );
        let expected = with(named("utimes", "utimensat", name), times("0", null.clone(), null.clone()));
        it.check("utimensat, EFAULT", utimensat, args![dir, "file", 1, 0], expected);

        let expected = with(named("utimes", "utime", name), times(both, json!(-1_000_000_000), json!(2_000_000_000)));
        it.check_compat("utime, 32 bits", 30, args![&file, ints(&[-1, 2])], expected);
        let expected =
            with(named("utimes", "utimes", name), times(both, json!(1_000_002_000), json!(3_000_004_000_i64)));
        it.check_compat("utimes, 32 bits", 271, args![&file, ints(&[1, 2, 3, 4])], expected.clone());
        let expected = with(expected, json!({ "call": "futimesat" }));
        it.check_compat("futimesat, 32 bits", 299, args![dir, "file", ints(&[1, 2, 3, 4])], expected);
        let given = times(both, json!(1_000_000_002), json!(3_000_000_004_i64));
        let expected = with(named("utimes", "utimensat", name), given);
        it.check_compat("utimensat, 32 bits", 320, args![dir, "file", ints(&[1, 2, 3, 4]), 0], expected.clone());
        let expected = with(expected, json!({ "call": "utimensat_time64" }));
        it.check_compat("utimensat_time64", 412, args![dir, "file", longs(&[1, 2, 3, 4]), 0], expected);

        give_up(&mut it);
        let expected = with(named("utimes", "utime", name), times(both, json!(0), json!(0)));
        it.check("utime, EPERM", utime, args![&file, longs(&[0, 0])], expected);
    }
}

#[test]
fn attributes_as_chattr_sets_them() {
    const FILE_SETATTR: i64 = 469; // syscall_64.tbl; since Linux 6.17
    // include/uapi/linux/fs.h
    const SETFLAGS: i64 = 0x4008_6602;
    const SETFLAGS_32: i64 = 0x4004_6602;
    const FSSETXATTR: i64 = 0x401c_5820;
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let its = Attributes::new(&mut it);
        let Attributes { fd, dir, .. } = its;
        let (named, bad_fd) = (Attributes::named, Attributes::bad_fd);
        let name = its.file.to_str().unwrap();
        let set = |xflags: &str, flags: &str| json!({ "xflags": xflags, "flags": flags });
        let attr = |xflags: i64| longs(&[xflags, 0, 0]);

        let expected = with(named("file_setattr", "file_setattr", name), set("FS_XFLAG_NODUMP", "0"));
        it.check("file_setattr", FILE_SETATTR, args![dir, "file", attr(0x80), 24, 0], expected);
        let expected = with(named("file_setattr", "file_setattr", name), set("FS_XFLAG_APPEND|FS_XFLAG_NODUMP", "0"));
        it.check("of a descriptor", FILE_SETATTR, args![fd, "", attr(0x90), 24, EMPTY_PATH], expected);
        let expected = with(named("file_setattr", "file_setattr", ABSENT), set("0", "0"));
        it.check("file_setattr, ENOENT", FILE_SETATTR, args![AT_FDCWD, ABSENT, attr(0), 24, 0], expected);

        let expected = with(its.by_fd("file_setattr", "ioctl"), set("0", "FS_NODUMP_FL|FS_EXTENT_FL"));
        it.check("FS_IOC_SETFLAGS", libc::SYS_ioctl, args![fd, SETFLAGS, ints(&[0x8_0040])], expected.clone());
        it.check_compat("FS_IOC32_SETFLAGS", 54, args![fd, SETFLAGS_32, ints(&[0x8_0040])], expected);
        let expected = with(its.by_fd("file_setattr", "ioctl"), set("FS_XFLAG_NODUMP", "0"));
        let fsxattr = ints(&[0x80, 0, 0, 0, 0, 0, 0]);
        it.check("FS_IOC_FSSETXATTR", libc::SYS_ioctl, args![fd, FSSETXATTR, fsxattr], expected);
        let expected = with(bad_fd("file_setattr", "ioctl"), set("0", "FS_IMMUTABLE_FL"));
        it.check("ioctl, EBADF", libc::SYS_ioctl, args![999, SETFLAGS, ints(&[0x10])], expected);
        let (_, records) = it.act(libc::SYS_ioctl, args![fd, 0x541b, Arg::Kept(0)]);
        assert_eq!(records, Vec::<Value>::new(), "another ioctl is no event");

        give_up(&mut it);
        let expected = with(named("file_setattr", "file_setattr", name), set("FS_XFLAG_IMMUTABLE", "0"));
        it.check("file_setattr, EPERM", FILE_SETATTR, args![dir, "file", attr(8), 24, 0], expected);
        let expected = with(its.by_fd("file_setattr", "ioctl"), set("0", "FS_IMMUTABLE_FL|FS_EXTENT_FL"));
        it.check("FS_IOC_SETFLAGS, EPERM", libc::SYS_ioctl, args![fd, SETFLAGS, ints(&[0x8_0010])], expected);
    }
}

#[test]
fn open_by_handle() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");
        // struct file_handle { u32 handle_bytes; int handle_type; … }
        fs::write(&file, ints(&[128, 0])).unwrap();
        let fd = it.quiet(libc::SYS_open, args![&file, 0, 0]);
        it.quiet(libc::SYS_read, args![fd, Arg::Kept(0), 8]);
        let handle = args![AT_FDCWD, &file, Arg::Kept(0), Arg::Kept(512), 0];
        it.quiet(libc::SYS_name_to_handle_at, handle);

        let (dev, inode, mode) = stat(&file);
        let opened = |flags: &str, access: &str| {
            json!({
                "kind": "open", "call": "open_by_handle_at", "path": file, "flags": flags, "access": access,
                "create_mode": null, "dev": dev, "inode": inode, "mode": mode, "created": false, "deleted": false,
            })
        };
        let by_handle = libc::SYS_open_by_handle_at;
        let expected = opened("O_RDWR|O_CLOEXEC", "read-write");
        it.check("open_by_handle_at", by_handle, args![fd, Arg::Kept(0), libc::O_RDWR | libc::O_CLOEXEC], expected);
        it.check_compat("of 32 bits", 342, args![fd, Arg::Kept(0), 0], opened("O_RDONLY", "read"));
        let not_opened = |flags: &str, access: &str| {
            json!({
                "kind": "open", "call": "open_by_handle_at", "flags": flags, "access": access, "created": false,
                "deleted": false,
            })
        };
        it.check("EBADF", by_handle, args![999, Arg::Kept(0), 1], not_opened("O_WRONLY", "write"));
        give_up(&mut it);
        it.check("EPERM", by_handle, args![fd, Arg::Kept(0), 0], not_opened("O_RDONLY", "read"));
    }
}
