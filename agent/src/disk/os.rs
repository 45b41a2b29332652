//! The disk of this host: each function is one system call, or a few that belong together.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc::{O_DSYNC, O_NOFOLLOW};

use super::{About, Space};

pub use std::fs::File;

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

/// Opens `path` for reading and writing, each write durable when it returns Ok (`O_DSYNC`); a symbolic link is an error
/// (`ELOOP`). Where there is no file one is made with mode 0600, if that is wanted.
pub fn open_durable(path: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(make).truncate(false).mode(0o600);
    options.custom_flags(O_DSYNC | O_NOFOLLOW).open(path)
}

/// The bytes of a file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Makes one directory with `mode`; that it is there already is an error.
pub(super) fn make_one_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

/// Makes created, renamed and removed names of `dir` durable (fsync(2): the entry of a file is not part of the file).
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Gives a file another name; what had that name is gone.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a name of a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Removes an empty directory.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)
}

/// Gives `path` another mode.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The names in a directory, in no order.
pub fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Whether there is something at `path`; of a symbolic link, whether there is what it leads to.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// What the file system knows of `path`; of a symbolic link, of the link.
pub fn about(path: &Path) -> io::Result<About> {
    told(&fs::symlink_metadata(path)?)
}

/// What the file system knows of an open file.
pub fn about_open(file: &File) -> io::Result<About> {
    told(&file.metadata()?)
}

fn told(found: &fs::Metadata) -> io::Result<About> {
    let (is_dir, is_file) = (found.is_dir(), found.is_file());
    Ok(About { bytes: found.len(), is_dir, is_file, modified: found.modified()?, id: (found.dev(), found.ino()) })
}

/// The space of the file system that holds `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let answer = nix::sys::statvfs::statvfs(path)?;
    let unit = answer.fragment_size();
    Ok(Space { free: answer.blocks_available().saturating_mul(unit), total: answer.blocks().saturating_mul(unit) })
}

/// Takes `bytes` of disk for `file` now, so that a later write there cannot find the disk full (posix_fallocate(3)).
pub fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(nix::fcntl::posix_fallocate(file, 0, bytes)?)
}
