//! The disk as the agent uses it: private files, no links followed, names that survive a power cut.
//!
//! Spool, cursors and keys reach the disk only through this module. [`os`] is the disk of this host, and in the finished
//! program it is all there is: [`File`] is [`std::fs::File`]. In the tests of this crate a path below `/simulated` is one
//! of a disk in memory that loses power and fails as it is told (`disk/simulated.rs`), so that the code under test is the
//! very code that runs.
//!
//! Every function returns the plain [`io::Error`]: the caller knows what it was doing and says so.

#[cfg(test)]
mod either;
mod os;
#[cfg(test)]
pub mod simulated;

use std::fs::TryLockError;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

#[cfg(test)]
pub use either::*;
#[cfg(not(test))]
pub use os::*;

/// What a file system knows of a file.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its length.
    pub bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// When its bytes changed last.
    pub modified: SystemTime,
    /// Which file it is: device and inode.
    pub id: (u64, u64),
}

/// What a file system has, in bytes (statvfs(3)).
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Free for a process that is not root.
    pub free: u64,
    /// The whole file system.
    pub total: u64,
}

/// Tells other programs that the file is being written, until it is closed: a shared lock (flock(2)). An error of kind
/// `WouldBlock`: another program works on the file. A file system without locks is as good.
pub fn hold(file: &File) -> io::Result<()> {
    match file.try_lock_shared() {
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => Ok(other?),
    }
}

/// Makes the directory and its parents where they are missing, durable when it returns Ok; what is new gets `mode`.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if about(path).is_ok_and(|about| about.is_dir) {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent, mode)?;
    }
    match make_one_dir(path, mode) {
        // Another thread was faster, or it is a link to a directory.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && exists(&path.join(".")) => Ok(()),
        Err(error) => Err(error),
        // A directory that is lost takes with it all that was made durable in it: there is none that may be lost.
        Ok(()) => sync_name(path).inspect_err(|_| {
            if let Err(error) = remove_dir(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a directory that may not be durable");
            }
        }),
    }
}

/// Makes the name of `path` durable, whether it was just made, renamed or removed.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Replaces `dir/name` so that after a power cut it holds the old bytes or the new ones, never a part.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.tmp"));
    remove_if_there(&draft)?;
    let mut file = create_new(&draft, 0o600)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&draft, &dir.join(name))?;
    sync_dir(dir)
}

/// Removes a file; that it is gone already is no error.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the error says that the disk or a quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
