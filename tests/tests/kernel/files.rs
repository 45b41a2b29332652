//! open, unlink, rmdir, rename, link, symlink, chmod, chown, truncate.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use nix::libc::{self, AT_FDCWD};
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Stage, args, stat},
};

const ABSENT: &str = "/no-such-place/file";

/// The fields of an open of an existing file.
fn opened(path: &Path, call: &str, flags: &str, access: &str, others: Value) -> Value {
    let (dev, inode, mode) = stat(path);
    let mut fields = json!({
        "kind": "open", "call": call, "path": path, "flags": flags, "access": access, "create_mode": null,
        "dev": dev, "inode": inode, "mode": mode, "created": false, "deleted": false,
    });
    merge(&mut fields, others);
    fields
}

fn not_opened(path: &str, call: &str, flags: &str, access: &str, create_mode: Option<&str>) -> Value {
    json!({
        "kind": "open", "call": call, "path": path, "flags": flags, "access": access, "create_mode": create_mode,
        "dev": null, "inode": null, "mode": null, "created": false, "deleted": false, "user_copy": ["path"],
    })
}

fn merge(fields: &mut Value, more: Value) {
    let Value::Object(mut more) = more else { unreachable!() };
    fields.as_object_mut().unwrap().append(&mut more);
}

fn how(flags: i32, mode: u64) -> Vec<u8> {
    // struct open_how of openat2(2)
    [u64::from(flags.cast_unsigned()), mode, 0].iter().flat_map(|it| it.to_ne_bytes()).collect()
}

#[test]
fn open() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");
        let file_name = file.to_str().unwrap().to_owned();
        fs::write(&file, "x").unwrap();
        let dir = it.dir.clone();
        let dir_name = dir.to_str().unwrap().to_owned();
        let (creat, openat2) = (libc::SYS_creat, libc::SYS_openat2);

        // each call there is
        it.check("open", libc::SYS_open, args![&file, 0, 0], opened(&file, "open", "O_RDONLY", "read", json!({})));
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        let expected = opened(&file, "openat", "O_WRONLY|O_CLOEXEC", "write", json!({}));
        it.check("openat", libc::SYS_openat, args![AT_FDCWD, &file, flags, 0], expected);
        let expected = opened(&file, "openat2", "O_RDWR|O_APPEND", "read-write", json!({}));
        it.check("openat2", openat2, args![AT_FDCWD, &file, how(libc::O_RDWR | libc::O_APPEND, 0), 24], expected);
        let more = json!({ "create_mode": "0640" });
        let expected = opened(&file, "creat", "O_WRONLY|O_CREAT|O_TRUNC", "write", more);
        it.check("creat of an existing file", creat, args![&file, 0o640], expected);
        let expected = opened(&dir, "open", "O_RDONLY|O_DIRECTORY|O_PATH", "path", json!({}));
        it.check("O_PATH", libc::SYS_open, args![&dir, libc::O_PATH | libc::O_DIRECTORY, 0], expected);

        // created or not
        let new = it.path("new");
        it.quiet(libc::SYS_umask, args![0o22]);
        let done = it.act(creat, args![&new, 0o666]);
        let more = json!({ "create_mode": "0666", "created": true });
        it.compare(
            "creat of a new file",
            done.0,
            done.1,
            opened(&new, "creat", "O_WRONLY|O_CREAT|O_TRUNC", "write", more),
        );
        let flags = libc::O_CREAT | libc::O_RDWR;
        let more = json!({ "create_mode": "0600" });
        let expected = opened(&new, "open", "O_RDWR|O_CREAT", "read-write", more.clone());
        it.check("O_CREAT of an existing file", libc::SYS_open, args![&new, flags, 0o600], expected);
        fs::remove_file(&new).unwrap();
        let done = it.act(libc::SYS_open, args![&new, flags, 0o600]);
        let mut expected = opened(&new, "open", "O_RDWR|O_CREAT", "read-write", more);
        expected["created"] = json!(true);
        it.compare("O_CREAT of a new file", done.0, done.1, expected);
        let expected = not_opened(&file_name, "openat2", "O_RDWR|O_CREAT|O_EXCL", "read-write", Some("0600"));
        let excl = how(flags | libc::O_EXCL, 0o600);
        it.check("O_EXCL of an existing file", openat2, args![AT_FDCWD, &file, excl, 24], expected);

        // no name
        let flags = libc::O_TMPFILE | libc::O_RDWR;
        let (done, records) = it.act(libc::SYS_open, args![&dir, flags, 0o600]);
        let open = fs::metadata(format!("/proc/{}/fd/{}", it.actor.pid(), done.ret)).unwrap();
        let inode = open.ino();
        let more = json!({
            "path": format!("{dir_name}/#{inode}"), "inode": inode.to_string(), "mode": "100600",
            "create_mode": "0600", "deleted": true,
        });
        let mut records = records;
        // told apart in `a_file_without_a_name_is_created`
        records[0]["created"] = json!(false);
        it.compare("O_TMPFILE", done, records, opened(&dir, "open", "O_RDWR|O_TMPFILE", "read-write", more));
        let gone = it.path("gone");
        fs::write(&gone, "").unwrap();
        let fd = it.quiet(libc::SYS_open, args![&gone, 0, 0]);
        let expected = opened(&gone, "open", "O_RDONLY", "read", json!({ "deleted": true }));
        fs::remove_file(&gone).unwrap();
        let by_fd = format!("/proc/self/fd/{fd}");
        it.check("a deleted file", libc::SYS_open, args![by_fd.as_str(), 0, 0], expected);
        let fd = it.quiet(libc::SYS_memfd_create, args!["secret", 0]);
        let by_fd = format!("/proc/self/fd/{fd}");
        let open = fs::metadata(format!("/proc/{}/fd/{fd}", it.actor.pid())).unwrap();
        let (_, records) = it.act(libc::SYS_open, args![by_fd.as_str(), 0, 0]);
        assert_eq!(records[0]["path"], "memfd:secret", "{records:#?}");
        assert_eq!(records[0]["inode"], open.ino().to_string());
        assert_eq!(records[0]["deleted"], true);

        // names that say something else than the kernel makes of them
        fs::create_dir_all(it.path("a/b")).unwrap();
        symlink(&file, it.path("a/b/link")).unwrap();
        symlink("b", it.path("a/dir-link")).unwrap();
        let expected = opened(&file, "open", "O_RDONLY", "read", json!({}));
        let link = it.path("a/dir-link/../b/./link");
        it.check("symbolic links and dots", libc::SYS_open, args![&link, 0, 0], expected.clone());
        let expected_at = opened(&file, "openat", "O_RDONLY", "read", json!({}));
        let fd = it.quiet(libc::SYS_open, args![&it.path("a"), libc::O_PATH, 0]);
        it.check("a name below a descriptor", libc::SYS_openat, args![fd, "b/../../file", 0, 0], expected_at.clone());
        it.quiet(libc::SYS_chdir, args![&it.path("a/b")]);
        it.check("a relative name", libc::SYS_open, args!["../../file", 0, 0], expected);
        it.check("absolute in spite of a descriptor", libc::SYS_openat, args![fd, &file, 0, 0], expected_at);

        // failures: what the caller asked for, folded by text, relative to where it was
        let expected = not_opened(&format!("{dir_name}/a/none"), "open", "O_RDONLY", "read", None);
        it.check("ENOENT, relative", libc::SYS_open, args!["./..//none", 0, 0], expected);
        let expected = not_opened(&format!("{dir_name}/a/none"), "openat", "O_WRONLY", "write", None);
        it.check("ENOENT, by descriptor", libc::SYS_openat, args![fd, "none", 1, 0], expected);
        let expected = not_opened(ABSENT, "open", "O_WRONLY|O_CREAT", "write", Some("0644"));
        it.check("ENOENT, absolute", libc::SYS_open, args![ABSENT, libc::O_CREAT | 1, 0o644], expected);
        let expected =
            not_opened(&format!("{file_name}/x"), "creat", "O_WRONLY|O_CREAT|O_TRUNC", "write", Some("0600"));
        it.check("ENOTDIR", creat, args![format!("{file_name}/x").as_str(), 0o600], expected);
        let private = it.path("private");
        fs::write(&private, "").unwrap();
        fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        let expected = not_opened(private.to_str().unwrap(), "open", "O_RDONLY", "read", None);
        it.check("EACCES", libc::SYS_open, args![&private, 0, 0], expected);
    }
}

#[test]
fn a_file_without_a_name_is_created() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (_, records) = it.act(libc::SYS_open, args![&it.dir.clone(), libc::O_TMPFILE | libc::O_RDWR, 0o600]);
        assert_eq!(records[0]["created"], true, "{records:#?}");
    }
}

/// The kernel's path is that of the mount namespace, whatever the process takes for its root.
#[test]
fn mounts_and_roots() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (real, bound, tmpfs) = (it.path("real"), it.path("bound"), it.path("tmpfs"));
        for dir in [&real, &bound, &tmpfs] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(real.join("file"), "").unwrap();
        it.quiet(libc::SYS_unshare, args![libc::CLONE_NEWNS]);
        let private = i64::try_from(libc::MS_REC | libc::MS_PRIVATE).unwrap();
        it.quiet(libc::SYS_mount, args!["none", "/", "none", private, 0]);
        let bind = i64::try_from(libc::MS_BIND).unwrap();
        it.quiet(libc::SYS_mount, args![&real, &bound, "none", bind, 0]);
        it.quiet(libc::SYS_mount, args!["none", &tmpfs, "tmpfs", 0, 0]);
        it.quiet(libc::SYS_mkdir, args![&tmpfs.join("deep"), 0o755]);

        let (dev, inode, mode) = stat(&real.join("file"));
        let at = |path: &Path| {
            json!({
                "kind": "open", "call": "open", "path": path, "flags": "O_RDONLY", "access": "read", "create_mode": null,
                "dev": dev, "inode": inode, "mode": mode, "created": false, "deleted": false,
            })
        };
        let file = bound.join("file");
        it.check("a bind mount in an own mount namespace", libc::SYS_open, args![&file, 0, 0], at(&file));
        let file = tmpfs.join("deep/file");
        let (done, records) = it.act(libc::SYS_creat, args![&file, 0o600]);
        let seen = format!("/proc/{}/root{}", it.actor.pid(), file.display());
        let (dev, inode, mode) = stat(Path::new(&seen));
        let expected = json!({
            "kind": "open", "call": "creat", "path": file, "flags": "O_WRONLY|O_CREAT|O_TRUNC", "access": "write",
            "create_mode": "0600", "dev": dev, "inode": inode, "mode": mode, "created": true, "deleted": false,
        });
        it.compare("a tmpfs", done, records, expected);
        it.quiet(libc::SYS_chroot, args![&bound]);
        it.quiet(libc::SYS_chdir, args!["/"]);
        let file = bound.join("file");
        it.check("a chroot", libc::SYS_open, args!["/file", 0, 0], at(&file));
        it.check("a chroot, relative", libc::SYS_open, args!["file", 0, 0], at(&file));
        let expected = not_opened(bound.join("none").to_str().unwrap(), "open", "O_RDONLY", "read", None);
        it.check("a chroot, failed", libc::SYS_open, args!["/none", 0, 0], expected);
    }
}

#[test]
fn names() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (a, b, dir) = (it.path("a"), it.path("b"), it.path("dir"));
        fs::create_dir(&dir).unwrap();
        fs::write(&a, "").unwrap();
        let fd = it.quiet(libc::SYS_open, args![&it.dir.clone(), libc::O_PATH, 0]);
        it.quiet(libc::SYS_chdir, args![&dir]);
        let one = |kind: &str, call: &str, path: &Path| json!({ "kind": kind, "call": call, "path": path, "user_copy": ["path"] });
        let two = |kind: &str, call: &str, path: &Path, target: &Path| json!({ "kind": kind, "call": call, "path": path, "target": target, "user_copy": ["path", "target"] });
        let renamed = |call: &str, path: &Path, target: &Path, flags: &str| {
            let mut fields = two("rename", call, path, target);
            fields["flags"] = json!(flags);
            fields
        };
        let (rename, renameat, renameat2) = (libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2);
        it.check("rename", rename, args![&a, "../b"], renamed("rename", &a, &b, "0"));
        it.check("rename, ENOENT", rename, args![&a, &b], renamed("rename", &a, &b, "0"));
        it.check("renameat", renameat, args![fd, "b", fd, "a"], renamed("renameat", &b, &a, "0"));
        let exchanged = renamed("renameat2", &a, &dir, "RENAME_EXCHANGE");
        it.check("renameat2, exchange", renameat2, args![fd, "a", fd, "dir", 2], exchanged.clone());
        it.check("renameat2, back", renameat2, args![fd, "a", fd, "dir", 2], exchanged);
        let kept = renamed("renameat2", &a, &dir, "RENAME_NOREPLACE");
        it.check("renameat2, EEXIST", renameat2, args![fd, "a", fd, "dir", 1], kept);

        it.check("link", libc::SYS_link, args![&a, &b], two("link", "link", &a, &b));
        it.check("link, EEXIST", libc::SYS_link, args![&a, &b], two("link", "link", &a, &b));
        let c = it.path("c");
        it.check("linkat", libc::SYS_linkat, args![fd, "b", AT_FDCWD, "../c", 0], two("link", "linkat", &b, &c));

        let symlinked = |call: &str, path: &Path, content: &str| json!({ "kind": "symlink", "call": call, "path": path, "content": content, "user_copy": ["path", "content"] });
        let link = it.path("link");
        it.check("symlink", libc::SYS_symlink, args!["../x/./y", &link], symlinked("symlink", &link, "../x/./y"));
        it.check("symlink, EEXIST", libc::SYS_symlink, args!["z", &link], symlinked("symlink", &link, "z"));
        let link = it.path("dir/link");
        it.check("symlinkat", libc::SYS_symlinkat, args!["z", AT_FDCWD, "link"], symlinked("symlinkat", &link, "z"));

        it.check("unlink", libc::SYS_unlink, args!["link"], one("unlink", "unlink", &link));
        it.check("unlink, ENOENT", libc::SYS_unlink, args!["link"], one("unlink", "unlink", &link));
        it.check("unlink, EISDIR", libc::SYS_unlink, args![&dir], one("unlink", "unlink", &dir));
        it.check("unlinkat", libc::SYS_unlinkat, args![fd, "c", 0], one("unlink", "unlinkat", &c));
        it.check("rmdir, ENOTDIR", libc::SYS_rmdir, args![&a], one("rmdir", "rmdir", &a));
        it.check("rmdir", libc::SYS_rmdir, args![&dir], one("rmdir", "rmdir", &dir));
        fs::create_dir(&dir).unwrap();
        let removed = one("rmdir", "unlinkat", &dir);
        it.check("unlinkat, a directory", libc::SYS_unlinkat, args![fd, "dir", libc::AT_REMOVEDIR], removed);
    }
}

/// A file, and what records say of it: by name, by an open descriptor, by one that is not open.
pub struct Attributes {
    pub file: PathBuf,
    pub fd: i64,
    pub dir: i64,
}

impl Attributes {
    pub fn new(it: &mut Stage) -> Self {
        let file = it.path("file");
        fs::write(&file, "x").unwrap();
        let fd = it.quiet(libc::SYS_open, args![&file, libc::O_RDWR, 0]);
        let dir = it.quiet(libc::SYS_open, args![&it.dir.clone(), libc::O_PATH, 0]);
        Self { file, fd, dir }
    }

    pub fn named(kind: &str, call: &str, path: &str) -> Value {
        json!({ "kind": kind, "call": call, "path": path, "user_copy": ["path"] })
    }

    pub fn by_fd(&self, kind: &str, call: &str) -> Value {
        let (dev, inode, _) = stat(&self.file);
        json!({ "kind": kind, "call": call, "path": self.file, "inode": inode, "dev": dev })
    }

    pub fn bad_fd(kind: &str, call: &str) -> Value {
        json!({ "kind": kind, "call": call })
    }
}

/// Fields and more fields.
pub fn with(mut fields: Value, more: Value) -> Value {
    merge(&mut fields, more);
    fields
}

#[test]
fn attributes() {
    const FCHMODAT2: i64 = 452; // syscall_64.tbl; since Linux 6.6
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let its = Attributes::new(&mut it);
        let Attributes { fd, dir, .. } = its;
        let (named, by_fd, bad_fd) = (Attributes::named, |kind, call| its.by_fd(kind, call), Attributes::bad_fd);
        let file = its.file.clone();
        let name = file.to_str().unwrap();

        let mode = |mode: &str| json!({ "mode": mode });
        let expected = with(named("chmod", "chmod", name), mode("4755"));
        it.check("chmod", libc::SYS_chmod, args![&file, 0o4755], expected);
        let expected = with(named("chmod", "chmod", ABSENT), mode("0644"));
        it.check("chmod, ENOENT", libc::SYS_chmod, args![ABSENT, 0o644], expected);
        let expected = with(by_fd("chmod", "fchmod"), json!({ "mode": "0600", "result_mode": "100600" }));
        it.check("fchmod", libc::SYS_fchmod, args![fd, 0o600], expected);
        let expected = with(bad_fd("chmod", "fchmod"), mode("0600"));
        it.check("fchmod, EBADF", libc::SYS_fchmod, args![999, 0o600], expected);
        let expected = with(named("chmod", "fchmodat", name), mode("0640"));
        it.check("fchmodat", libc::SYS_fchmodat, args![dir, "file", 0o640], expected);
        let expected = with(named("chmod", "fchmodat2", name), mode("0644"));
        it.check("fchmodat2", FCHMODAT2, args![dir, "file", 0o644, 0], expected);

        let length = |length: i64| json!({ "length": length });
        // numbers of i386: truncate64, ftruncate64, truncate
        let expected = with(named("truncate", "truncate", name), length((1 << 33) + 5));
        it.check_compat("truncate, 64 bits", 193, args![&file, 5, 2], expected);
        let expected = with(by_fd("truncate", "ftruncate"), length(7));
        it.check_compat("ftruncate, 64 bits", 194, args![fd, 7, 0], expected);
        let expected = with(named("truncate", "truncate", name), length(-1));
        it.check_compat("truncate, 32 bits, EINVAL", 92, args![&file, -1], expected);
        let expected = with(named("truncate", "truncate", name), length(1 << 33));
        it.check("truncate", libc::SYS_truncate, args![&file, 1_i64 << 33], expected);
        let expected = with(named("truncate", "truncate", name), length(-1));
        it.check("truncate, EINVAL", libc::SYS_truncate, args![&file, -1], expected);
        let expected = with(by_fd("truncate", "ftruncate"), length(3));
        it.check("ftruncate", libc::SYS_ftruncate, args![fd, 3], expected);
        let expected = with(bad_fd("truncate", "ftruncate"), length(0));
        it.check("ftruncate, EBADF", libc::SYS_ftruncate, args![999, 0], expected);

        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        let expected = with(named("chmod", "chmod", name), mode("0777"));
        it.check("chmod, EPERM", libc::SYS_chmod, args![&file, 0o777], expected);
        let expected = with(named("truncate", "truncate", name), length(0));
        it.check("truncate, EACCES", libc::SYS_truncate, args![&file, 0], expected);
    }
}

#[test]
fn owners() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let its = Attributes::new(&mut it);
        let Attributes { fd, dir, .. } = its;
        let (named, by_fd, bad_fd) = (Attributes::named, |kind, call| its.by_fd(kind, call), Attributes::bad_fd);
        let file = its.file.clone();
        let name = file.to_str().unwrap();

        let owner = |owner: Value, group: Value| json!({ "new_owner": owner, "new_group": group });
        let expected = with(named("chown", "chown", name), owner(json!(7), Value::Null));
        it.check("chown", libc::SYS_chown, args![&file, 7, -1], expected);
        let expected = with(named("chown", "lchown", ABSENT), owner(Value::Null, json!(8)));
        it.check("lchown, ENOENT", libc::SYS_lchown, args![ABSENT, -1, 8], expected);
        let expected = with(by_fd("chown", "fchown"), owner(json!(0), json!(8)));
        it.check("fchown", libc::SYS_fchown, args![fd, 0, 8], expected);
        let expected = with(bad_fd("chown", "fchown"), owner(json!(0), json!(0)));
        it.check("fchown, EBADF", libc::SYS_fchown, args![-1, 0, 0], expected);
        let expected = with(named("chown", "fchownat", name), owner(json!(0), json!(0)));
        it.check("fchownat", libc::SYS_fchownat, args![dir, "file", 0, 0, 0], expected);
        // numbers of i386 for ids of 16 bits
        let expected = with(named("chown", "chown", name), owner(Value::Null, json!(8)));
        it.check_compat("chown, 16 bits", 182, args![&file, 65535, 65536 + 8], expected);
        let expected = with(by_fd("chown", "fchown"), owner(json!(0), json!(0)));
        it.check_compat("fchown, 16 bits", 95, args![fd, 0, 0], expected);

        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        let expected = with(by_fd("chown", "fchown"), owner(json!(65534), json!(0)));
        it.check("fchown, EPERM", libc::SYS_fchown, args![fd, 65534, 0], expected);
    }
}
