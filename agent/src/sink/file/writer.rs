//! The active file: whole batches, appended and synced; cut back to the last whole batch when it is opened.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::{ACTIVE, FileConfig, FileError, archive, twin::Twin};
use crate::disk::{self, File};
use crate::sealed::{self, Batch};

/// Batches of one send, and how many at the end of the file are known by hash: what is sent twice after a crash is at
/// most one send, because a file is rotated only after the cursor moved past all that is in it.
pub(super) const REMEMBERED: usize = 256;
/// Longest line that is looked at: an event has at most 256 KiB, a header 64 KiB before escaping.
pub(super) const LINE_MAX: u64 = 4 << 20;

#[derive(Debug)]
pub(super) struct Writer {
    config: FileConfig,
    path: PathBuf,
    file: File,
    len: u64,
    first: Option<u64>,
    last: Option<u64>,
    /// Seal lines at the end of the file when it was opened.
    known: VecDeque<[u8; 32]>,
    born: SystemTime,
    note: Option<String>,
    twin: Option<Twin>,
}

/// What an append did besides appending.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) note: Option<String>,
    pub(super) rotated: bool,
    /// Less is free on the file system than is wanted.
    pub(super) short: bool,
}

impl Writer {
    pub(super) fn open(config: FileConfig) -> Result<Self, FileError> {
        disk::make_dir(&config.dir, 0o750).map_err(FileError::io("make", &config.dir))?;
        let path = config.dir.join(ACTIVE);
        let (file, created) = match disk::open_append(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = disk::create_new(&path, 0o600).and_then(|_| disk::open_append(&path));
                (made.map_err(FileError::io("create", &path))?, true)
            }
            other => (other.map_err(FileError::io("open", &path))?, false),
        };
        if created {
            own(&file, &config)?;
            disk::sync_dir(&config.dir).map_err(FileError::io("make durable the names in", &config.dir))?;
        }
        disk::hold(&file).map_err(FileError::io("take the lock of", &path))?;
        let about = file.metadata().map_err(FileError::io("look at", &path))?;
        if !about.is_file() {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(FileError::Io { doing: "append to what is no regular file:", path, source });
        }
        let born = about.created().or_else(|_| about.modified()).unwrap_or_else(|_| SystemTime::now());
        let (first, last, known) = (None, None, VecDeque::new());
        let (note, twin) = (None, None);
        let mut writer = Self { config, path, file, len: about.len(), first, last, known, born, note, twin };
        writer.find_end().map_err(FileError::io("read", &writer.path.clone()))?;
        writer.twin = Twin::begin(&writer.config, writer.len == 0)?;
        Ok(writer)
    }

    /// Reads the file once: where the last whole batch ends, and which batches are the first and the last.
    fn find_end(&mut self) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(256 << 10, &self.file);
        let (mut at, mut end, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let read = io::Read::take(&mut reader, LINE_MAX).read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                break;
            }
            at += read;
            if sealed::is_seal(&line) {
                end = at;
                self.last = sealed::number_in(&line);
                self.first = self.first.or(self.last);
                if self.known.len() == REMEMBERED {
                    self.known.pop_front();
                }
                self.known.push_back(Sha256::digest(&line).into());
            }
        }
        if end < at {
            tracing::warn!(path = %self.path.display(), bytes = at - end, "cut a torn batch off; the spool has it");
            self.note = Some(format!("cut {} bytes of a torn batch off {}", at - end, self.path.display()));
            self.file.set_len(end)?;
        }
        self.len = end;
        Ok(())
    }

    /// Appends the batches and syncs. After an error the file is to be opened anew.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<Done, FileError> {
        self.follow()?;
        let rotated = self.is_due() && self.rotate()?;
        let known = std::mem::take(&mut self.known);
        let new: Vec<&Batch> = batches.iter().filter(|batch| !known.contains(&seal_hash(batch))).collect();
        self.write(&new)?;
        if let (Some(from), Some(to)) = (new.first(), new.last()) {
            self.first = self.first.or(Some(from.number));
            self.last = Some(to.number);
        }
        let short = archive::is_short(&self.config)?;
        Ok(Done { note: self.note.take(), rotated, short })
    }

    fn write(&mut self, batches: &[&Batch]) -> Result<(), FileError> {
        let mut end = self.len;
        for batch in batches {
            if let Err(source) = self.file.write_all(&batch.bytes) {
                self.cut_back()?;
                return Err(FileError::Io { doing: "append to", path: self.path.clone(), source });
            }
            end += batch.bytes.len() as u64;
        }
        if let Err(source) = self.file.sync_data() {
            // Never fsync this file again: what it has is closed, the batches come again into a new file.
            self.cut_back()?;
            self.set_aside()?;
            return Err(FileError::Io { doing: "make durable", path: self.path.clone(), source });
        }
        let now = self.file.metadata().map_err(FileError::io("look at", &self.path))?.len();
        if now != end {
            // What was appended is where the file ended then: opened anew, it is found there.
            let source = io::Error::other(format!("{end} bytes expected, {now} found: another cut it, or wrote to it"));
            return Err(FileError::Io { doing: "append to", path: self.path.clone(), source });
        }
        self.len = end;
        self.twin = self.twin.take().and_then(|twin| twin.follow(batches));
        Ok(())
    }

    /// Removes what was appended, from a file that another may have cut.
    fn cut_back(&self) -> Result<(), FileError> {
        let cut = || self.file.set_len(self.file.metadata()?.len().min(self.len));
        cut().map_err(FileError::io("cut a part of a batch off", &self.path))
    }

    /// Notices what others did to the file: moved it (logrotate `create`), or cut it (`copytruncate`).
    fn follow(&mut self) -> Result<(), FileError> {
        let here = self.file.metadata().map_err(FileError::io("look at", &self.path))?;
        let there = fs::symlink_metadata(&self.path);
        let moved = !there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
        if !moved && here.len() == self.len {
            return Ok(());
        }
        let before = (self.len, self.note.take());
        *self = Self::open(self.config.clone())?;
        if !moved {
            let (path, now) = (self.path.display(), here.len());
            let what = if now < before.0 { "cut (copytruncate?)" } else { "written by another" };
            let note = format!("{path} was {what}: {} bytes became {now}; only rename it", before.0);
            tracing::warn!("{note}");
            self.note = Some(note);
        }
        self.note = self.note.take().or(before.1);
        Ok(())
    }

    fn is_due(&self) -> bool {
        let age = self.born.elapsed().unwrap_or_default();
        let old = age >= Duration::from_secs(self.config.rotate_seconds);
        self.len > 0 && (self.len >= self.config.rotate_bytes || old) && self.known.is_empty()
    }

    /// Begins a new active file.
    fn rotate(&mut self) -> Result<bool, FileError> {
        self.set_aside()?;
        *self = Self { note: self.note.take(), ..Self::open(self.config.clone())? };
        Ok(true)
    }

    /// Gives the active file the name of what it holds; its twin takes its place.
    fn set_aside(&mut self) -> Result<(), FileError> {
        let to = archive::free_name(&self.config.dir, self.first.unwrap_or(0), self.last.unwrap_or(0));
        fs::rename(&self.path, &to).map_err(FileError::io("rotate", &self.path))?;
        disk::sync_dir(&self.config.dir).map_err(FileError::io("make durable the names in", &self.config.dir))?;
        if let Some(twin) = self.twin.take() {
            twin.replace(&to);
        }
        Ok(())
    }
}

fn seal_hash(batch: &Batch) -> [u8; 32] {
    Sha256::digest(sealed::seal_line(&batch.bytes)).into()
}

/// The configured mode, whatever the umask, and group.
pub(super) fn own(file: &File, config: &FileConfig) -> Result<(), FileError> {
    file.set_permissions(Permissions::from_mode(config.mode)).map_err(FileError::io("set the mode in", &config.dir))?;
    let Some(group) = &config.group else {
        return Ok(());
    };
    std::os::unix::fs::fchown(file, None, Some(group_id(group)?))
        .map_err(FileError::io("set the group in", &config.dir))
}

/// Looks the group up in the file itself (group(5)): the static binary has no name service.
fn group_id(group: &str) -> Result<u32, FileError> {
    let table = PathBuf::from("/etc/group");
    let text = fs::read_to_string(&table).map_err(FileError::io("read", &table))?;
    let line = text.lines().find_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
    line.and_then(|line| line.split(':').nth(1)?.parse().ok()).ok_or_else(|| FileError::Group(group.to_owned()))
}
