//! A disk in memory that fails as disks do, for tests. On the thread that [`Disk::mount`]s it, it is what is below
//! `/simulated`.
//!
//! What programs see and what a power cut leaves are kept apart. A change is in between, pending, until an fsync of its
//! file, or for names of their directory. At a power cut any subset of the pending changes survives, in the order in which
//! they were made; of a write any of its sectors of 512 bytes, or its length only. This is more than one file system loses
//! (ext4 keeps the order of names) and no more than POSIX allows.

mod image;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, SeekFrom};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::libc::{EEXIST, EIO, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY};

use super::About;
use image::{Change, Image, Node, error, parent};

/// Where it is.
pub const ROOT: &str = "/simulated";

thread_local! {
    static MOUNTED: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// The simulated disk of this thread, if `path` is on it.
pub(super) fn of(path: &Path) -> Option<Disk> {
    if !path.starts_with(ROOT) {
        return None;
    }
    let mounted = MOUNTED.with_borrow(Clone::clone);
    Some(mounted.expect("no simulated disk is mounted on this thread"))
}

/// What a thread panics with when the power is cut.
#[derive(Clone, Copy, Debug)]
pub struct PowerCut;

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`. Of an fsync: what was pending is lost, and another fsync says that all is well, as Linux does.
    Io,
    /// `ENOSPC`, where something is made or becomes longer.
    Full,
    /// A write writes a half.
    Short,
}

/// What becomes of a pending change at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not there.
    Lost,
    /// It is there.
    Kept,
    /// Of a write, the sectors whose bit in this number is set, which repeats; and the length. Everything else is lost.
    Torn(u64),
}

/// A simulated disk. A clone is the same disk; [`Disk::copy`] makes another one.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<Image>>);

/// An open file of it.
#[derive(Debug)]
pub struct Handle {
    disk: Disk,
    file: u64,
    /// Opened with `O_DSYNC`.
    durable: bool,
    at: AtomicU64,
}

impl Disk {
    /// An empty one.
    pub fn empty() -> Self {
        let root = Node { is_dir: true, ..Node::default() };
        let names = BTreeMap::from([(ROOT.to_owned(), 0)]);
        let image =
            Image { nodes: BTreeMap::from([(0, root)]), seen: names.clone(), durable: names, ..Image::default() };
        Self(Arc::new(Mutex::new(image)))
    }

    /// Another disk with the same on it.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.image().clone())))
    }

    /// Makes it the one that this thread uses.
    pub fn mount(&self) {
        MOUNTED.set(Some(self.clone()));
    }

    /// How many operations changed something.
    pub fn steps(&self) -> u64 {
        self.image().steps
    }

    /// What the last one was.
    pub fn last_step(&self) -> &'static str {
        self.image().last
    }

    /// Cuts the power within a step: it may have happened, in whole or in part. The thread panics with [`PowerCut`].
    pub fn cut_at(&self, step: u64) {
        self.image().cut = Some(step);
    }

    /// Lets steps fail, `from` up to and including `to`.
    pub fn fail(&self, fault: Fault, from: u64, to: u64) {
        self.image().fault = Some((fault, from, to));
    }

    /// Nothing fails any more, and the power stays on.
    pub fn heal(&self) {
        let mut image = self.image();
        (image.fault, image.cut) = (None, None);
    }

    /// Whether fsync was called on a file after it had failed there.
    pub fn was_synced_again(&self) -> bool {
        !self.image().lied.is_empty()
    }

    /// How many changes are pending.
    pub fn pending(&self) -> usize {
        self.image().pending.len()
    }

    /// What a power cut leaves, and the power is on again. `fate` is asked for each pending change: its place in their
    /// order, and whether it is a write.
    pub fn power_cut(&self, mut fate: impl FnMut(usize, bool) -> Fate) {
        let image = &mut *self.image();
        for (at, change) in std::mem::take(&mut image.pending).into_iter().enumerate() {
            let is_write = matches!(change, Change::Write { .. });
            match fate(at, is_write) {
                Fate::Lost => {}
                Fate::Torn(sectors) if is_write => image.settle_torn(&change, sectors),
                Fate::Kept | Fate::Torn(_) => image.settle(&change),
            }
        }
        // a name is there if all directories above it are
        let names = &image.durable;
        let is_there = |name: &str| {
            let mut above = name;
            while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| parent.len() >= ROOT.len()) {
                if !names.contains_key(parent) {
                    return false;
                }
                above = parent;
            }
            true
        };
        let kept: BTreeMap<_, _> =
            names.iter().filter(|(name, _)| is_there(name)).map(|(name, node)| (name.clone(), *node)).collect();
        image.nodes.retain(|number, _| kept.values().any(|kept| kept == number));
        for node in image.nodes.values_mut() {
            node.seen.clone_from(&node.durable);
            node.failed = false;
        }
        (image.seen, image.durable) = (kept.clone(), kept);
        (image.cut, image.fault) = (None, None);
    }

    /// The files below `dir`, with their bytes.
    pub fn files(&self, dir: &str) -> Vec<(String, Vec<u8>)> {
        let image = self.image();
        let below = image.seen.iter().filter(|(name, _)| name.starts_with(dir));
        let files = below.map(|(name, node)| (name, &image.nodes[node])).filter(|(_, node)| !node.is_dir);
        files.map(|(name, node)| (name.clone(), node.seen.clone())).collect()
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step: `change` is done unless it is to fail.
    fn step<T>(&self, what: &'static str, change: impl FnOnce(&mut Image, Step) -> io::Result<T>) -> io::Result<T> {
        let mut image = self.image();
        image.steps += 1;
        image.last = what;
        let steps = image.steps;
        let is_cut = image.cut == Some(steps);
        let fault = image.fault.filter(|(_, from, to)| (*from..=*to).contains(&steps)).map(|(fault, ..)| fault);
        let done = match fault {
            Some(Fault::Io) if what != "fsync" => Err(error(EIO)),
            Some(Fault::Full) if !matches!(what, "fsync" | "fsync of a directory" | "unlink" | "write") => {
                Err(error(ENOSPC))
            }
            fault => change(&mut image, Step { is_cut, fault }),
        };
        drop(image);
        if is_cut {
            // no message: it is no failure of a test
            resume_unwind(Box::new(PowerCut));
        }
        done
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<Handle> {
        let name = text(path);
        let file = self.step("create", |image, _| {
            if image.seen.contains_key(&name) { Err(error(EEXIST)) } else { image.link(name, false) }
        })?;
        Ok(self.handle(file, false))
    }

    pub(super) fn open(&self, path: &Path, durable: bool) -> io::Result<Handle> {
        let image = self.image();
        let file = image.file(&text(path))?;
        Ok(self.handle(file, durable))
    }

    fn handle(&self, file: u64, durable: bool) -> Handle {
        Handle { disk: self.clone(), file, durable, at: AtomicU64::new(0) }
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let image = self.image();
        Ok(image.nodes[&image.file(&text(path))?].seen.clone())
    }

    pub(super) fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step("mkdir", |image, _| {
            let name = text(path);
            if image.seen.contains_key(&name) { Err(error(EEXIST)) } else { image.link(name, true).map(|_| ()) }
        })
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = text(dir);
        if !self.image().seen.contains_key(&dir) {
            return Err(error(ENOENT));
        }
        self.step("fsync of a directory", |image, step| {
            if !step.is_cut {
                image.settle_where(|change| match change {
                    Change::Link { name, .. } | Change::Unlink { name, .. } => parent(name) == dir,
                    Change::Rename { from, to, .. } => parent(from) == dir || parent(to) == dir,
                    Change::Write { .. } | Change::Length { .. } => false,
                });
            }
            Ok(())
        })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from), text(to));
        self.step("rename", |image, _| {
            let node = image.seen.remove(&from).ok_or_else(|| error(ENOENT))?;
            image.seen.insert(to.clone(), node);
            image.pending.push(Change::Rename { from, to, node });
            Ok(())
        })
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.image().file(&text(path))?;
        self.unlink(path)
    }

    pub(super) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if self.names(path)?.is_empty() { self.unlink(path) } else { Err(error(ENOTEMPTY)) }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let name = text(path);
        self.step("unlink", |image, _| {
            let node = image.seen.remove(&name).ok_or_else(|| error(ENOENT))?;
            image.pending.push(Change::Unlink { name, node });
            Ok(())
        })
    }

    pub(super) fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let (image, dir) = (self.image(), text(dir));
        match image.seen.get(&dir) {
            None => Err(error(ENOENT)),
            Some(node) if !image.nodes[node].is_dir => Err(error(ENOTDIR)),
            Some(_) => {
                let inside = image.seen.keys().filter(|name| parent(name) == dir);
                Ok(inside.map(|name| name[dir.len() + 1..].into()).collect())
            }
        }
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.image().seen.contains_key(&text(path))
    }

    pub(super) fn about(&self, path: &Path) -> io::Result<About> {
        let image = self.image();
        let node = *image.seen.get(&text(path)).ok_or_else(|| error(ENOENT))?;
        Ok(image.about(node))
    }
}

/// What a step is told.
struct Step {
    is_cut: bool,
    fault: Option<Fault>,
}

impl Handle {
    pub(super) fn about(&self) -> About {
        self.disk.image().about(self.file)
    }

    pub(super) fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.step("truncate", |image, _| {
            image.set_len(self.file, bytes);
            Ok(())
        })
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.step("fsync", |image, step| {
            if image.node(self.file).failed && !image.lied.contains(&self.file) {
                image.lied.push(self.file);
            }
            let of_file = |change: &Change| matches!(change, Change::Write { file, .. } | Change::Length { file, .. } if *file == self.file);
            match step.fault {
                Some(Fault::Io) => {
                    // of what was pending, some had reached the disk; nothing of the rest ever will
                    let reached = image.steps.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    for change in image.pending.extract_if(.., |change| of_file(change)).collect::<Vec<_>>() {
                        match reached >> 62 {
                            0 | 1 => {}
                            2 => image.settle_torn(&change, reached),
                            _ => image.settle(&change),
                        }
                    }
                    image.node(self.file).failed = true;
                    Err(error(EIO))
                }
                Some(Fault::Full | Fault::Short) | None => {
                    if !step.is_cut {
                        image.settle_where(of_file);
                    }
                    Ok(())
                }
            }
        })
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> usize {
        let image = self.disk.image();
        let bytes = &image.nodes[&self.file].seen;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let have = rest.len().min(buf.len());
        buf[..have].copy_from_slice(&rest[..have]);
        have
    }

    pub(super) fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.step("write", |image, step| {
            let have = if step.fault == Some(Fault::Short) { buf.len().div_ceil(2) } else { buf.len() };
            let (bytes, steps) = (&buf[..have], image.steps);
            let (from, to) = (offset as usize, offset as usize + have);
            if step.fault == Some(Fault::Full) && to > image.node(self.file).seen.len() {
                return Err(error(ENOSPC));
            }
            let node = image.node(self.file);
            node.seen.resize(node.seen.len().max(to), 0);
            node.seen[from..to].copy_from_slice(bytes);
            node.modified = steps;
            image.pending.push(Change::Write { file: self.file, at: offset, bytes: bytes.to_vec() });
            if self.durable && !step.is_cut {
                // also what an earlier writer left at the same place: what is older must not come after it
                image.settle_where(|change| match change {
                    Change::Write { file, at, bytes } => {
                        *file == self.file && *at < to as u64 && offset < *at + bytes.len() as u64
                    }
                    Change::Length { .. } | Change::Link { .. } | Change::Unlink { .. } | Change::Rename { .. } => {
                        false
                    }
                });
            }
            Ok(have)
        })
    }

    pub(super) fn read(&self, buf: &mut [u8]) -> usize {
        let have = self.read_at(buf, self.at.load(Relaxed));
        self.at.fetch_add(have as u64, Relaxed);
        have
    }

    pub(super) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let have = self.write_at(buf, self.at.load(Relaxed))?;
        self.at.fetch_add(have as u64, Relaxed);
        Ok(have)
    }

    pub(super) fn seek(&self, to: SeekFrom) -> u64 {
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.load(Relaxed).saturating_add_signed(by),
            SeekFrom::End(by) => self.about().bytes.saturating_add_signed(by),
        };
        self.at.store(at, Relaxed);
        at
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("names of a simulated disk are UTF-8").to_owned()
}
