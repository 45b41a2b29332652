//! All logs: which are known, who may deliver, and what becomes of a stranger.
//!
//! ```text
//! <state>/hosts/<name>/        a log that somebody vouches for, cosigned
//! <state>/unverified/<name>/   mode `approve`: verified with the key that batch 0 names, not cosigned
//! <state>/logs/<name>/         a log of somebody else: only the newest checkpoint
//! ```

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use clap::ValueEnum;
use seal::{add_checkpoint::AddCheckpoint, cosign::Witness, note::Note, text::hex, tree::sha256};

use crate::{
    alarm::{Alarms, Kind},
    cosigned::{Cosigned, Refusal},
    host::{Host, Refused, Taken},
    store::make_dir,
    trust::Trust,
};

/// What becomes of a host that nobody vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// It is refused until the trust file or a signed enrolment note names it.
    Provisioned,
    /// It is kept apart and not cosigned, until then.
    Approve,
    /// The first key that comes under a name is believed.
    Tofu,
}

/// How many logs nobody vouches for; the next one is refused.
const STRANGERS: usize = 1024;

/// All logs.
#[derive(Debug)]
pub struct Hosts {
    state: PathBuf,
    mode: Mode,
    trust: RwLock<Trust>,
    open: Mutex<HashMap<String, Arc<Mutex<Host>>>>,
    logs: Mutex<()>,
    /// Who cosigns.
    pub witness: Witness,
    /// What went wrong.
    pub alarms: Alarms,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // a host that a panic left behind is what is on disk: its state moves only when all is durable
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// Opens all logs of the state directory.
    pub fn open(state: PathBuf, mode: Mode, trust: Trust, witness: Witness, alarms: Alarms) -> io::Result<Self> {
        let hosts = Self {
            state,
            mode,
            trust: RwLock::default(),
            open: Mutex::default(),
            logs: Mutex::default(),
            witness,
            alarms,
        };
        for (area, vouched) in [("hosts", true), ("unverified", false)] {
            let dir = hosts.state.join(area);
            make_dir(&dir)?;
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                let Ok(origin) = fs::read_to_string(path.join("origin")) else { continue };
                let host = Host::open(&path, origin.trim_end(), vouched)?;
                lock(&hosts.open).insert(origin.trim_end().to_owned(), Arc::new(Mutex::new(host)));
            }
        }
        hosts.believe(trust)?;
        Ok(hosts)
    }

    /// Takes over what is believed now; hosts that were kept apart and are vouched for become ordinary ones.
    pub fn believe(&self, trust: Trust) -> io::Result<()> {
        for (origin, key) in trust.hosts() {
            let from = self.place("unverified", origin);
            if !from.join("origin").exists() {
                continue;
            }
            let mut open = lock(&self.open);
            let Some(host) = open.get(origin).cloned() else { continue };
            let mut held = lock(&host);
            if held.key() == Some(key) {
                let to = self.place("hosts", origin);
                fs::rename(&from, &to)?;
                fs::File::open(self.state.join("hosts"))?.sync_all()?;
                *held = Host::open(&to, origin, true)?;
            } else {
                self.alarms.raise(Kind::Untrusted, origin, "what was kept apart is signed by another key");
                fs::rename(&from, self.state.join("unverified").join(format!("{}-refused", file_name(origin))))?;
                open.remove(origin);
            }
        }
        // also one that never comes is watched
        for (origin, _) in trust.hosts() {
            if let Err(Refused::Disk(error)) = self.host(origin, true) {
                return Err(error);
            }
        }
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        Ok(())
    }

    /// Takes a body of one log.
    pub fn take(&self, origin: &str, body: &[u8], certificate: Option<&[u8; 32]>) -> Result<Taken, Refused> {
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        if !trust.may_deliver(origin, certificate) {
            let why = "the client certificate is not one of this log";
            self.alarms.raise(Kind::Untrusted, origin, why);
            return Err(Refused::Untrusted(why.to_owned()));
        }
        let known = trust.of(origin);
        drop(trust);
        let host = self.host(origin, known.pin.is_some())?;
        lock(&host).take(body, &known, &self.witness, &self.alarms)
    }

    /// `add-checkpoint`; `None`: the log is not known.
    pub fn add_checkpoint(&self, request: &AddCheckpoint) -> Option<Result<Note, Refusal>> {
        let origin = &request.checkpoint.origin;
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        let known = trust.of(origin);
        let keys = trust.log(origin).to_vec();
        drop(trust);
        let host = lock(&self.open).get(origin).cloned();
        if host.is_some() || known.pin.is_some() {
            let host = match host {
                Some(host) => host,
                None => self.host(origin, true).ok()?,
            };
            return Some(lock(&host).add_checkpoint(request, &known, &self.witness, &self.alarms));
        }
        if keys.is_empty() {
            return None;
        }
        let one_at_a_time = lock(&self.logs);
        let dir = self.place("logs", origin);
        let answer =
            make_dir(&dir).and_then(|()| Cosigned::open(&dir)).map_err(Refusal::Disk).and_then(|mut cosigned| {
                cosigned.check(request, &keys)?;
                cosigned.cosign(&request.note.text, &self.witness).cloned().map_err(Refusal::Disk)
            });
        drop(one_at_a_time);
        Some(answer)
    }

    /// Looks for hosts that are late.
    pub fn watch(&self, limit: Duration) {
        for (_, host) in self.all() {
            lock(&host).watch(limit, &self.alarms);
        }
    }

    /// Each log with its size, whether it is late, and the time since it was heard of.
    pub fn survey(&self) -> Vec<(String, u64, bool, Duration)> {
        let look = |(origin, host): (String, Arc<Mutex<Host>>)| {
            let host = lock(&host);
            (origin, host.size(), host.is_silent(), host.quiet())
        };
        let mut seen: Vec<_> = self.all().into_iter().map(look).collect();
        seen.sort();
        seen
    }

    fn all(&self) -> Vec<(String, Arc<Mutex<Host>>)> {
        lock(&self.open).iter().map(|(origin, host)| (origin.clone(), host.clone())).collect()
    }

    /// The log of this origin, begun if it may be.
    fn host(&self, origin: &str, known: bool) -> Result<Arc<Mutex<Host>>, Refused> {
        let mut open = lock(&self.open);
        if let Some(host) = open.get(origin) {
            return Ok(host.clone());
        }
        let area = match self.mode {
            _ if known => "hosts",
            Mode::Tofu => "hosts",
            Mode::Approve => "unverified",
            Mode::Provisioned => {
                self.alarms.raise(Kind::Untrusted, origin, "no key is known for this log");
                return Err(Refused::Untrusted("no key is known for this log".to_owned()));
            }
        };
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        if !known && open.keys().filter(|origin| trust.host(origin).is_none()).count() >= STRANGERS {
            return Err(Refused::Untrusted("too many unknown logs".to_owned()));
        }
        drop(trust);
        let host = Arc::new(Mutex::new(Host::open(&self.place(area, origin), origin, area == "hosts")?));
        open.insert(origin.to_owned(), host.clone());
        Ok(host)
    }

    fn place(&self, area: &str, origin: &str) -> PathBuf {
        self.state.join(area).join(file_name(origin))
    }
}

/// A file name for an origin: readable, and its own by the hash.
fn file_name(origin: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '.' };
    let readable: String = origin.chars().map(plain).take(100).collect();
    let hash = hex(&sha256(origin.as_bytes())[..8]);
    format!("{}-{hash}", readable.trim_start_matches('.'))
}
