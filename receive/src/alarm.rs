//! Alarms: one line of JSON each in `alarms.ndjson`, and a count.

use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use seal::text::time;
use serde_json::json;

use crate::now;

/// The same alarm is written again after this time.
const AGAIN: Duration = Duration::from_hours(1);
/// Alarms that are remembered; while there are as many, further ones are only counted.
const REMEMBERED: usize = 4096;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Two signed histories of one log: a restored state or a clone.
    Fork,
    /// Both histories go on: a clone.
    Clone,
    /// A second beginning of a log that is known.
    Genesis,
    /// Batches are missing.
    Hole,
    /// The host's own account does not add up.
    Account,
    /// Bytes that are not what was sealed.
    Tampered,
    /// A log, a key or a client that nobody vouches for.
    Untrusted,
    /// A host was not heard of in time.
    Silent,
    /// It is heard of again.
    Back,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Fork,
        Self::Clone,
        Self::Genesis,
        Self::Hole,
        Self::Account,
        Self::Tampered,
        Self::Untrusted,
        Self::Silent,
        Self::Back,
    ];

    /// The word in the file and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Clone => "clone",
            Self::Genesis => "genesis",
            Self::Hole => "hole",
            Self::Account => "account",
            Self::Tampered => "tampered",
            Self::Untrusted => "untrusted",
            Self::Silent => "silent",
            Self::Back => "back",
        }
    }
}

/// The file of alarms.
#[derive(Debug)]
pub struct Alarms {
    path: PathBuf,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    counts: BTreeMap<Kind, u64>,
    written: HashMap<(Kind, String, String), Instant>,
}

impl Alarms {
    /// Alarms into this file; it is opened for each, so that it can be moved away at any time.
    pub fn new(path: PathBuf) -> Self {
        Self { path, told: Mutex::default() }
    }

    /// Raises an alarm. What is the same as an alarm of the last hour is counted only.
    pub fn raise(&self, kind: Kind, origin: &str, what: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.counts.entry(kind).or_default() += 1;
        told.written.retain(|_, at| at.elapsed() < AGAIN);
        let key = (kind, origin.to_owned(), what.to_owned());
        // a host that falls silent anew has come back before: each time is news
        let news = matches!(kind, Kind::Silent | Kind::Back);
        if !news && (told.written.len() >= REMEMBERED || told.written.contains_key(&key)) {
            return;
        }
        tracing::warn!(alarm = kind.name(), origin, "{what}");
        let line =
            json!({ "alarm": kind.name(), "origin": origin, "time": time(now().as_nanos() as u64), "what": what });
        let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path);
        let written = opened.and_then(|mut file| {
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        });
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "cannot write the alarm");
        }
        told.written.insert(key, Instant::now());
    }

    /// How many were raised, by kind; also 0, for who watches a count sees its first step only if it was there before.
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Kind::ALL.map(|kind| (kind, told.counts.get(&kind).copied().unwrap_or(0))).into()
    }
}
