//! Bytes that cannot be used but may be evidence: torn tails, damaged segments, batches a receiver refused.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk;

/// A directory with a bound: what is oldest goes when something new needs the place.
#[derive(Clone, Debug)]
pub struct Quarantine {
    dir: PathBuf,
    max_bytes: u64,
}

impl Quarantine {
    /// The quarantine at `dir`, made when first needed, of at most `max_bytes`.
    pub fn new(dir: PathBuf, max_bytes: u64) -> Self {
        Self { dir, max_bytes }
    }

    /// Keeps `bytes` as `name`, durable when it returns Ok. An older file of this name is replaced.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        disk::make_dir(&self.dir, 0o700)?;
        self.make_room(bytes.len() as u64)?;
        disk::replace(&self.dir, name, bytes)?;
        Ok(self.dir.join(name))
    }

    /// Moves a file of the same file system here; a free name is found for it.
    pub fn take(&self, path: &Path) -> io::Result<PathBuf> {
        disk::make_dir(&self.dir, 0o700)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let free = (0..1000).map(|n| self.dir.join(format!("{name}.{n}"))).find(|to| disk::about(to).is_err());
        let to = free.unwrap_or_else(|| self.dir.join(format!("{name}.999")));
        disk::rename(path, &to)?;
        disk::sync_dir(&self.dir)?;
        self.make_room(0)?;
        Ok(to)
    }

    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for name in disk::names(&self.dir)? {
            let path = self.dir.join(name);
            let about = disk::about(&path)?;
            if !about.is_dir {
                files.push((about.modified, about.bytes, path));
            }
        }
        files.sort_unstable();
        let mut used: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if used.saturating_add(more) <= self.max_bytes {
                break;
            }
            tracing::warn!(path = %path.display(), bytes, "quarantine is full: removed its oldest file");
            disk::remove_if_there(&path)?;
            used -= bytes;
        }
        Ok(())
    }
}
