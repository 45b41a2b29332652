//! Verifying a log from its lines: streaming, in constant memory, and to the end even if something is wrong.
//!
//! What is trusted is a pinned host key; without one, the key that batch 0 names, and the report says so. From there
//! each batch is bound to the one before: by the tree (`prev`, proof, signed root), by the chain key that the header
//! before named, and by the counters that must go on. After a batch that is wrong or missing the chain is taken up
//! again at the next one that stands by itself; for that one only the host key vouches, since the header that named
//! its chain key is not there. So a hole is more than missing batches: who stole the host key could have put there
//! what follows it. A head known from elsewhere, or a receipt, settles that.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead};
use std::mem;

use crate::MAX_LINE;
use crate::batch::{Batch, BatchError, Lines};
use crate::enrol::{self, Enrolment};
use crate::header::{BatchKind, Header};
use crate::jcs::{self, JcsError};
use crate::line::{MAX_SEAL_LINE, SealLine, unredacted};
use crate::note::Vkey;
use crate::tree::{Hash, Range, sha256};

mod continuity;
mod receipts;
mod report;
mod stand;
mod trust;

use receipts::Witnessed;
pub use report::{Capped, Finding, Report, Severity, Told, Verdict, What};
pub use stand::Stand;
pub use trust::Trust;

/// How many batches back a repeated one is recognised (32 bytes each).
pub const REMEMBERED: usize = 65_536;

/// The last batch that was good, as far as the next one has to agree with it.
#[derive(Clone, Debug)]
struct Before {
    header: Header,
    cpus: BTreeMap<u32, u64>,
}

/// The batch that is being read.
#[derive(Clone, Debug, Default)]
struct Open {
    lines: Lines,
    redacted: u64,
    /// The first line that cannot be an event line, and why.
    bad: Option<(u64, JcsError)>,
    /// The first line, if it may be an enrolment note.
    enrolment: Option<Vec<u8>>,
}

/// Reads lines, checks everything, keeps what is wrong. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Verifier {
    trust: Trust,
    report: Report,
    open: Open,
    /// The position: which input, which line of it.
    input: usize,
    line: u64,
    /// The number of the next batch, once one was read.
    expected: Option<u64>,
    /// The batch before `expected`, if it was read and good.
    before: Option<Before>,
    /// The log up to the last good batch, though it may be further back.
    log: Range,
    /// The host key in force.
    host: Option<Vkey>,
    /// The good batches of late, by ascending number.
    seen: VecDeque<Seen>,
    /// What witnesses say.
    witnessed: Witnessed,
    no_key_told: bool,
    /// Whether the batches are still those before [`Trust::since`].
    older: bool,
    /// The batches of late whose lines are not there, one after the other: first and last.
    absent: Option<(u64, u64)>,
}

/// A good batch, as far as it is remembered.
#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    /// What makes a copy of it the same.
    identity: Hash,
    /// The root of the log that ends with it, if it was read.
    root: Option<Hash>,
}

impl Verifier {
    /// Nothing read yet.
    pub fn new(mut trust: Trust) -> Self {
        let witnessed = Witnessed::new(trust.policy.as_ref());
        trust.pins = trust.keys();
        let report = Report { pinned: !trust.pins.is_empty(), ..Report::default() };
        Self {
            older: trust.since.is_some(),
            absent: None,
            trust,
            report,
            open: Open::default(),
            input: 0,
            line: 0,
            expected: None,
            before: None,
            log: Range::new(),
            host: None,
            seen: VecDeque::new(),
            witnessed,
            no_key_told: false,
        }
    }

    /// What is found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many inputs are ended: the number of the next one in the findings.
    pub fn inputs(&self) -> usize {
        self.input
    }

    /// Reads one input to its end: whole batches. A line is never held longer than the format allows.
    ///
    /// An error is one of the reader (or of its decompression); what was read before it stays verified.
    pub fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        const LIMIT: usize = if MAX_SEAL_LINE > MAX_LINE { MAX_SEAL_LINE } else { MAX_LINE };
        let mut line = Vec::new();
        let mut length = 0_usize;
        loop {
            let bytes = match input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.end(length > 0);
                    return Err(error);
                }
            };
            if bytes.is_empty() {
                self.end(length > 0);
                return Ok(());
            }
            let (part, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (&bytes[..at], true),
                None => (bytes, false),
            };
            let room = (LIMIT + 1).saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(ended);
            length = length.saturating_add(used);
            input.consume(used);
            if ended {
                // cut at the limit, a line that is too long is still too long
                self.push(&line);
                line.clear();
                length = 0;
            }
        }
    }

    /// Reads one line, given without its LF.
    pub fn push(&mut self, line: &[u8]) {
        self.line += 1;
        if SealLine::is_one(line) {
            self.seal(line);
        } else {
            self.event(line);
        }
    }

    /// Ends one input; `inside` says that it ended in the middle of a line. A batch never goes over the end.
    pub fn end(&mut self, inside: bool) {
        let unsealed = mem::take(&mut self.open).lines.len() + u64::from(inside);
        if unsealed > 0 {
            self.report.unsealed += unsealed;
            self.find(self.expected, What::Unsealed { lines: unsealed, inside });
        }
        self.input += 1;
        self.line = 0;
    }

    /// Ends the log.
    pub fn finish(mut self) -> Report {
        if self.report.batches == 0 && self.report.findings.is_empty() {
            match self.expected.filter(|_| self.older) {
                Some(next) => self.find(None, What::Silent { last: next.saturating_sub(1) }),
                None => self.find(None, What::Empty),
            }
        }
        self.present();
        for head in mem::take(&mut self.trust.heads) {
            self.find(Some(self.expected.unwrap_or(0)), What::Unshown { head: head.size });
        }
        if let Some(policy) = self.trust.policy.take() {
            self.report.witnessed = self.witnessed.size(&policy);
            if self.report.batches > 0 && self.report.witnessed.is_none() && !policy.is_met(|_| false) {
                self.find(None, What::Quorum);
            }
        }
        self.report
    }

    fn find(&mut self, batch: Option<u64>, what: What) {
        if self.older && what.is_of_its_batch() {
            return;
        }
        self.report.found(Finding { batch, input: self.input, line: self.line, what });
    }

    fn event(&mut self, line: &[u8]) {
        let open = &mut self.open;
        if let Some(leaf) = unredacted(line) {
            open.redacted += 1;
            open.lines.add_leaf(leaf);
            return;
        }
        if let Err(error) = jcs::check(line) {
            open.bad.get_or_insert((self.line, error));
        }
        if open.lines.is_empty() && enrol::may_be_genesis(line) {
            open.enrolment = Some(line.to_vec());
        }
        open.lines.add(line);
    }

    /// A seal line: closes the batch that is open.
    fn seal(&mut self, line: &[u8]) {
        let open = mem::take(&mut self.open);
        let batch = match Batch::parse(line) {
            Ok(batch) => batch,
            Err(error) => return self.broken(error),
        };
        let number = batch.header.batch;
        if self.report.origin.get_or_insert_with(|| batch.header.origin.clone()) != &batch.header.origin {
            let origin = batch.header.origin.clone();
            return self.find(Some(number), What::Origin(origin));
        }
        self.older &= self.trust.since.is_some_and(|since| batch.header.facts.wall.1 < since);
        let told = self.report.tampered;
        self.payload(&batch, &open);
        if self.expected.is_some_and(|expected| number < expected) {
            return self.repeat(&batch);
        }

        let expected = self.expected.unwrap_or(self.trust.from.unwrap_or(0));
        let before = if number == expected { self.before.take() } else { None };
        if before.is_none() && !self.log.may_continue_as(&batch.before) {
            self.find(Some(number), What::Fork);
        }
        if number != expected {
            let what = if self.expected.is_none() { What::Begins } else { What::Missing { from: expected } };
            if number > expected && !self.older {
                self.report.missing.push((expected, number - 1));
            }
            self.find(Some(number), what);
        }
        let enrolment = self.enrolment(&batch, &open);
        let host = self.signatures(&batch, before.as_ref(), enrolment.as_ref(), number != expected);
        let cpus = match &before {
            Some(before) => {
                if self.log != batch.before {
                    self.find(Some(number), What::Follows("prev"));
                }
                for what in continuity::check(&before.header, &batch.header, &before.cpus) {
                    self.find(Some(number), what);
                }
                before.cpus.clone()
            }
            None => BTreeMap::new(),
        };
        for what in continuity::arithmetic(&batch.header.facts) {
            self.find(Some(number), what);
        }
        self.known_heads(&batch);

        let good = self.report.tampered == told;
        // a number that nothing vouches for must not make all that follows look old
        if good || number == expected {
            self.expected = number.checked_add(1);
        }
        if good {
            self.host = host;
            self.take(batch, &open, before.as_ref(), cpus);
        }
    }

    /// The heads known from elsewhere that have the size of the log before or after this batch.
    fn known_heads(&mut self, batch: &Batch) {
        let (header, after) = (&batch.header, &batch.proof.checkpoint);
        let roots = [(header.batch, header.prev), (after.size, after.root)];
        let heads = mem::take(&mut self.trust.heads).into_iter();
        let (heads, others): (Vec<_>, _) =
            heads.partition(|head| head.origin == header.origin && roots.iter().any(|(size, _)| *size == head.size));
        self.trust.heads = others;
        let (shown, others): (Vec<_>, Vec<_>) =
            heads.into_iter().partition(|head| roots.contains(&(head.size, head.root)));
        self.report.heads.extend(shown);
        if !others.is_empty() {
            self.find(Some(header.batch), What::Head);
        }
    }

    /// A seal line that does not agree with itself. Where it stands says which batch it was.
    fn broken(&mut self, error: BatchError) {
        let number = self.expected.or(self.trust.from).unwrap_or(0);
        self.find(Some(number), What::Seal(error));
        self.before = None;
        self.expected = number.checked_add(1);
    }

    /// The lines of the batch against its header.
    fn payload(&mut self, batch: &Batch, open: &Open) {
        let number = Some(batch.header.batch);
        if let Some((line, error)) = open.bad {
            self.report.found(Finding { batch: number, input: self.input, line, what: What::Event(error) });
        }
        if open.lines.is_empty() && batch.header.events > 0 {
            return self.absent(batch.header.batch, batch.header.events);
        }
        if !open.lines.is_empty() {
            self.present();
        }
        match batch.is_over(&open.lines) {
            // the bytes of redacted lines are gone, their leaves still hold the root
            Err("bytes") if open.redacted > 0 => {}
            Err(what) => self.find(number, What::Lines(what)),
            Ok(()) => {}
        }
        if open.redacted > 0 {
            self.report.redacted += if self.older { 0 } else { open.redacted };
            self.find(number, What::Redacted { lines: open.redacted });
        }
    }

    /// A batch without its lines: told once for all that follow each other.
    fn absent(&mut self, number: u64, events: u64) {
        // the seals that are kept beside encrypted lines say again what stands under the lines
        if self.older || self.expected.is_some_and(|expected| number < expected) {
            return;
        }
        self.report.absent += 1;
        match &mut self.absent {
            Some((_, last)) if self.expected == Some(number) => *last = number,
            _ => {
                self.present();
                self.absent = Some((number, number));
                self.find(Some(number), What::Absent { events });
            }
        }
    }

    /// Ends a range of batches without their lines.
    fn present(&mut self) {
        if let Some(range) = self.absent.take() {
            self.report.absent_ranges.push(range);
        }
    }

    /// A batch with a number that was there already: the same again (delivery is at least once), or a fork.
    fn repeat(&mut self, batch: &Batch) {
        let number = batch.header.batch;
        match self.seen(number) {
            Some(seen) if seen.identity == identify(batch) => self.report.duplicates += 1,
            Some(_) => self.find(Some(number), What::Fork),
            None => self.find(Some(number), What::Late),
        }
    }

    fn seen(&self, number: u64) -> Option<&Seen> {
        let at = self.seen.binary_search_by_key(&number, |seen| seen.number).ok()?;
        self.seen.get(at)
    }

    /// The enrolment in batch 0, if it is one and signed by the key it names.
    fn enrolment(&mut self, batch: &Batch, open: &Open) -> Option<Enrolment> {
        if batch.header.facts.kind != BatchKind::Genesis {
            return None;
        }
        let note = open.enrolment.as_deref().and_then(enrol::note_of);
        let enrolment = note.and_then(|note| Enrolment::verify(&note).ok());
        let enrolment = enrolment.filter(|one| one.hostkey.name() == batch.header.origin && batch.header.events == 1);
        if enrolment.is_none() && !open.lines.is_empty() {
            self.find(Some(0), What::Enrolment);
        }
        enrolment
    }

    /// The signatures of host key and chain key, and on rotation that of the new host key. Returns the host key in
    /// force after the batch, if the batch is good.
    fn signatures(
        &mut self,
        batch: &Batch,
        before: Option<&Before>,
        enrolment: Option<&Enrolment>,
        hole: bool,
    ) -> Option<Vkey> {
        let number = Some(batch.header.batch);
        let signatures = &batch.proof.signatures;
        let [by_host, by_chain, others @ ..] = signatures.as_slice() else { return None };
        let text = batch.proof.checkpoint.text();

        let pinned = || self.trust.pins.iter().find(|pin| pin.name() == by_host.name && pin.id() == by_host.id);
        let host = match &self.host {
            // behind a hole the key may be another one that is pinned
            Some(host) if hole => pinned().or(Some(host)).cloned(),
            Some(host) => Some(host.clone()),
            None if !self.trust.pins.is_empty() => pinned().cloned(),
            None => enrolment.map(|enrolment| enrolment.hostkey.clone()),
        };
        match &host {
            Some(host) if host.verifies(&text, by_host) => {
                if let Some(after) = self.trust.revoked(host, batch.header.batch) {
                    self.find(number, What::Revoked { after });
                }
            }
            None if self.trust.pins.is_empty() => {
                if !mem::replace(&mut self.no_key_told, true) {
                    self.find(number, What::NoKey);
                }
            }
            _ => self.find(number, What::HostSignature(by_host.id)),
        }
        if let (Some(host), Some(enrolment)) = (&host, enrolment)
            && *host != enrolment.hostkey
        {
            self.find(number, What::Enrolment);
        }

        let chain = before.map(|before| &before.header.next).or(enrolment.map(|enrolment| &enrolment.chainkey));
        if chain.is_some_and(|chain| !chain.verifies(&text, by_chain)) {
            self.find(number, What::ChainSignature(by_chain.id));
        }
        if let Some(new) = &batch.header.hostkey {
            if !others.first().is_some_and(|by_new| new.verifies(&text, by_new)) {
                self.find(number, What::NewHostSignature);
            }
            return host.map(|_| new.clone());
        }
        host
    }

    /// A good batch enters the report, and is what the next one must follow.
    fn take(&mut self, batch: Batch, open: &Open, before: Option<&Before>, mut cpus: BTreeMap<u32, u64>) {
        self.receipts(&batch);
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        let (identity, root) = (identify(&batch), Some(batch.proof.checkpoint.root));
        let Batch { header, proof, leaf, before: mut log } = batch;
        self.seen.push_back(Seen { number: header.batch, identity, root });
        log.push(leaf);
        self.log = log;
        if self.older {
            self.report.older += 1;
            self.report.last = Some(proof.checkpoint);
            self.report.last_kind = Some(header.facts.kind);
        } else {
            self.report.take(&header, &proof.checkpoint, open.lines.len(), before.map(|before| &before.header));
        }
        // after a crash a CPU may be silent for a while, and then begin anew
        let anew = header.facts.load.is_none() && header.facts.kind == BatchKind::Recovered;
        if anew || !before.is_some_and(|before| continuity::go_on(&before.header.facts, &header.facts)) {
            cpus.clear();
        }
        cpus.extend(header.facts.cpus.iter().map(|cpu| (cpu.id, cpu.last)));
        // no machine has as many; a host that lies must not fill the verifier's memory
        if cpus.len() > usize::from(u16::MAX) {
            cpus.clear();
        }
        self.before = Some(Before { header, cpus });
    }
}

/// What makes two copies of a batch the same: the header, the checkpoint and the signatures that must be there.
/// Cosignatures of witnesses may come later.
pub fn identify(batch: &Batch) -> Hash {
    let must = 2 + usize::from(batch.header.hostkey.is_some());
    let mut text = batch.proof.checkpoint.text();
    for signature in batch.proof.signatures.iter().take(must) {
        text.push_str(&signature.to_string());
    }
    sha256(&[&batch.leaf, text.as_bytes()].concat())
}
