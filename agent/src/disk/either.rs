//! In tests: the disk of this host, or below `/simulated` the one that this thread simulates.
#![expect(missing_docs, reason = "what each does is in `os`")]

use std::ffi::OsString;
use std::fs::TryLockError;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::simulated::{self, of};
use super::{About, Space, os};

/// A file of either disk.
#[derive(Debug)]
pub enum File {
    /// Of this host.
    Real(std::fs::File),
    /// Of the simulated disk.
    Simulated(simulated::Handle),
}

use File::{Real, Simulated};

pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    match of(path) {
        Some(disk) => disk.create(path).map(Simulated),
        None => os::create_new(path, mode).map(Real),
    }
}

pub fn open_read(path: &Path) -> io::Result<File> {
    match of(path) {
        Some(disk) => disk.open(path, false).map(Simulated),
        None => os::open_read(path).map(Real),
    }
}

pub fn open_write(path: &Path) -> io::Result<File> {
    match of(path) {
        Some(disk) => disk.open(path, false).map(Simulated),
        None => os::open_write(path).map(Real),
    }
}

/// Only of this host: the spool never does.
pub fn open_append(path: &Path) -> io::Result<File> {
    os::open_append(path).map(Real)
}

pub fn open_durable(path: &Path, make: bool) -> io::Result<File> {
    match of(path) {
        Some(disk) if make && !disk.exists(path) => {
            disk.create(path)?;
            disk.open(path, true).map(Simulated)
        }
        Some(disk) => disk.open(path, true).map(Simulated),
        None => os::open_durable(path, make).map(Real),
    }
}

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    match of(path) {
        Some(disk) => disk.read(path),
        None => os::read(path),
    }
}

pub(super) fn make_one_dir(path: &Path, mode: u32) -> io::Result<()> {
    of(path).map_or_else(|| os::make_one_dir(path, mode), |disk| disk.make_dir(path))
}

pub fn sync_dir(dir: &Path) -> io::Result<()> {
    of(dir).map_or_else(|| os::sync_dir(dir), |disk| disk.sync_dir(dir))
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    of(from).map_or_else(|| os::rename(from, to), |disk| disk.rename(from, to))
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    of(path).map_or_else(|| os::remove(path), |disk| disk.remove(path))
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    of(path).map_or_else(|| os::remove_dir(path), |disk| disk.remove_dir(path))
}

pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    of(path).map_or_else(|| os::set_mode(path, mode), |_| Ok(()))
}

pub fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    of(dir).map_or_else(|| os::names(dir), |disk| disk.names(dir))
}

pub fn exists(path: &Path) -> bool {
    of(path).map_or_else(|| os::exists(path), |disk| disk.exists(path))
}

pub fn about(path: &Path) -> io::Result<About> {
    of(path).map_or_else(|| os::about(path), |disk| disk.about(path))
}

pub fn about_open(file: &File) -> io::Result<About> {
    match file {
        Real(file) => os::about_open(file),
        Simulated(handle) => Ok(handle.about()),
    }
}

pub fn space(path: &Path) -> io::Result<Space> {
    of(path).map_or_else(|| os::space(path), |_| Ok(Space { free: 1 << 40, total: 1 << 40 }))
}

pub fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match file {
        Real(file) => os::preallocate(file, bytes),
        Simulated(handle) => handle.set_len(bytes),
    }
}

impl File {
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        match self {
            Real(file) => file.set_len(bytes),
            Simulated(handle) => handle.set_len(bytes),
        }
    }

    pub fn sync_all(&self) -> io::Result<()> {
        match self {
            Real(file) => file.sync_all(),
            Simulated(handle) => handle.sync(),
        }
    }

    pub fn sync_data(&self) -> io::Result<()> {
        match self {
            Real(file) => file.sync_data(),
            Simulated(handle) => handle.sync(),
        }
    }

    /// One process at a time uses a simulated disk.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        match self {
            Real(file) => file.try_lock(),
            Simulated(_) => Ok(()),
        }
    }

    /// One process at a time uses a simulated disk.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        match self {
            Real(file) => file.try_lock_shared(),
            Simulated(_) => Ok(()),
        }
    }
}

/// Everything else, for those who use the disk of this host only.
impl Deref for File {
    type Target = std::fs::File;
    fn deref(&self) -> &std::fs::File {
        match self {
            Real(file) => file,
            Simulated(_) => panic!("a simulated file has no descriptor"),
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Real(file) => file.read_at(buf, offset),
            Simulated(handle) => Ok(handle.read_at(buf, offset)),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        match self {
            Real(file) => file.write_at(buf, offset),
            Simulated(handle) => handle.write_at(buf, offset),
        }
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Real(file) => Read::read(&mut { file }, buf),
            Simulated(handle) => Ok(handle.read(buf)),
        }
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Real(file) => Write::write(&mut { file }, buf),
            Simulated(handle) => handle.write(buf),
        }
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Real(file) => Write::write_vectored(&mut { file }, bufs),
            Simulated(handle) => handle.write(&bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Real(file) => Seek::seek(&mut { file }, to),
            Simulated(handle) => Ok(handle.seek(to)),
        }
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, buf)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &*self, bufs)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Seek::seek(&mut &*self, to)
    }
}
