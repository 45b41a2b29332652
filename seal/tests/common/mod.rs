//! A small log with fixed keys and times, made by the sealer as the agent does.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::path::{Path, PathBuf};

use seal::enrol::{Enrolment, genesis_line};
use seal::{
    Account, Agent, BatchKind, Clock, Cpu, Facts, Gap, GapReason, HostKey, Lines, Report, Sealer, Seed, Severity,
    State, Trust, Verdict, Verifier, Vkey,
};

pub const ORIGIN: &str = "audit.example.org/sigtrail/6f1c5a50-7d1e-4c0e-9d6b-2f5a3c1b9e77/1";
pub const BOOT: &str = "0b6a4cf0-61f5-4b0e-8f2d-2a1f0e0c9d11";
const START: u64 = 1_780_000_000_000_000_000;

pub fn facts(kind: BatchKind, n: u64) -> Facts {
    let second = 1_000_000_000;
    Facts {
        kind,
        boot: BOOT.into(),
        host: "web-1".into(),
        mono: (n * 5 * second, (n + 1) * 5 * second),
        wall: (START + n * 5 * second, START + (n + 1) * 5 * second + 42),
        clock: Clock { sync: true, maxerr_us: 1500, step_ns: if n == 3 { -2 * 1_000_000_000 } else { 0 } },
        agent: Agent { version: "0.1.0".into(), exe: [0xe1; 32], bpf: [0xb2; 32] },
        policy: [if n < 3 { 0x11 } else { 0x22 }; 32],
        load: None,
        cpus: Vec::new(),
        accounts: Vec::new(),
        lost: 0,
        gaps: Vec::new(),
        receipts: Vec::new(),
        extensions: Vec::new(),
    }
}

/// One log, as batches: the bytes of each, lines and seal line.
pub struct Log {
    pub key: Vkey,
    pub batches: Vec<Vec<u8>>,
}

pub struct Maker {
    pub sealer: Sealer,
    pub batches: Vec<Vec<u8>>,
}

impl Maker {
    pub fn new(origin: &str, salt: u8) -> Self {
        let host = HostKey::new(origin, &[salt; 32]).unwrap();
        let seed = Seed::new([salt + 1; 32]);
        let note = Enrolment::new(&host, &seed, vec![("host-uuid".into(), "4711".into())], START).unwrap();
        let note = note.sign(&host).unwrap();
        let mut maker = Self {
            sealer: Sealer::open(host.clone(), State::genesis(host.vkey(), seed).unwrap()).unwrap(),
            batches: Vec::new(),
        };
        maker.add(&[&genesis_line(&note)], &facts(BatchKind::Genesis, 0));
        maker
    }

    pub fn add(&mut self, events: &[&[u8]], facts: &Facts) {
        self.add_with(events, |sealer, lines| sealer.seal(lines, facts).unwrap().line.clone());
    }

    pub fn add_with(&mut self, events: &[&[u8]], seal: impl FnOnce(&mut Sealer, &Lines) -> Vec<u8>) {
        let (mut lines, mut bytes) = (Lines::new(), Vec::new());
        for event in events {
            lines.push(event).unwrap();
            bytes.extend_from_slice(event);
            bytes.push(b'\n');
        }
        bytes.extend(seal(&mut self.sealer, &lines));
        assert!(self.sealer.advance());
        self.batches.push(bytes);
    }

    pub fn finish(self) -> Log {
        Log { key: self.sealer.vkey().clone(), batches: self.batches }
    }
}

/// Genesis, start, events, events, heartbeat, stop.
pub fn log(origin: &str, salt: u8) -> Log {
    let mut maker = Maker::new(origin, salt);
    maker.add(&[br#"{"seq":"1","type":"agent.start"}"#], &facts(BatchKind::Start, 1));
    let account = |seen, lost| Account {
        hook: "lsm/bprm_check_security".into(),
        seen,
        kfilter: 1,
        lost,
        recv: seen - lost - 1,
        ufilter: seen - lost - 1 - 2,
        emit: 2,
        trunc: 1,
        merge: 0,
    };
    let mut one = facts(BatchKind::Events, 2);
    one.cpus = vec![Cpu { id: 0, first: 1, last: 4, lost: 0 }, Cpu { id: 3, first: 1, last: 1, lost: 0 }];
    one.accounts = vec![account(6, 0)];
    maker
        .add(&[br#"{"args":["curl","-fsSL"],"seq":"2"}"#, "{\"path\":\"/tmp/\u{e9}\",\"seq\":\"3\"}".as_bytes()], &one);
    let mut two = facts(BatchKind::Events, 3);
    two.cpus = vec![Cpu { id: 0, first: 5, last: 9, lost: 2 }];
    two.accounts = vec![account(6, 2)];
    two.lost = 2;
    two.gaps = vec![Gap { sink: "s3".into(), from: 1, to: 2, reason: GapReason::Lag }];
    two.receipts = vec!["— witness.example/w1 AAAAAAA=".into()];
    two.extensions = vec![("x-note".into(), "with \"quotes\" and \\ in it".into())];
    maker.add(&[br#"{"seq":"4"}"#, br#"{"seq":"5"}"#], &two);
    maker.add(&[], &facts(BatchKind::Heartbeat, 4));
    maker.add(&[br#"{"seq":"6","type":"agent.stop"}"#], &facts(BatchKind::Stop, 5));
    maker.finish()
}

/// A file of `tests/vectors/`.
pub fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

/// `SEAL_BLESS=1` writes the vectors anew: a change of them is a change of the format.
pub fn golden(name: &str, made: &[u8]) {
    let path = vector(name);
    if std::env::var_os("SEAL_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let stored = fs::read(&path).unwrap();
    assert!(stored == made, "{} is not what the sealer makes", path.display());
}

impl Log {
    pub fn bytes(&self) -> Vec<u8> {
        self.batches.concat()
    }

    pub fn trust(&self) -> Trust {
        Trust { pins: vec![self.key.clone()], ..Trust::default() }
    }
}

pub fn verify(trust: Trust, bytes: &[u8]) -> Report {
    let mut verifier = Verifier::new(trust);
    verifier.read(bytes).unwrap();
    verifier.finish()
}

pub const TAMPERED: Verdict = Verdict::Found(Severity::Tampered);
pub const INCOMPLETE: Verdict = Verdict::Found(Severity::Incomplete);

/// Verifies, and demands the verdict and that each text is in a finding.
pub fn check(trust: &Trust, bytes: &[u8], verdict: Verdict, what: &[&str]) -> Report {
    let report = verify(trust.clone(), bytes);
    let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(report.verdict(), verdict, "{found:#?}");
    for text in what {
        let named = text.is_empty() || found.iter().any(|found| found.contains(text));
        assert!(named, "{text:?} is not in {found:#?}");
    }
    report
}
