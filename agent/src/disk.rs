//! The disk as the cold half uses it: private files, no links followed, names that survive a power cut.
//!
//! Every function returns the plain [`io::Error`]: the caller knows what it was doing and says so.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc::O_NOFOLLOW;

/// Creates `path`, which must not exist, for reading and writing with `mode` (less the umask).
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).custom_flags(O_NOFOLLOW).open(path)
}

/// Opens `path` for reading; a symbolic link is an error (`ELOOP`).
pub fn open_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path)
}

/// Opens `path` for reading and writing; a symbolic link is an error (`ELOOP`).
pub fn open_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_NOFOLLOW).open(path)
}

/// Opens `path` for reading, and for writing at its end only; a symbolic link is an error (`ELOOP`). When another cuts the
/// file, what is written next leaves no hole before it.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).custom_flags(O_NOFOLLOW).open(path)
}

/// Tells other programs that the file is being written, until it is closed: a shared lock (flock(2)). An error of kind
/// `WouldBlock`: another program works on the file. A file system without locks is as good.
pub fn hold(file: &File) -> io::Result<()> {
    match file.try_lock_shared() {
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => Ok(other?),
    }
}

/// Makes the directory and its parents where they are missing; what is new gets `mode`.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes created, renamed and removed names of `dir` durable (fsync(2): the entry of a file is not part of the file).
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces `dir/name` so that after a power cut it holds the old bytes or the new ones, never a part.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.tmp"));
    remove_if_there(&draft)?;
    let mut file = create_new(&draft, 0o600)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name))?;
    sync_dir(dir)
}

/// Removes a file; that it is gone already is no error.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a file system has, in bytes (statvfs(3)).
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Free for a process that is not root.
    pub free: u64,
    /// The whole file system.
    pub total: u64,
}

/// The space of the file system that holds `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let answer = nix::sys::statvfs::statvfs(path)?;
    let unit = answer.fragment_size();
    Ok(Space { free: answer.blocks_available().saturating_mul(unit), total: answer.blocks().saturating_mul(unit) })
}

/// Whether the error says that the disk or a quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Takes `bytes` of disk for `file` now, so that a later write there cannot find the disk full (posix_fallocate(3)).
pub fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(nix::fcntl::posix_fallocate(file, 0, bytes)?)
}
