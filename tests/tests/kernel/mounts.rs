//! mount and its steps, umount, pivot_root, chroot, swapon, swapoff: in a mount namespace of the actor's own.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::libc::{self, AT_FDCWD};
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Stage, args, ktime},
    files::with,
};

const ABSENT: &str = "/no-such-place/file";
const RECURSIVE_PRIVATE: i32 = 0x4_4000;
// include/uapi/linux/mount.h
const FROM_EMPTY: i32 = 4;
const CLONE: i32 = 1;

/// A stage whose actor mounts for itself alone, and a directory to mount on.
fn stage(family: &str) -> (Stage, PathBuf) {
    let mut it = Stage::new(family);
    let at = it.path("at");
    fs::create_dir(&at).unwrap();
    it.quiet(libc::SYS_unshare, args![libc::CLONE_NEWNS]);
    it.quiet(libc::SYS_mount, args!["none", "/", 0, RECURSIVE_PRIVATE, 0]);
    (it, at)
}

/// What every record of a mount has.
fn mounted(call: &str, more: Value) -> Value {
    with(json!({ "kind": "mount", "call": call, "flags": "0", "attributes": "0", "cleared": "0" }), more)
}

/// Inode and device of the actor's root directory.
fn root_of(it: &Stage) -> (Value, Value) {
    let root = fs::metadata(format!("/proc/{}/root/", it.actor.pid())).unwrap();
    let dev = format!("{}:{}", libc::major(root.dev()), libc::minor(root.dev()));
    (json!(root.ino().to_string()), json!(dev))
}

#[test]
fn mount() {
    for family in FAMILIES {
        let (mut it, at) = stage(family);
        it.quiet(libc::SYS_chdir, args![&it.dir.clone()]);
        let mount = libc::SYS_mount;
        let all = json!(["path", "source", "fstype", "options"]);
        let fields = |fields: Value| mounted("mount", fields);

        let expected = fields(json!({
            "path": at, "source": "some name", "fstype": "tmpfs", "options": "size=1m,mode=0700",
            "flags": "MS_NOSUID|MS_NODEV|MS_RELATIME", "user_copy": all,
        }));
        it.check("mount", mount, args!["some name", "at", "tmpfs", 0x20_0006, "size=1m,mode=0700"], expected);
        let expected = fields(json!({ "path": at, "flags": "MS_RDONLY|MS_REMOUNT", "user_copy": ["path"] }));
        // with the magic number of old programs
        it.check("nothing but a place", mount, args![0, &at, 0, 0xc0ed_0021_u32, 0], expected);
        let expected = fields(json!({
            "path": at, "source": "../no/place", "flags": "MS_BIND|MS_REC", "user_copy": ["path", "source"],
        }));
        it.check("a bind mount, ENOENT", mount, args!["../no/place", &at, 0, 0x5000, 0], expected);
        let expected = fields(
            json!({ "path": ABSENT, "source": "x", "fstype": "tmpfs", "user_copy": ["path", "source", "fstype"] }),
        );
        it.check("mount, ENOENT", mount, args!["x", ABSENT, "tmpfs", 0, 0], expected);
        let expected = fields(json!({
            "path": at, "source": "a", "fstype": "proc", "flags": "MS_NOEXEC", "user_copy": ["path", "source", "fstype"],
        }));
        it.check_compat("mount, 32 bits", 21, args!["a", &at, "proc", 8, 0], expected);

        let unmounted = |call: &str, path: &Path, flags: &str| json!({ "kind": "umount", "call": call, "path": path, "flags": flags, "user_copy": ["path"] });
        let umount = libc::SYS_umount2;
        it.check_compat("umount, 32 bits", 22, args![&at], unmounted("umount", &at, "0"));
        it.check("umount2", umount, args!["at/.", 2], unmounted("umount2", &at, "MNT_DETACH"));
        it.check("umount2, EINVAL", umount, args![&at, 9], unmounted("umount2", &at, "MNT_FORCE|UMOUNT_NOFOLLOW"));
        it.check_compat("ENOENT, 32 bits", 52, args![ABSENT, 0], unmounted("umount2", Path::new(ABSENT), "0"));

        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        let expected =
            fields(json!({ "path": at, "source": "x", "fstype": "tmpfs", "user_copy": ["path", "source", "fstype"] }));
        it.check("mount, EPERM", mount, args!["x", &at, "tmpfs", 0, 0], expected);
        it.check("umount2, EPERM", umount, args![&at, 0], unmounted("umount2", &at, "0"));
    }
}

#[test]
fn mount_in_steps() {
    for family in FAMILIES {
        let (mut it, at) = stage(family);
        let (fsopen, fsconfig, fsmount) = (libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount);
        let other = it.path("other");
        fs::create_dir(&other).unwrap();

        // the file system
        let done = it.act(fsopen, args!["tmpfs", 1]);
        let context = done.0.ret;
        it.compare("fsopen", done.0, done.1, mounted("fsopen", json!({ "fstype": "tmpfs" })));
        let expected = mounted("fsopen", json!({ "fstype": "no such fs", "user_copy": ["fstype"] }));
        it.check("fsopen, ENODEV", fsopen, args!["no such fs", 0], expected);
        let set = |command: &str, more: Value| {
            mounted("fsconfig", with(json!({ "command": command, "fstype": "tmpfs" }), more))
        };
        let expected =
            set("FSCONFIG_SET_STRING", json!({ "key": "source", "value": "a name", "user_copy": ["key", "value"] }));
        it.check("a text", fsconfig, args![context, 1, "source", "a name", 0], expected);
        let expected = set("FSCONFIG_SET_FLAG", json!({ "key": "sync", "user_copy": ["key"] }));
        it.check("a flag", fsconfig, args![context, 0, "sync", 0, 0], expected);
        it.check("create", fsconfig, args![context, 6, 0, 0, 0], set("FSCONFIG_CMD_CREATE", json!({})));
        let bad = |command: &str, more: Value| mounted("fsconfig", with(json!({ "command": command }), more));
        let expected = bad("FSCONFIG_SET_PATH", json!({ "key": "k", "path": at, "user_copy": ["path", "key"] }));
        it.check("a path, EBADF", fsconfig, args![999, 3, "k", &at, AT_FDCWD], expected);
        let dir = it.quiet(libc::SYS_open, args![&other, libc::O_PATH, 0]);
        let expected = bad("FSCONFIG_SET_FD", json!({ "key": "k", "path": other, "user_copy": ["key"] }));
        it.check("a file, EINVAL", fsconfig, args![dir, 5, "k", 0, dir], expected);

        // the mount
        let done = it.act(fsmount, args![context, 1, 6]);
        let tree = done.0.ret;
        let kept = json!({ "fstype": "tmpfs", "source": "a name" });
        let more = json!({ "attributes": "MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV" });
        it.compare("fsmount", done.0, done.1, mounted("fsmount", with(kept.clone(), more)));
        it.check("fsmount, EINVAL", fsmount, args![dir, 0, 0], mounted("fsmount", json!({})));
        let move_mount = libc::SYS_move_mount;
        let expected = mounted("move_mount", with(kept.clone(), json!({ "path": at })));
        it.check("move_mount", move_mount, args![tree, "", AT_FDCWD, &at, FROM_EMPTY], expected);
        let expected = mounted("move_mount", json!({ "path": at, "source": ABSENT, "user_copy": ["path", "source"] }));
        it.check("move_mount, ENOENT", move_mount, args![AT_FDCWD, ABSENT, AT_FDCWD, &at, 0], expected);

        // trees
        let (open_tree, at_dir) = (libc::SYS_open_tree, json!({ "path": at }));
        let expected = mounted("open_tree", with(kept.clone(), at_dir.clone()));
        it.check("open_tree", open_tree, args![AT_FDCWD, &at, 0], expected);
        let expected = mounted("open_tree", with(kept.clone(), json!({ "path": at, "user_copy": ["path"] })));
        let (done, records) = it.act(open_tree, args![AT_FDCWD, &at, CLONE]);
        it.compare("a clone", done, records, expected);
        let expected = mounted("move_mount", with(kept.clone(), json!({ "path": other })));
        it.check("a clone is mounted", move_mount, args![done.ret, "", dir, "", FROM_EMPTY | 0x40], expected);
        let expected = mounted("open_tree", json!({ "path": ABSENT, "user_copy": ["path"] }));
        it.check_compat("open_tree, ENOENT, 32 bits", 428, args![AT_FDCWD, ABSENT, 0], expected);
        let expected = mounted("fspick", json!({ "path": at, "fstype": "tmpfs", "user_copy": ["path"] }));
        it.check("fspick", libc::SYS_fspick, args![AT_FDCWD, &at, 0], expected);

        // attributes
        let attr = |set: u64, clear: u64, propagation: u64| -> Vec<u8> {
            [set, clear, propagation, 0].iter().flat_map(|it| it.to_ne_bytes()).collect()
        };
        let more = json!({
            "path": at, "attributes": "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOATIME", "cleared": "MOUNT_ATTR__ATIME",
            "flags": "MS_SHARED", "user_copy": ["path"],
        });
        let setattr = libc::SYS_mount_setattr;
        let args = args![AT_FDCWD, &at, 0, attr(0x11, 0x70, 1 << 20), 32];
        it.check("mount_setattr", setattr, args, mounted("mount_setattr", more));
        let more = json!({ "path": at, "attributes": "MOUNT_ATTR_NOEXEC", "user_copy": ["path"] });
        let args = args![tree, "", libc::AT_EMPTY_PATH, attr(8, 0, 0), 32];
        it.check("of a descriptor", setattr, args, mounted("mount_setattr", more));
        let args = args![AT_FDCWD, &at, CLONE, attr(4, 0, 0), 32];
        // syscall_64.tbl; since Linux 6.15
        let (done, records) = it.act(467, args);
        let tree = if done.ret == -i64::from(libc::ENOSYS) { json!({}) } else { kept };
        let more = with(tree, json!({ "path": at, "attributes": "MOUNT_ATTR_NODEV", "user_copy": ["path"] }));
        it.compare("open_tree_attr", done, records, mounted("open_tree_attr", more));

        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        let expected = mounted("fsopen", json!({ "fstype": "tmpfs", "user_copy": ["fstype"] }));
        it.check("fsopen, EPERM", fsopen, args!["tmpfs", 0], expected);
    }
}

#[test]
fn roots() {
    for family in FAMILIES {
        let (mut it, at) = stage(family);
        let changed =
            |path: &Path, more: Value| with(json!({ "kind": "chroot", "call": "chroot", "path": path }), more);
        let user = json!({ "user_copy": ["path"] });
        it.check("chroot, ENOENT", libc::SYS_chroot, args![ABSENT], changed(Path::new(ABSENT), user.clone()));
        it.check_compat("chroot, ENOENT, 32 bits", 61, args![ABSENT], changed(Path::new(ABSENT), user.clone()));
        let link = it.path("link");
        std::os::unix::fs::symlink("at", &link).unwrap();

        // a new root for the namespace
        it.quiet(libc::SYS_mount, args!["x", &at, "tmpfs", 0, 0]);
        it.quiet(libc::SYS_mkdir, args![&at.join("old"), 0o700]);
        let old = at.join("old");
        let pivoted = |path: &Path, put_old: &Path, more: Value| {
            let fields = json!({
                "kind": "pivot_root", "call": "pivot_root", "path": path, "put_old": put_old,
                "user_copy": ["path", "put_old"],
            });
            with(fields, more)
        };
        let expected = pivoted(Path::new(ABSENT), &old, json!({}));
        it.check_compat("pivot_root, ENOENT, 32 bits", 217, args![ABSENT, &old], expected);
        let (done, records) = it.act(libc::SYS_pivot_root, args![&at, &old]);
        let (inode, dev) = root_of(&it);
        let expected = pivoted(&at, &old, json!({ "inode": inode, "dev": dev }));
        it.compare("pivot_root", done, records, expected);

        // the path of a chroot is that of the namespace, links resolved
        let inside = Path::new("/old").join(link.strip_prefix("/").unwrap());
        let (done, records) = it.act(libc::SYS_chroot, args![&inside]);
        let (inode, dev) = root_of(&it);
        let resolved = Path::new("/old").join(at.strip_prefix("/").unwrap());
        let expected = changed(&resolved, json!({ "inode": inode, "dev": dev }));
        it.compare("chroot", done, records, expected);

        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        it.quiet(libc::SYS_chdir, args!["/"]);
        it.check("chroot, EPERM", libc::SYS_chroot, args!["x/.."], changed(&resolved, user));
        let expected = pivoted(&resolved, &resolved, json!({}));
        it.check("pivot_root, EPERM", libc::SYS_pivot_root, args!["/", "/"], expected);
    }
}

/// A file that swapon(2) takes: a header of version 1 (`union swap_header` in include/linux/swap.h).
fn swap_file(path: &Path) {
    const PAGE: usize = 4096;
    const PAGES: u32 = 10;
    let mut bytes = vec![0; PAGE * PAGES as usize];
    bytes[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
    bytes[1028..1032].copy_from_slice(&(PAGES - 1).to_ne_bytes());
    bytes[PAGE - 10..PAGE].copy_from_slice(b"SWAPSPACE2");
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn swap() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("swap");
        swap_file(&file);
        let swapped = |call: &str, path: &Path, flags: &str, priority: Value| {
            json!({
                "kind": "swap", "call": call, "path": path, "flags": flags, "priority": priority,
                "user_copy": ["path"],
            })
        };
        // off again before anything can go wrong
        let on = it.actor.call(libc::SYS_swapon, args![&file, 0x1_8007]);
        let off = it.actor.call(libc::SYS_swapoff, args![&file]);
        let records = it.gather();
        let of = |done: crate::actor::Done| {
            let its = |record: &&Value| (done.before..=done.after).contains(&ktime(record));
            records.iter().filter(its).cloned().collect::<Vec<_>>()
        };
        assert_eq!((on.ret, off.ret), (0, 0));
        let expected = swapped("swapon", &file, "SWAP_FLAG_PREFER|SWAP_FLAG_DISCARD", json!(7));
        it.compare("swapon", on, of(on), expected);
        it.compare("swapoff", off, of(off), swapped("swapoff", &file, "0", Value::Null));

        let absent = Path::new(ABSENT);
        it.check("swapon, ENOENT", libc::SYS_swapon, args![ABSENT, 0], swapped("swapon", absent, "0", Value::Null));
        it.check_compat("swapon, 32 bits", 87, args![ABSENT, 0], swapped("swapon", absent, "0", Value::Null));
        it.check_compat("swapoff, 32 bits", 115, args![ABSENT], swapped("swapoff", absent, "0", Value::Null));
        it.quiet(libc::SYS_setresuid, args![65533, 65534, 65532]);
        it.check("swapon, EPERM", libc::SYS_swapon, args![&file, 0], swapped("swapon", &file, "0", Value::Null));
        it.check("swapoff, EPERM", libc::SYS_swapoff, args![&file], swapped("swapoff", &file, "0", Value::Null));
    }
}
