//! What is on a simulated disk, and what of it is durable.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use nix::libc::{EISDIR, ENOENT};

use super::Fault;
use crate::disk::About;

/// The least that a disk writes at once.
const SECTOR: u64 = 512;

/// A change that is not durable.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { file: u64, at: u64, bytes: Vec<u8> },
    Length { file: u64, bytes: u64 },
    Link { name: String, node: u64 },
    Unlink { name: String, node: u64 },
    Rename { from: String, to: String, node: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) is_dir: bool,
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) modified: u64,
    /// An fsync failed since the power was on.
    pub(super) failed: bool,
}

/// Everything on a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) seen: BTreeMap<String, u64>,
    pub(super) durable: BTreeMap<String, u64>,
    pub(super) pending: Vec<Change>,
    /// Operations so far that change something.
    pub(super) steps: u64,
    /// The power is cut within this step.
    pub(super) cut: Option<u64>,
    /// What goes wrong with these steps, from and to.
    pub(super) fault: Option<(Fault, u64, u64)>,
    /// The files on which fsync was called again after it had failed.
    pub(super) lied: Vec<u64>,
    pub(super) last: &'static str,
}

impl Image {
    pub(super) fn file(&self, name: &str) -> io::Result<u64> {
        let node = *self.seen.get(name).ok_or_else(|| error(ENOENT))?;
        if self.nodes[&node].is_dir { Err(error(EISDIR)) } else { Ok(node) }
    }

    pub(super) fn link(&mut self, name: String, is_dir: bool) -> io::Result<u64> {
        if !self.seen.contains_key(parent(&name)) {
            return Err(error(ENOENT));
        }
        let node = self.nodes.last_key_value().map_or(0, |(last, _)| last + 1);
        self.nodes.insert(node, Node { is_dir, modified: self.steps, ..Node::default() });
        self.seen.insert(name.clone(), node);
        self.pending.push(Change::Link { name, node });
        Ok(node)
    }

    pub(super) fn node(&mut self, node: u64) -> &mut Node {
        self.nodes.entry(node).or_default()
    }

    pub(super) fn set_len(&mut self, file: u64, bytes: u64) {
        let steps = self.steps;
        let node = self.node(file);
        node.seen.resize(bytes as usize, 0);
        node.modified = steps;
        self.pending.push(Change::Length { file, bytes });
    }

    pub(super) fn about(&self, number: u64) -> About {
        let node = &self.nodes[&number];
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(node.modified);
        let bytes = node.seen.len() as u64;
        About { bytes, is_dir: node.is_dir, is_file: !node.is_dir, modified, id: (0, number) }
    }

    /// Makes durable what is pending of a kind, in its order.
    pub(super) fn settle_where(&mut self, wanted: impl Fn(&Change) -> bool) {
        for change in std::mem::take(&mut self.pending) {
            if wanted(&change) { self.settle(&change) } else { self.pending.push(change) }
        }
    }

    pub(super) fn settle(&mut self, change: &Change) {
        match change {
            Change::Write { .. } => self.settle_torn(change, u64::MAX),
            Change::Length { file, bytes } => self.node(*file).durable.resize(*bytes as usize, 0),
            Change::Link { name, node } => {
                self.durable.insert(name.clone(), *node);
            }
            Change::Unlink { name, node } => {
                if self.durable.get(name) == Some(node) {
                    self.durable.remove(name);
                }
            }
            Change::Rename { from, to, node } => {
                if self.durable.get(from) == Some(node) {
                    self.durable.remove(from);
                }
                self.durable.insert(to.clone(), *node);
                // its old name does not come back
                self.pending
                    .retain(|change| !matches!(change, Change::Link { name, node: of } if name == from && of == node));
            }
        }
    }

    pub(super) fn settle_torn(&mut self, change: &Change, sectors: u64) {
        let Change::Write { file, at, bytes } = change else { return };
        let durable = &mut self.node(*file).durable;
        let end = *at + bytes.len() as u64;
        durable.resize(durable.len().max(end as usize), 0);
        for sector in *at / SECTOR..end.div_ceil(SECTOR) {
            if sectors >> (sector % 64) & 1 == 1 {
                let (from, to) = ((sector * SECTOR).max(*at), ((sector + 1) * SECTOR).min(end));
                let part = &bytes[(from - at) as usize..(to - at) as usize];
                durable[from as usize..to as usize].copy_from_slice(part);
            }
        }
    }
}

pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
