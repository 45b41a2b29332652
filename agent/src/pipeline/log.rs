//! The sealed log on this host: batch, seal, spool, and the state of the chain.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use seal::{
    Account, Agent, Batch as SealedBatch, BatchKind, Facts, Gap, GapReason, HostKey, Lines, Receipt, SealError, Sealer,
    Seed, State, Vkey,
    batch::LineError,
    enrol::{self, Enrolment},
    state::RecoverError,
    text,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Status, tally::Closed};
use crate::{
    batch::{Batch, Limits},
    clock::{self, Now},
    keys::{Keys, KeysError},
    record::{self, Judgement, Record, Verdict, json},
    source::{Own, object},
    spool::{self, Evicted, Room, Spool, SpoolError},
};

/// Why the log cannot go on.
#[derive(Debug, Error)]
pub enum LogError {
    /// The secret files.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The seal.
    #[error("sealing a batch: {0}")]
    Seal(#[from] SealError),
    /// A record of the agent itself makes no line: a bug.
    #[error("writing a record of the agent: {0}")]
    Line(#[from] LineError),
    /// The spool and the chain do not belong together.
    #[error(
        "the spool's last batch does not follow from the state of the chain: {0}. Was the state directory restored \
         from a backup, or copied from another host? Enrol anew: no second batch of this number may be signed"
    )]
    Fork(RecoverError),
    /// The state directory came from another machine.
    #[error(
        "{0} was enrolled on another machine: two that go on with one log would sign different batches of one number. \
         `sigtrail enroll --again` begins a log of this machine's own"
    )]
    Clone(PathBuf),
    /// What belongs to the log before cannot be put aside.
    #[error("putting {path} aside: {source}")]
    Aside {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fact about this host cannot be read.
    #[error("reading {path}: {source}")]
    Host {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The directory of the secret files.
    pub state_dir: PathBuf,
    /// The spool.
    pub spool: spool::Options,
    /// When a batch is sealed.
    pub limits: Limits,
}

/// The log, open for writing.
pub struct Log {
    batch: Batch,
    writer: json::Writer,
    sealer: Sealer,
    keys: Keys,
    spool: Spool,
    room: Room,
    /// The sealed batch that is not durable yet, with its seal line.
    sealed: Option<Vec<u8>>,
    /// A buffer of an earlier batch.
    spare: Vec<u8>,
    boot: String,
    host: String,
    agent: Agent,
    offset: i64,
    first: BatchKind,
    last_sealed: Option<(u64, String)>,
    head: Option<String>,
    gaps: Vec<Gap>,
    recovered: Option<Own>,
}

impl Log {
    /// Opens the log where it ended. After a crash between the append and the state of the chain, the chain follows
    /// the batch that is on disk.
    pub fn open(options: LogOptions, now: Now) -> Result<Self, LogError> {
        let (mut keys, mut host_key, mut state) = Keys::open(&options.state_dir)?;
        if keys.note()?.is_some_and(|note| is_of_another_machine(&note)) {
            return Err(LogError::Clone(options.state_dir));
        }
        let (spool, recovery) = Spool::open(options.spool)?;
        let last = recovery.last.as_ref().and_then(|batch| parse(&batch.bytes));
        let mut clean = true;
        let mut recovered = None;
        if let Some((lines, seal_line, parsed)) = &last {
            if parsed.header.batch >= state.batch() {
                state = state.advance_over(lines, seal_line).map_err(LogError::Fork)?;
                // before the state moves on it has to be durable, which nobody said yet
                spool.renew()?;
                keys.save(&state)?;
            } else if let Some(what) = stranger(parsed, &state) {
                return Err(LogError::Fork(RecoverError::Fork(parsed.header.batch, what)));
            }
            let facts = &parsed.header.facts;
            clean = matches!(facts.kind, BatchKind::Stop | BatchKind::Genesis);
            if !clean {
                recovered = Some(Own::Recovered {
                    last_batch: parsed.header.batch,
                    last_sealed: text::time(facts.wall.1),
                    gap_seconds: now.wall.saturating_sub(facts.wall.1) / 1_000_000_000,
                    cut_bytes: recovery.cut,
                });
            }
        }
        if host_key.vkey() != state.host()
            && let Some(next) = keys.next(state.origin())?
        {
            // a crash in the middle of a rotation, which is sealed
            keys.turn(next.vkey())?;
            host_key = next;
        }
        let sealer = Sealer::open(host_key, state)?;
        let mut log = Self {
            batch: Batch::new(options.limits, now),
            writer: json::Writer::default(),
            sealer,
            keys,
            room: spool.room(),
            spool,
            sealed: None,
            spare: Vec::new(),
            boot: read("/proc/sys/kernel/random/boot_id")?,
            host: read("/proc/sys/kernel/hostname")?,
            agent: agent()?,
            offset: now.offset(),
            first: if clean { BatchKind::Start } else { BatchKind::Recovered },
            last_sealed: None,
            head: None,
            gaps: recovery.evicted.into_iter().map(gap).collect(),
            recovered,
        };
        log.begin(now)?;
        Ok(log)
    }

    /// Makes keys and the first batch, which says which keys the log begins with. Returns the enrolment note.
    ///
    /// `again`: a log that is there ends here. Its keys are gone then, its spool and public files get the number of
    /// the enrolment behind their names, and the note names its head.
    pub fn enrol(options: LogOptions, origin: &str, again: bool, now: Now) -> Result<String, LogError> {
        let mut facts = vec![("hostname".to_owned(), read("/proc/sys/kernel/hostname")?)];
        facts.extend(machine().map(|id| (MACHINE.to_owned(), id)));
        if again && let Some(head) = Keys::end(&options.state_dir)? {
            let number = number(&head.origin);
            for path in Keys::public(&options.state_dir).iter().chain([&options.spool.dir]) {
                match fs::rename(path, aside(path, number)) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(LogError::Aside { path: path.clone(), source });
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            facts.push(("previous".to_owned(), head.to_string()));
        }
        let describe = |host: &HostKey, seed: &Seed| Enrolment::new(host, seed, facts, now.wall)?.sign(host);
        let (_, note, _) = Keys::make(&options.state_dir, origin, again, describe)?;
        Self::open(options, now)?;
        Ok(note)
    }

    /// Seals the first batch, if that is still to be done: it is when the keys were just made, or a crash followed that.
    fn begin(&mut self, now: Now) -> Result<(), LogError> {
        let note = if self.next() == 0 { self.keys.note()? } else { None };
        if let Some(note) = note {
            let line = enrol::genesis_line(&note);
            self.batch.add(now.boot, false, |out| out.extend_from_slice(&line))?;
            self.seal(BatchKind::Genesis, &Closed::default(), [0; 32], Vec::new(), &[], now)?;
            self.store()?;
        }
        Ok(())
    }

    /// Name of the log.
    pub fn origin(&self) -> &str {
        self.sealer.state().origin()
    }

    /// The kind of the first batch of this run.
    pub fn first_kind(&self) -> BatchKind {
        self.first
    }

    /// What is to be told about the end of the last run, once.
    pub fn take_recovered(&mut self) -> Option<Own> {
        self.recovered.take()
    }

    /// The public host key.
    pub fn vkey(&self) -> &Vkey {
        self.sealer.vkey()
    }

    /// Adds a record.
    pub fn record(
        &mut self,
        record: &Record<'_>,
        judgement: Judgement<'_>,
        time: &str,
        now: Now,
    ) -> Result<(), LineError> {
        let Self { batch, writer, .. } = self;
        let is_alert = judgement.verdict >= Verdict::Alert;
        batch.add(now.boot, is_alert, |out| writer.line(record, judgement, time, out))?;
        for (field, path) in record::mismatches(record) {
            batch.add(now.boot, true, |out| record::mismatch(record, field, path, time, out))?;
        }
        Ok(())
    }

    /// Adds a record of the agent's own.
    pub fn own(&mut self, own: &Own, now: Now) -> Result<(), LogError> {
        let line = own.line(&text::time(now.wall));
        Ok(self.batch.add(now.boot, false, |out| out.extend_from_slice(line.as_bytes()))?)
    }

    /// Adds a record of the agent's own that shall be known at once.
    pub fn alert(&mut self, own: &Own, now: Now) -> Result<(), LogError> {
        let line = own.line(&text::time(now.wall));
        Ok(self.batch.add(now.boot, true, |out| out.extend_from_slice(line.as_bytes()))?)
    }

    /// The number of the batch that is sealed next, or that is being made durable.
    pub fn next(&self) -> u64 {
        self.sealer.state().batch()
    }

    /// Whether no more is added before the seal.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Whether it is time to seal.
    pub fn is_due(&self, now: Now) -> bool {
        self.batch.is_full() || now.boot >= self.batch.deadline()
    }

    /// Whether an alert has waited as long as it may.
    pub fn is_late(&self) -> bool {
        self.batch.has_alert() && Now::read().is_ok_and(|now| self.is_due(now))
    }

    /// The kind of the batch that is due.
    pub fn due_kind(&self) -> BatchKind {
        if self.batch.lines().is_empty() { BatchKind::Heartbeat } else { BatchKind::Events }
    }

    /// The time until a batch is due if nothing more comes.
    pub fn time_left(&self, now: Now) -> Duration {
        Duration::from_nanos(self.batch.deadline().saturating_sub(now.boot))
    }

    /// Seals what is there. [`Log::store`] makes it durable.
    pub fn seal(
        &mut self,
        kind: BatchKind,
        account: &Closed,
        policy: [u8; 32],
        gaps: Vec<Gap>,
        receipts: &[Receipt],
        now: Now,
    ) -> Result<(), LogError> {
        self.gaps.extend(gaps);
        let opened = self.batch.opened();
        let new = if matches!(kind, BatchKind::Events | BatchKind::Heartbeat) { self.waiting() } else { None };
        let kind = if new.is_some() { BatchKind::Rotate } else { kind };
        let facts = Facts {
            kind,
            boot: self.boot.clone(),
            host: self.host.clone(),
            mono: (opened.boot, now.boot),
            wall: (opened.wall, now.wall),
            clock: clock::state(now.offset() - self.offset),
            agent: self.agent.clone(),
            policy,
            load: account.load,
            cpus: account.cpus.clone(),
            accounts: sorted(&account.accounts),
            lost: account.lost,
            gaps: std::mem::take(&mut self.gaps),
            receipts: receipts.iter().map(ToString::to_string).collect(),
            extensions: Vec::new(),
        };
        let sealed = match new {
            Some(new) => self.sealer.rotate(self.batch.lines(), &facts, new)?,
            None => self.sealer.seal(self.batch.lines(), &facts)?,
        };
        let mut bytes = self.batch.take(now, std::mem::take(&mut self.spare));
        bytes.extend_from_slice(&sealed.line);
        self.sealed = Some(bytes);
        self.offset = now.offset();
        Ok(())
    }

    /// Makes the sealed batch durable, then lets the chain go on. After an error the same bytes are tried again.
    pub fn store(&mut self) -> Result<(), LogError> {
        if let (Some(bytes), Some(pending)) = (&self.sealed, self.sealer.pending()) {
            if self.spool.last().is_none_or(|last| last < pending.number) {
                let appended = self.spool.append(pending.number, bytes)?;
                self.gaps.extend(appended.evicted.into_iter().map(gap));
            }
            self.keys.save(&pending.next)?;
            if pending.next.host() != self.sealer.vkey() {
                self.keys.turn(pending.next.host())?;
                tracing::info!(key = %pending.next.host(), "another host key signs from now on");
            }
            let checkpoint = &pending.checkpoint;
            self.last_sealed = Some((pending.number, text::time(Now::read().map_or(0, |now| now.wall))));
            self.head = Some(checkpoint.text().trim_end().replace('\n', " "));
        }
        self.spare = self.sealed.take().unwrap_or_default();
        self.sealer.advance();
        self.room = self.spool.room();
        Ok(())
    }

    /// For which new events the spool has room.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The host key that is to take the place of the one in use.
    fn waiting(&self) -> Option<HostKey> {
        self.keys.next(self.origin()).unwrap_or_else(|error| {
            tracing::error!(%error, "the host key stays as it is");
            None
        })
    }

    /// The number of the last durable batch.
    pub fn last(&self) -> u64 {
        self.sealer.state().batch().saturating_sub(1)
    }

    /// All required sinks have the batches up to this one.
    pub fn release(&mut self, past: u64) -> Result<(), LogError> {
        let done = self.spool.release(past);
        self.room = self.spool.room();
        Ok(done?)
    }

    /// Fills in the log's part of the state.
    pub fn describe(&self, status: &mut Status) {
        self.sealer.state().origin().clone_into(&mut status.origin);
        status.last_batch = self.last_sealed.as_ref().map(|(number, _)| *number);
        status.last_sealed = self.last_sealed.as_ref().map(|(_, time)| time.clone());
        status.head.clone_from(&self.head);
        status.spool_bytes = self.spool.used();
        status.spool_max_bytes = self.spool.max_bytes();
        status.host_key = self.sealer.vkey().to_string();
    }
}

/// What the header says of batches that were dropped.
fn gap(evicted: Evicted) -> Gap {
    Gap { sink: "spool".into(), from: evicted.from, to: evicted.to, reason: GapReason::Evict }
}

fn sorted(accounts: &[Account]) -> Vec<Account> {
    let mut accounts = accounts.to_vec();
    accounts.sort_by(|a, b| a.hook.cmp(&b.hook));
    accounts
}

/// A stored batch: what its seal covers, its seal line, and what that says.
fn parse(bytes: &[u8]) -> Option<(Lines, Vec<u8>, SealedBatch)> {
    let body = bytes.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
    let mut lines = Lines::new();
    for line in body[..start].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        lines.push(line).ok()?;
    }
    let parsed = SealedBatch::parse(&body[start..]).ok()?;
    Some((lines, body[start..].to_vec(), parsed))
}

/// What of an older batch says that it is not of the log that the state ends.
fn stranger(last: &SealedBatch, state: &State) -> Option<&'static str> {
    if last.header.origin != state.origin() {
        return Some("origin");
    }
    let mut log = last.before.clone();
    log.push(last.leaf);
    (log.size() == state.batch() && log != *state.log()).then_some("root")
}

/// What this program is. It does not change while it runs.
fn agent() -> Result<Agent, LogError> {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    if let Some(agent) = AGENT.get() {
        return Ok(agent.clone());
    }
    let path = "/proc/self/exe";
    let mut file = fs::File::open(path).map_err(|source| LogError::Host { path: path.into(), source })?;
    let mut exe = Sha256::new();
    io::copy(&mut file, &mut HashWriter(&mut exe)).map_err(|source| LogError::Host { path: path.into(), source })?;
    let (version, bpf) = (env!("CARGO_PKG_VERSION").to_owned(), Sha256::digest(object::bytes()).into());
    Ok(AGENT.get_or_init(|| Agent { version, exe: exe.finalize().into(), bpf }).clone())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(path: &str) -> Result<String, LogError> {
    let text = fs::read_to_string(path).map_err(|source| LogError::Host { path: path.into(), source })?;
    Ok(text.trim().to_owned())
}

/// The fact of the enrolment note with the id of the machine.
const MACHINE: &str = "machine-id";

/// An id of this machine that does not tell the machine id itself (machine-id(5) asks for that), if it has one.
fn machine() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(b"sigtrail/v1 machine ");
    hash.update(id);
    Some(text::hex(&hash.finalize()[..16]))
}

/// Whether a note of this directory says that it was made on another machine.
fn is_of_another_machine(note: &str) -> bool {
    let Ok(enrolment) = Enrolment::verify(note) else { return false };
    let then = enrolment.facts.iter().find_map(|(name, id)| (name == MACHINE).then_some(id));
    then.is_some_and(|then| machine().is_some_and(|now| now != *then))
}

/// The number of an enrolment, which the name of its log ends with from the second on: `web1/sigtrail/e2`.
fn number(origin: &str) -> u64 {
    origin.rsplit_once("/e").and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

/// Where what belongs to the log of this number is put: what an enrolment that was cut off has put there stays.
fn aside(path: &Path, number: u64) -> PathBuf {
    let name = |again: u64| if again == 0 { String::new() } else { format!(".{again}") };
    let mut names = (0..).map(|again| PathBuf::from(format!("{}.{number}{}", path.display(), name(again))));
    names.find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_default()
}

/// The name of the log that follows this one on the same host.
pub fn following(origin: &str) -> String {
    let number = number(origin);
    let base = origin.strip_suffix(&format!("/e{number}")).unwrap_or(origin);
    format!("{base}/e{}", number.saturating_add(1))
}

#[cfg(test)]
mod crash;
