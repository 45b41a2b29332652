//! Forensic capture: what happened around a moment and what is there now, as one archive whose manifest is sealed.
//!
//! ```text
//! recorder ─▶ events before ─┐
//! /proc ─▶ processes, sockets, files ─▶ Bundle ─▶ manifest ─▶ (sealed into the log) ─▶ batch, key ─▶ case.sigtrail
//! recorder ─▶ events during ─┘
//! ```
//!
//! What vanishes first is read first. Everything is bounded: bytes, members, time, and how fast files are read.

mod bundle;
mod events;
mod file;
mod process;
pub mod recorder;
mod system;
mod target;

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;

pub use bundle::{Recipient, recipient};
pub use target::{Target, TargetError, uid};

use crate::{clock::Now, disk};
use bundle::Bundle;
use events::Events;
use process::Process;
use recorder::Tap;

/// What is told of the processes that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The program: its hash, and a copy where its file is gone or was never there (memfd_create(2)).
    Exe,
    /// What is mapped into memory.
    Maps,
    /// Open files.
    Fds,
    /// Sockets of their network namespaces.
    Sockets,
    /// The environment.
    Environ,
    /// Memory.
    Memory,
    /// Files that are named.
    Files,
}

impl Detail {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Exe, Self::Maps, Self::Fds, Self::Sockets, Self::Environ, Self::Memory, Self::Files];

    /// Its name on the command line and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exe => "exe",
            Self::Maps => "maps",
            Self::Fds => "fds",
            Self::Sockets => "sockets",
            Self::Environ => "environ",
            Self::Memory => "memory",
            Self::Files => "files",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}

/// What is to be captured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose.
    pub target: Target,
    /// How far back.
    pub before: Duration,
    /// How long from now on.
    pub during: Duration,
    /// How much of each process.
    pub with: BTreeSet<Detail>,
    /// Files to copy.
    pub files: Vec<PathBuf>,
    /// Who alone can read the bundle; nobody for everybody.
    pub recipients: Vec<String>,
}

/// What a capture may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all members.
    pub bytes: u64,
    /// Bytes of memory of a process.
    pub memory_bytes: u64,
    /// Bytes that are read in a second; 0 for any number.
    pub read_rate: u64,
    /// How long it may take; what is not read by then is left out.
    pub time: Duration,
    /// No file below here is copied: there are the keys.
    pub secret: PathBuf,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What is being done.
    pub doing: &'a str,
    /// How much of it is done, in the unit of `of`.
    pub done: u64,
    /// How much there is to do; 0 when nobody knows.
    pub of: u64,
    /// Bytes of members.
    pub bytes: u64,
}

/// What of the manifest goes into the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the manifest.
    pub manifest: [u8; 32],
    /// Members that it names.
    pub members: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events among them.
    pub events: u64,
    /// What was left out.
    pub left_out: u64,
}

/// What is sealed, and by whom.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The batch with the record of the capture.
    pub batch: Vec<u8>,
    /// The line of the host key.
    pub vkey: Vec<u8>,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The bundle cannot be written.
    #[error("writing the bundle: {0}")]
    Write(#[from] io::Error),
    /// No recipient of age.
    #[error("`{0}` is no X25519 recipient of age: it is `age1…`, as age-keygen prints it")]
    Recipient(String),
    /// Nobody wants it any more.
    #[error("who asked for it went away, or the agent ends")]
    Gone,
    /// The record of it is not in the log.
    #[error("the log did not take the record of the capture: {0}")]
    Unsealed(String),
    /// The processes cannot be listed.
    #[error("listing /proc: {0}")]
    Processes(io::Error),
    /// A clock cannot be read.
    #[error("reading the clock: {0}")]
    Clock(#[from] nix::errno::Errno),
}

/// Something that the caller read: a name, where it is from, the bytes or why there are none.
pub type Item = (String, String, Result<Vec<u8>, String>);

/// Captures into `file`: the story of this module. `seal` puts the record into the log, and waits until it is sealed;
/// `tell` is asked whether to go on.
pub fn capture(
    plan: &Plan,
    limits: &Limits,
    file: disk::File,
    tap: &Tap,
    items: Vec<Item>,
    seal: impl FnOnce(&Summary) -> Result<Sealed, CaptureError>,
    tell: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Summary, CaptureError> {
    let begun = Instant::now();
    let now = Now::read()?;
    let mut bundle = Bundle::new(file, plan, limits, begun)?;
    let mut told = |bundle: &Bundle, doing: &str, done: u64, of: u64| {
        let progress = Progress { doing, done, of, bytes: bundle.bytes() };
        if tell(progress) { Ok(()) } else { Err(CaptureError::Gone) }
    };
    let all = process::list().map_err(CaptureError::Processes)?;
    process::write(&all, "processes.ndjson", &mut bundle)?;
    let chosen: Vec<&Process> = plan.target.of(&all);
    for (at, process) in chosen.iter().enumerate() {
        told(&bundle, "processes", at as u64, chosen.len() as u64)?;
        process.capture(plan, limits, &mut bundle)?;
    }
    system::sockets(plan, &chosen, &mut bundle)?;
    system::host(&mut bundle)?;
    for (name, from, bytes) in items {
        bundle.item(&name, &from, bytes)?;
    }
    let since = now.boot.saturating_sub(plan.before.as_nanos() as u64);
    let until = now.boot.saturating_add(plan.during.as_nanos() as u64);
    let mut events = Events::new(&plan.target, &all, since..=until);
    tap.flush();
    events.take(tap, &mut bundle)?;
    let end = begun + plan.during.min(limits.time);
    while Instant::now() < end {
        told(&bundle, "events", begun.elapsed().as_millis() as u64, plan.during.as_millis() as u64)?;
        std::thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
        events.take(tap, &mut bundle)?;
    }
    if !plan.during.is_zero() {
        tap.flush();
        events.take(tap, &mut bundle)?;
        process::write(&process::list().map_err(CaptureError::Processes)?, "processes-after.ndjson", &mut bundle)?;
    }
    let counted = events.finish(tap, &mut bundle)?;
    for (at, path) in plan.files.iter().enumerate() {
        told(&bundle, "files", at as u64, plan.files.len() as u64)?;
        file::chosen(path, at, &limits.secret, &mut bundle)?;
    }
    told(&bundle, "seal", 0, 0)?;
    let summary = bundle.manifest(plan, counted)?;
    let sealed = seal(&summary)?;
    bundle.close(&sealed)?;
    Ok(summary)
}

/// How often it is looked whether to go on while events are waited for.
const STEP: Duration = Duration::from_millis(200);

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
