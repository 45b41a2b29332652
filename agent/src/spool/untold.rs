//! Batches that were dropped because the spool was full, until a durable header names them. They are also in the file
//! `evicted`, a line `from to` for each range: a power cut between the two must not make a loss that nobody tells.
//!
//! The file has one sector and is overwritten in place: that is never torn, and a full disk has room for it.

use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Evicted;
use crate::disk::{self, File};

/// The file, in the spool.
const NAME: &str = "evicted";
/// Its length.
const SECTOR: usize = 512;
/// Most ranges: of this many, the longest lines fit.
const RANGES: usize = 12;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Untold {
    file: File,
    /// Not handed out yet.
    new: Vec<Evicted>,
    /// Handed out: the next batch names them.
    handed: Vec<Evicted>,
    /// Whether the file says something.
    is_kept: bool,
}

impl Untold {
    /// What an earlier life did not tell, as handed out; `oldest` is the first batch in the spool: what is there was not
    /// dropped after all.
    pub(super) fn open(dir: &Path, oldest: Option<u64>) -> io::Result<Self> {
        let path = dir.join(NAME);
        let file = disk::open_durable(&path, true)?;
        let mut sector = [0; SECTOR];
        if disk::about_open(&file)?.bytes < SECTOR as u64 {
            file.write_all_at(&sector, 0)?;
            disk::sync_name(&path)?;
        }
        file.read_exact_at(&mut sector, 0)?;
        let text = String::from_utf8_lossy(&sector);
        let ranges = text.lines().filter_map(|line| {
            let (from, to) = line.split_once(' ')?;
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            let to = oldest.map_or(Some(to), |oldest| Some(to.min(oldest.checked_sub(1)?)))?;
            (from <= to).then_some(Evicted { from, to })
        });
        let handed: Vec<_> = ranges.collect();
        Ok(Self { file, new: Vec::new(), is_kept: sector[0] != 0, handed })
    }

    /// What was handed out.
    pub(super) fn handed(&self) -> &[Evicted] {
        &self.handed
    }

    /// What was not handed out yet.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> &[Evicted] {
        &self.new
    }

    /// Writes down that a range is about to go; durable when it returns Ok.
    pub(super) fn announce(&mut self, gone: Evicted) -> io::Result<()> {
        let mut all = [&self.handed[..], &self.new[..]].concat();
        add(&mut all, gone);
        self.keep(&all)
    }

    /// The range is gone.
    pub(super) fn add(&mut self, gone: Evicted) {
        add(&mut self.new, gone);
    }

    /// A batch is durable that names all that was handed out. Hands out the rest.
    pub(super) fn hand_out(&mut self) -> Vec<Evicted> {
        let told = !self.handed.is_empty() || self.new.is_empty() && self.is_kept;
        self.handed = std::mem::take(&mut self.new);
        if told && let Err(error) = self.keep(&self.handed.clone()) {
            tracing::warn!(%error, "what was dropped from the spool may be told twice");
        }
        self.handed.clone()
    }

    fn keep(&mut self, all: &[Evicted]) -> io::Result<()> {
        let mut sector = [0; SECTOR];
        let mut rest = &mut sector[..];
        all.iter().try_for_each(|gone| writeln!(rest, "{} {}", gone.from, gone.to))?;
        self.file.write_all_at(&sector, 0)?;
        self.is_kept = !all.is_empty();
        Ok(())
    }
}

/// Neighbours become one. When there are too many, what is between goes with them: more is told than is missing, never less.
fn add(ranges: &mut Vec<Evicted>, gone: Evicted) {
    let full = ranges.len() >= RANGES;
    match ranges.last_mut() {
        Some(range) if full || range.to.checked_add(1) == Some(gone.from) => range.to = range.to.max(gone.to),
        _ => ranges.push(gone),
    }
}
