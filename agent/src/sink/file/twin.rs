//! The compressed twin of the active file, which takes its place when it is rotated.
//!
//! It grows batch by batch with the active file, by the frames that the spool has anyhow: nothing is compressed twice,
//! and a rotated file is compressed from its first moment. It is a help and not the log: it is made durable only at
//! its end, and whenever something is wrong with it, it goes, and [`super::archive`] compresses the rotated file later.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{FileConfig, FileError, writer};
use crate::disk::{self, File};
use crate::sealed::Batch;

/// Hidden, so that who reads all files of the directory does not read the same batches twice.
const NAME: &str = ".audit.ndjson.zst.tmp";
/// Read back at a time.
const PART: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Twin {
    file: File,
    path: PathBuf,
    len: u64,
    checksum: u32,
}

impl Twin {
    /// Begins a twin for an active file that is empty. Removes that of an earlier life in any case.
    pub(super) fn begin(config: &FileConfig, is_empty: bool) -> Result<Option<Self>, FileError> {
        let path = config.dir.join(NAME);
        disk::remove_if_there(&path).map_err(FileError::io("remove", &path))?;
        if !config.compress || !is_empty {
            return Ok(None);
        }
        let file = disk::create_new(&path, 0o600).map_err(FileError::io("create", &path))?;
        writer::own(&file, config)?;
        Ok(Some(Self { file, path, len: 0, checksum: 0 }))
    }

    /// Follows the active file by these batches; `None` when it cannot.
    pub(super) fn follow(mut self, batches: &[&Batch]) -> Option<Self> {
        for Batch { number, frame, .. } in batches {
            let written = if frame.is_empty() {
                Err(io::Error::other("the batch came without its frame"))
            } else {
                self.file.write_all_at(frame, self.len)
            };
            if let Err(error) = written {
                tracing::debug!(batch = number, %error, "the active file will be compressed when it is rotated");
                self.give_up();
                return None;
            }
            self.len += frame.len() as u64;
            self.checksum = crc32c::crc32c_append(self.checksum, frame);
        }
        Some(self)
    }

    /// Takes the place of `rotated`: made durable, read back, named, and only then the original is removed.
    pub(super) fn replace(self, rotated: &Path) {
        let done = PathBuf::from(format!("{}.zst", rotated.display()));
        let taken = self.file.sync_all().and_then(|()| self.read_back()).and_then(|()| fs::rename(&self.path, &done));
        if let Err(error) = taken {
            tracing::warn!(path = %self.path.display(), %error, "the rotated file is compressed anew");
            self.give_up();
            return;
        }
        let dir = rotated.parent().unwrap_or(rotated);
        if let Err(error) = disk::sync_dir(dir).and_then(|()| disk::remove_if_there(rotated)) {
            tracing::warn!(path = %rotated.display(), %error, "stays beside its compressed copy");
        }
    }

    fn read_back(&self) -> io::Result<()> {
        let (mut at, mut checksum, mut part) = (0, 0, vec![0; PART]);
        while at < self.len {
            let read = self.file.read_at(&mut part, at)?;
            if read == 0 {
                break;
            }
            checksum = crc32c::crc32c_append(checksum, &part[..read]);
            at += read as u64;
        }
        if (at, checksum) == (self.len, self.checksum) { Ok(()) } else { Err(io::Error::other("it differs")) }
    }

    fn give_up(&self) {
        if let Err(error) = disk::remove_if_there(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove");
        }
    }
}
