//! One log of a host: what was received of it, where the verifier stands, and what was cosigned.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use seal::{
    Batch, Vkey,
    add_checkpoint::AddCheckpoint,
    cosign::Witness,
    line::SealLine,
    note::Note,
    proof::Checkpoint,
    tree::Hash,
    verify::{self, Finding, Stand, Verifier, What},
};

use crate::{
    alarm::{Alarms, Kind},
    cosigned::{Cosigned, Refusal},
    store::{Store, make_dir, replace},
    trust::Known,
};

/// The host keys, oldest first: lines of `<batch> <vkey>`; a key is in force behind its batch, the first one from the
/// beginning.
const KEYS: &str = "keys";

/// Why a body is not taken. What the sink of the agent makes of each status is in its table (`sink/http/answer.rs`).
#[derive(Debug)]
pub enum Refused {
    /// 403: nobody vouches for the key; the host tries again later.
    Untrusted(String),
    /// 409: another history than the one that is here.
    Fork(String),
    /// 422: not what was sealed, or not whole.
    Wrong(String),
    /// 503: it cannot be made durable now.
    Disk(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// A body that was taken.
#[derive(Debug)]
pub struct Taken {
    /// The newest checkpoint with the cosignature; `None` if the log is not cosigned.
    pub receipt: Option<Note>,
    /// Batches that were not here before.
    pub batches: u64,
    /// Those that were.
    pub duplicates: u64,
}

/// One log.
#[derive(Debug)]
pub struct Host {
    origin: String,
    /// Whether somebody vouches for its key: only then it is cosigned.
    vouched: bool,
    store: Store,
    stand: Stand,
    keys: Vec<(u64, Vkey)>,
    cosigned: Cosigned,
    /// Another history was offered.
    forked: bool,
    heard: Instant,
    late: bool,
    dir: PathBuf,
}

impl Host {
    /// Opens the log in a directory, which is made if it is missing.
    pub fn open(dir: &Path, origin: &str, vouched: bool) -> io::Result<Self> {
        make_dir(dir)?;
        let store = Store::open(dir)?;
        let keys = keys(&dir.join(KEYS))?;
        let last = store.last().map(|number| store.seal(number)).transpose()?.flatten();
        let stand = last.and_then(|batch| {
            let key = keys.iter().rev().find(|(after, _)| *after <= batch.header.batch)?.1.clone();
            Some(Stand::behind(batch, key))
        });
        replace(dir, "origin", format!("{origin}\n").as_bytes())?;
        Ok(Self {
            origin: origin.to_owned(),
            vouched,
            store,
            stand: stand.unwrap_or_default(),
            keys,
            cosigned: Cosigned::open(dir)?,
            forked: false,
            heard: Instant::now(),
            late: false,
            dir: dir.to_owned(),
        })
    }

    /// The number of batches up to the last one.
    pub fn size(&self) -> u64 {
        self.stand.log().size()
    }

    /// The first host key, if batch 0 or a trusted batch was received.
    pub fn key(&self) -> Option<&Vkey> {
        self.keys.first().map(|(_, key)| key)
    }

    /// Takes a body of whole batches, or none of it.
    pub fn take(&mut self, body: &[u8], known: &Known, witness: &Witness, alarms: &Alarms) -> Result<Taken, Refused> {
        let trust = verify::Trust {
            pins: known.pin.iter().cloned().collect(),
            revoked: known.revoked.clone(),
            heads: self.ahead(),
            ..verify::Trust::default()
        };
        let mut verifier = Verifier::resume(trust, &self.stand);
        self.remind(&mut verifier, body)?;
        let (new, rotations) = read(&mut verifier, body);
        let duplicates = verifier.report().duplicates;
        if let Err(refused) = self.judge(&verifier, body, new.len(), known.pin.as_ref(), alarms) {
            if let Refused::Fork(why) | Refused::Wrong(why) = &refused {
                self.store.put_aside(body, why)?;
            }
            return Err(refused);
        }
        let stand = verifier.stand();
        if self.keys.is_empty() {
            self.add_keys(stand.host().map(|key| (0, key.clone())))?;
        }
        // before the batches: a key that was announced and not stored would make the host a stranger
        self.add_keys(rotations)?;
        self.store.append(&new)?;
        let whole = verifier.report().missing.is_empty();
        let was = std::mem::replace(&mut self.stand, stand);
        if !new.is_empty() {
            // what is sent again is no sign of life: others may have a copy
            self.hear(alarms);
        }
        if self.forked && !new.is_empty() {
            alarms.raise(Kind::Clone, &self.origin, "both histories of a fork go on: two hosts use one state");
        }
        if self.vouched {
            self.cosign(was.log().size(), whole, witness)?;
        }
        let receipt = if self.vouched { self.cosigned.note().cloned() } else { None };
        Ok(Taken { receipt, batches: new.len() as u64, duplicates })
    }

    /// `add-checkpoint` for this log: with it a witness that has a hole is shown that the log only grew.
    pub fn add_checkpoint(
        &mut self,
        request: &AddCheckpoint,
        known: &Known,
        witness: &Witness,
        alarms: &Alarms,
    ) -> Result<Note, Refusal> {
        let last = request.checkpoint.size.saturating_sub(1);
        let counts = |key: &&Vkey| self.vouched && !known.revoked.iter().any(|revoked| revoked.revokes(key, last));
        let key = self.stand.host().or(known.pin.as_ref()).filter(counts);
        self.cosigned.check(request, key.map_or(&[], std::slice::from_ref))?;
        let ours = self.root(request.checkpoint.size).map_err(Refusal::Disk)?;
        if ours.is_some_and(|root| root != request.checkpoint.root) {
            alarms.raise(Kind::Fork, &self.origin, "a checkpoint for the witness is not the one of the batches");
            return Err(Refusal::Root);
        }
        self.cosigned.cosign(&request.note.text, witness).cloned().map_err(Refusal::Disk)
    }

    /// Raises an alarm when the host was not heard of for so long.
    pub fn watch(&mut self, limit: Duration, alarms: &Alarms) {
        if !self.late && self.heard.elapsed() > limit {
            self.late = true;
            let size = self.size();
            alarms.raise(
                Kind::Silent,
                &self.origin,
                &format!("nothing for {} s after {size} batches", limit.as_secs()),
            );
        }
    }

    /// Whether the host is late.
    pub fn is_silent(&self) -> bool {
        self.late
    }

    /// Time since the host was heard of.
    pub fn quiet(&self) -> Duration {
        self.heard.elapsed()
    }

    fn hear(&mut self, alarms: &Alarms) {
        self.heard = Instant::now();
        if std::mem::take(&mut self.late) {
            alarms.raise(Kind::Back, &self.origin, "heard of again");
        }
    }

    /// A checkpoint that the witness knows and the batches have not reached.
    fn ahead(&self) -> Vec<Checkpoint> {
        let size = self.size();
        self.cosigned.checkpoint().filter(|known| known.size > size).cloned().into_iter().collect()
    }

    /// Tells the verifier of the batches in the body that are here already.
    fn remind(&self, verifier: &mut Verifier, body: &[u8]) -> io::Result<()> {
        let Some(here) = self.store.last() else { return Ok(()) };
        let numbers = lines(body).filter(|line| SealLine::is_one(line)).filter_map(number);
        let old = numbers.filter(|number| *number <= here).collect();
        for (number, identity) in self.store.identities(&old)? {
            verifier.remember(number, identity);
        }
        Ok(())
    }

    /// What the findings mean: the first of the worst ones decides.
    fn judge(
        &mut self,
        verifier: &Verifier,
        body: &[u8],
        new: usize,
        pin: Option<&Vkey>,
        alarms: &Alarms,
    ) -> Result<(), Refused> {
        let report = verifier.report();
        let alarm = |kind, finding: &Finding| alarms.raise(kind, &self.origin, &finding.to_string());
        let of = |wanted: fn(&What) -> bool| report.findings.iter().find(|finding| wanted(&finding.what));
        if let Some(finding) = of(|what| matches!(what, What::Fork | What::Head)) {
            let signed = self.is_signed(body, finding.batch, pin);
            let kind = match finding.batch {
                Some(0) => Kind::Genesis,
                _ if signed => Kind::Fork,
                _ => Kind::Tampered,
            };
            alarm(kind, finding);
            self.forked |= signed;
            let why = finding.to_string();
            return Err(if kind == Kind::Tampered { Refused::Wrong(why) } else { Refused::Fork(why) });
        }
        if let Some(finding) =
            of(|what| matches!(what, What::NoKey | What::HostSignature(_) | What::Enrolment | What::Revoked { .. }))
        {
            alarm(Kind::Untrusted, finding);
            // by another key it is a stranger; by a known one it is the body that is wrong
            let known = self.keys.iter().map(|(_, key)| key).chain(pin);
            let stranger = match finding.what {
                What::Revoked { .. } => true,
                What::HostSignature(id) => !known.into_iter().any(|key| key.id() == id),
                _ => pin.is_none() && self.keys.is_empty(),
            };
            let why = finding.to_string();
            return Err(if stranger { Refused::Untrusted(why) } else { Refused::Wrong(why) });
        }
        if let Some(finding) = report.first_tampered.as_ref() {
            alarm(Kind::Tampered, finding);
            return Err(Refused::Wrong(finding.to_string()));
        }
        let absent = |what: &What| matches!(what, What::Absent { .. } | What::Redacted { .. } | What::Unsealed { .. });
        if let Some(finding) = of(absent) {
            return Err(Refused::Wrong(finding.to_string()));
        }
        if let Some(finding) = of(|what| matches!(what, What::Late)) {
            return Err(Refused::Fork(finding.to_string()));
        }
        if new == 0 && report.duplicates == 0 {
            return Err(Refused::Wrong("no sealed batch in the body".to_owned()));
        }
        for finding in &report.findings {
            let hole = matches!(finding.what, What::Begins | What::Missing { .. });
            alarm(if hole { Kind::Hole } else { Kind::Account }, finding);
        }
        Ok(())
    }

    /// Whether the host signed the batch of this number in the body. A number that is taken already may come from
    /// anybody; only what the host signed is a second history of it.
    fn is_signed(&self, body: &[u8], number: Option<u64>, pin: Option<&Vkey>) -> bool {
        let seals = lines(body).filter(|line| SealLine::is_one(line)).filter_map(|line| Batch::parse(line).ok());
        let mut of_number = seals.filter(|batch| Some(batch.header.batch) == number);
        of_number.any(|batch| {
            let text = batch.proof.checkpoint.text();
            let mut keys = self.keys.iter().map(|(_, key)| key).chain(pin);
            keys.any(|key| batch.proof.signatures.first().is_some_and(|signature| key.verifies(&text, signature)))
        })
    }

    /// Cosigns the head, if it is shown to continue what was cosigned before. `size`: of the log before this body;
    /// `whole`: nothing is missing between the two.
    fn cosign(&mut self, size: u64, whole: bool, witness: &Witness) -> io::Result<()> {
        let head = Checkpoint { origin: self.origin.clone(), size: self.size(), root: self.stand.log().root() };
        let follows = match self.cosigned.checkpoint() {
            None => true,
            Some(known) if *known == head || known.size > head.size => return Ok(()),
            Some(known) if known.size == size => whole,
            // after a crash between two files, or behind a hole that add-checkpoint closed
            Some(known) => known.size >= self.store.run() && self.root(known.size)? == Some(known.root),
        };
        if follows && head.size > 0 {
            self.cosigned.cosign(&head.text(), witness)?;
        }
        Ok(())
    }

    /// The root of the log at a size, if a batch that is here shows it.
    fn root(&self, size: u64) -> io::Result<Option<Hash>> {
        let ends = size.checked_sub(1).map(|number| self.store.seal(number)).transpose()?.flatten();
        let begins = || self.store.seal(size).map(|found| found.map(|batch| batch.header.prev));
        ends.map_or_else(begins, |batch| Ok(Some(batch.proof.checkpoint.root)))
    }

    fn add_keys(&mut self, more: impl IntoIterator<Item = (u64, Vkey)>) -> io::Result<()> {
        let before = self.keys.len();
        self.keys.extend(more);
        if self.keys.len() > before {
            let lines: Vec<_> = self.keys.iter().map(|(after, key)| format!("{after} {key}\n")).collect();
            replace(&self.dir, KEYS, lines.concat().as_bytes())?;
        }
        Ok(())
    }
}

/// New batches with their numbers and bytes, and host keys that take over after a batch.
type New<'a> = (Vec<(u64, &'a [u8])>, Vec<(u64, Vkey)>);

/// Gives the body to the verifier.
fn read<'a>(verifier: &mut Verifier, body: &'a [u8]) -> New<'a> {
    let (mut new, mut rotations) = (Vec::new(), Vec::new());
    let (mut begin, mut at) = (0, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let good = verifier.report().batches;
        verifier.push(line);
        if !SealLine::is_one(line) {
            continue;
        }
        let batch = Batch::parse(line).ok().filter(|_| verifier.report().batches > good);
        if let (Some(batch), Some(bytes)) = (batch, body.get(begin..at)) {
            new.push((batch.header.batch, bytes));
            rotations.extend(batch.header.hostkey.map(|key| (batch.header.batch, key)));
        }
        begin = at;
    }
    verifier.end(body.last().is_some_and(|last| *last != b'\n'));
    (new, rotations)
}

fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n')
}

fn number(seal: &[u8]) -> Option<u64> {
    Batch::parse(seal).ok().map(|batch| batch.header.batch)
}

/// The origin that the first seal in a body names.
pub fn origin_of(body: &[u8]) -> Option<String> {
    let seal = lines(body).find(|line| SealLine::is_one(line))?;
    Batch::parse(seal).ok().map(|batch| batch.header.origin)
}

fn keys(path: &Path) -> io::Result<Vec<(u64, Vkey)>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let line = |line: &str| {
        let (after, key) = line.split_once(' ')?;
        Some((after.parse().ok()?, Vkey::parse(key).ok()?))
    };
    let broken = || io::Error::other(format!("{} is no list of keys", path.display()));
    text.lines().map(|text| line(text).ok_or_else(broken)).collect()
}
