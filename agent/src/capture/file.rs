//! Reads files: those of /proc, which have no size, and others.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::bundle::Bundle;

/// The most that is read of a file without a size.
const MOST: u64 = 4 << 20;

/// The bytes of a file of /proc, at most [`MOST`] of them; and whether there are more.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() as u64 > MOST;
    bytes.truncate(MOST as usize);
    Ok((bytes, is_cut))
}

/// Adds a file of /proc.
pub(super) fn add(path: &Path, name: &str, bundle: &mut Bundle) -> io::Result<()> {
    let from = path.as_os_str().as_bytes();
    match read(path) {
        Ok((bytes, is_cut)) => {
            let error = is_cut.then(|| format!("only the first {MOST} bytes"));
            bundle.add(name, from, error, &bytes).map(drop)
        }
        Err(error) => {
            bundle.leave_out(from, &error.to_string());
            Ok(())
        }
    }
}

/// Adds a file that was asked for: a regular one, not behind a link, and none of the agent's own.
pub(super) fn chosen(path: &Path, at: usize, secret: &Path, bundle: &mut Bundle) -> io::Result<()> {
    let path = &of_host(path);
    let from = path.as_os_str().as_bytes();
    match open(path, secret) {
        Ok(file) => {
            let size = file.metadata()?.len();
            bundle.copy(&format!("files/{at:04}"), from, size, file)
        }
        Err(error) => {
            bundle.leave_out(from, &error.to_string());
            Ok(())
        }
    }
}

/// The files as the host has them: a service may have another `/tmp`, and no `/home`.
const HOST: &str = "/proc/1/root";

/// Where a file of the host is; as it is named, if the agent may not look there.
fn of_host(path: &Path) -> PathBuf {
    match (fs::metadata(HOST), path.strip_prefix("/")) {
        (Ok(_), Ok(below)) => Path::new(HOST).join(below),
        (Err(_), _) | (_, Err(_)) => path.to_owned(),
    }
}

/// Opens without waiting for what is no file, and looks at what was opened: a name may change its meaning.
fn open(path: &Path, secret: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if is_below(secret, &file, (about.dev(), about.ino())) {
        return Err(io::Error::other("it is one of the agent's own, where its keys are"));
    }
    Ok(file)
}

/// Whether the opened file is in this directory, by its path or by another name of it.
fn is_below(dir: &Path, file: &File, inode: (u64, u64)) -> bool {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let is_in = path.and_then(|path| Ok(path.starts_with(fs::canonicalize(dir)?)));
    // what cannot be found out is not given away
    is_in.unwrap_or(true) || has(dir, inode, DEPTH)
}

/// Directories below that of the keys.
const DEPTH: u32 = 4;

/// Whether a directory, or one in it, has this file.
fn has(dir: &Path, file: (u64, u64), depth: u32) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => depth > 0 && has(&entry.path(), file, depth - 1),
        Ok(about) => (about.dev(), about.ino()) == file,
        Err(_) => false,
    })
}
