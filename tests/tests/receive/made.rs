//! Logs made by hand: keys and times are fixed, so that the same calls make the same bytes.

use seal::{
    Agent, BatchKind, Clock, Facts, HostKey, Lines, Sealer, Seed, State, Vkey,
    enrol::{Enrolment, genesis_line},
    note::Note,
    proof::Checkpoint,
};

/// A log that grows by a batch a call.
#[derive(Debug)]
pub struct Made {
    host: HostKey,
    sealer: Sealer,
    note: String,
}

impl Made {
    /// Keys of their own for each salt.
    pub fn new(origin: &str, salt: u8) -> Self {
        let (host, seed) = (HostKey::new(origin, &[salt; 32]).unwrap(), Seed::new([salt + 100; 32]));
        let note = Enrolment::new(&host, &seed, Vec::new(), 0).unwrap().sign(&host).unwrap();
        let sealer = Sealer::open(host.clone(), State::genesis(host.vkey(), seed).unwrap()).unwrap();
        Self { host, sealer, note }
    }

    pub fn vkey(&self) -> &Vkey {
        self.host.vkey()
    }

    /// The enrolment note with the signature of a fleet key.
    pub fn note_by(&self, fleet: &HostKey) -> String {
        let mut note = Note::parse(&self.note).unwrap();
        note.signatures.push(fleet.sign(&note.text));
        note.to_string()
    }

    /// The next batch, with this as its only event.
    pub fn batch(&mut self, event: &str) -> Vec<u8> {
        let number = self.sealer.state().batch();
        let kind = match number {
            0 => BatchKind::Genesis,
            1 => BatchKind::Start,
            _ => BatchKind::Events,
        };
        let line = if number == 0 { genesis_line(&self.note) } else { format!(r#"{{"event":"{event}"}}"#).into() };
        self.seal(&line, kind, None)
    }

    /// The next batch, behind which another host key signs.
    pub fn rotate(&mut self, salt: u8) -> Vec<u8> {
        let new = HostKey::new(self.vkey().name(), &[salt; 32]).unwrap();
        let batch = self.seal(b"{}", BatchKind::Rotate, Some(new.clone()));
        self.host = new;
        batch
    }

    fn seal(&mut self, line: &[u8], kind: BatchKind, new: Option<HostKey>) -> Vec<u8> {
        let number = self.sealer.state().batch();
        let mut lines = Lines::new();
        lines.push(line).unwrap();
        let facts = Facts {
            kind,
            boot: "boot".into(),
            host: "made".into(),
            mono: (number, number + 1),
            wall: (number, number + 1),
            clock: Clock { sync: false, maxerr_us: 0, step_ns: 0 },
            agent: Agent { version: "0".into(), exe: [0; 32], bpf: [0; 32] },
            policy: [0; 32],
            load: None,
            cpus: Vec::new(),
            accounts: Vec::new(),
            lost: 0,
            gaps: Vec::new(),
            receipts: Vec::new(),
            extensions: Vec::new(),
        };
        let sealed = match new {
            Some(new) => self.sealer.rotate(&lines, &facts, new),
            None => self.sealer.seal(&lines, &facts),
        };
        let seal = sealed.unwrap().line.clone();
        assert!(self.sealer.advance());
        [line, b"\n", &seal].concat()
    }

    /// The head, signed as a checkpoint for witnesses.
    pub fn checkpoint(&self) -> Note {
        let log = self.sealer.state().log();
        let text = Checkpoint { origin: self.vkey().name().to_owned(), size: log.size(), root: log.root() }.text();
        Note { signatures: vec![self.host.sign(&text)], text }
    }

    /// The subtrees of the head, as hashes.
    pub fn subtrees(&self) -> &[[u8; 32]] {
        self.sealer.state().log().hashes()
    }
}
