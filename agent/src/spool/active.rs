//! The segment that is written: the only place of the spool where bytes reach the disk.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seal::frame::{HEAD, Head};

use super::{Closed, Options, Spool, SpoolError, Sync, segment};
use crate::disk::{self, File};

#[derive(Debug)]
pub(super) struct Active {
    file: File,
    path: PathBuf,
    first: u64,
    last: u64,
    len: u64,
    /// What is durable: bytes, and the last batch in them.
    synced: (u64, u64),
    born: Instant,
}

impl Active {
    fn create(options: &Options, first: u64) -> io::Result<Self> {
        let path = options.dir.join(segment::name(first));
        let file = match disk::create_new(&path, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(options, &path)?;
                disk::create_new(&path, 0o600)?
            }
            other => other?,
        };
        if let Err(error) = disk::hold(&file).and_then(|()| disk::sync_dir(&options.dir)) {
            disk::remove_if_there(&path)?;
            return Err(error);
        }
        Ok(Self { file, path, first, last: first, len: 0, synced: (0, first), born: Instant::now() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_due(&self, bytes: u64, age: Duration) -> bool {
        self.len > 0 && (self.len >= bytes || self.born.elapsed() >= age)
    }

    /// Cuts `over` bytes off the end; `last` is the last batch that stays.
    pub(super) fn cut(&mut self, over: u64, last: Option<u64>) -> io::Result<()> {
        let len = self.len.saturating_sub(over);
        self.file.set_len(len)?;
        self.len = len;
        self.last = last.unwrap_or(self.first);
        Ok(())
    }

    /// Appends all of these records, or nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        while let Some(head) = first_head(rest) {
            self.last = head.batch;
            rest = rest.get(HEAD + head.length..).unwrap_or_default();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        super::tests::fail_here()?;
        self.file.sync_data()?;
        self.synced = (self.len, self.last);
        Ok(())
    }
}

impl Spool {
    /// Writes what is pending and not yet written, making room or a new segment as it needs.
    pub(super) fn write_pending(&mut self) -> Result<(), SpoolError> {
        let mut fresh = false;
        loop {
            let Err(source) = self.try_write() else {
                return Ok(());
            };
            if disk::is_full(&source) {
                self.give_room()?;
                continue;
            }
            // A file that cannot be written is left as it is; one that is new cannot be better.
            let path = self.active.as_ref().map_or(&self.options.dir, |active| &active.path).clone();
            if fresh || self.active.is_none() {
                return Err(SpoolError::Io { doing: "write the segment", path, source });
            }
            tracing::warn!(path = %path.display(), error = %source, "cannot write the segment: begin a new one");
            self.abandon();
            fresh = true;
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                let Some(head) = first_head(&self.pending) else {
                    return Ok(());
                };
                none.insert(Active::create(&self.options, head.batch)?)
            }
        };
        active.write(&self.pending[self.written..])?;
        self.written = self.pending.len();
        Ok(())
    }

    /// The disk is full: the oldest segment goes, or else the ballast.
    fn give_room(&mut self) -> Result<(), SpoolError> {
        let full = match self.evict() {
            Err(full @ SpoolError::Full { .. }) => full,
            other => return other.map(|_| ()),
        };
        if !self.drop_ballast() {
            return Err(full);
        }
        tracing::warn!(dir = %self.options.dir.display(), "the disk is full: the spool gave up its ballast");
        self.ballast_used = true;
        Ok(())
    }

    /// fdatasync; when it fails, the records go from memory into a new segment.
    ///
    /// fsync is never called again on a file where it failed: the kernel may have marked the lost pages clean, so the
    /// second call would say that all is well (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
    pub(super) fn make_durable(&mut self) -> Result<(), SpoolError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let Err(error) = active.sync() else {
            self.forget_written();
            return Ok(());
        };
        tracing::error!(path = %active.path.display(), %error, "fsync failed: the batches go to a new segment");
        self.abandon();
        self.write_pending()?;
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        match active.sync() {
            Ok(()) => {
                self.forget_written();
                Ok(())
            }
            Err(source) => {
                let path = active.path.clone();
                self.abandon();
                Err(SpoolError::Sync { path, source })
            }
        }
    }

    pub(super) fn forget_written(&mut self) {
        self.pending.drain(..self.written);
        self.written = 0;
        self.synced_at = Instant::now();
    }

    /// Closes the active segment, durable unless that is not wanted at all.
    pub(super) fn close(&mut self) -> Result<(), SpoolError> {
        if self.written > 0 && self.options.sync != Sync::Never {
            self.make_durable()?;
        }
        if let Some(Active { path, first, last, len, .. }) = self.active.take() {
            self.closed.push_back(Closed { first, last, bytes: len, path });
        }
        self.fill_ballast();
        Ok(())
    }

    /// Gives up on the active segment: what is durable in it stays, the rest is pending again.
    pub(super) fn abandon(&mut self) {
        self.written = 0;
        let Some(Active { file, path, first, synced: (bytes, last), .. }) = self.active.take() else {
            return;
        };
        let done = if bytes == 0 { disk::remove_if_there(&path) } else { file.set_len(bytes) };
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "cannot cut a failed segment back");
        }
        if bytes > 0 {
            self.closed.push_back(Closed { first, last, bytes, path });
        }
    }
}

/// Makes place for a segment. A file there is one that failed and could not be removed when it was abandoned. It must not
/// stay anywhere: the batch in it was promised to nobody, and after a crash its number may be signed again.
fn clear(options: &Options, path: &Path) -> io::Result<()> {
    let is_file = disk::about(path)?.is_file;
    match disk::remove_if_there(path) {
        Err(_) if !is_file => Spool::quarantine(options).take(path).map(|_| ()),
        done => done,
    }
}

/// The head of the first of some records of ours.
fn first_head(records: &[u8]) -> Option<Head> {
    Head::parse(records.first_chunk()?).ok()
}
