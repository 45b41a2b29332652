//! Checking proofs that stand without their log.

use std::io::Read as _;

use serde_json::{Value, json};

use super::input::Input;
use super::print::{colour, painted, shown, word};
use super::stamp::Stamp;
use crate::consistency_proof::{self, ConsistencyProof};
use crate::event_proof::EventProof;
use crate::line::MAX_SEAL_LINE;
use crate::note::Vkey;
use crate::proof::Checkpoint;
use crate::text::time;
use crate::verify::{Severity, Trust, Verdict, What};

/// More than the longest proof of an event: the event, a header and a proof.
const LONGEST: u64 = 2 * MAX_SEAL_LINE as u64;

/// A proof that was read, and what is wrong with it.
pub(super) struct Checked {
    name: String,
    shown: Option<Shown>,
    wrong: Vec<(Severity, String)>,
}

enum Shown {
    Event(Box<EventProof>),
    Consistency(ConsistencyProof),
}

/// Reads and checks one proof.
pub(super) fn check(input: &Input, trust: &Trust, stamps: &[Stamp]) -> Checked {
    let mut checked = Checked { name: input.name(), shown: None, wrong: Vec::new() };
    let false_ones = stamps.iter().filter(|stamp| stamp.time.is_none());
    checked.wrong.extend(false_ones.map(|stamp| {
        let what = What::Stamp(stamp.name.clone());
        (what.severity(), what.to_string())
    }));
    let mut text = String::new();
    let read = input.open().and_then(|reader| reader.take(LONGEST).read_to_string(&mut text));
    if let Err(error) = read {
        checked.wrong.push((Severity::Incomplete, format!("cannot be read: {error}")));
        return checked;
    }
    let read = if text.starts_with(consistency_proof::VERSION) {
        ConsistencyProof::parse(&text).map(Shown::Consistency).map_err(|error| error.to_string())
    } else {
        EventProof::parse(&text).map(|it| Shown::Event(Box::new(it))).map_err(|error| error.to_string())
    };
    match read {
        Ok(shown) => {
            checked.signed(&shown, trust);
            checked.agrees(&shown.heads(), &trust.heads);
            if trust.policy.as_ref().is_some_and(|policy| !policy.is_met(|_| false)) {
                let why = "receipts stand in the log: a proof alone does not show that witnesses cosigned (--policy)";
                checked.wrong.push((Severity::Incomplete, why.to_owned()));
            }
            checked.shown = Some(shown);
        }
        Err(error) => checked.wrong.push((Severity::Tampered, error)),
    }
    checked
}

impl Shown {
    fn heads(&self) -> Vec<&Checkpoint> {
        match self {
            Self::Event(proof) => vec![&proof.batch().proof.checkpoint],
            Self::Consistency(proof) => {
                let (old, new) = proof.heads();
                vec![old, new]
            }
        }
    }
}

impl Checked {
    fn signed(&mut self, shown: &Shown, trust: &Trust) {
        let pins = trust.keys();
        if pins.is_empty() {
            let why = "no host key is given: the signatures were not checked (use --key)".to_owned();
            return self.wrong.push((Severity::Incomplete, why));
        }
        let signed = match shown {
            Shown::Event(proof) => {
                let counts = |pin: &&Vkey| trust.revoked(pin, proof.batch().header.batch).is_none();
                let mut by = pins
                    .iter()
                    .filter(counts)
                    .map(|pin| proof.verify(pin).map(|_| ()).map_err(|error| error.to_string()));
                by.find(Result::is_ok).unwrap_or_else(|| Err("the checkpoint is not signed by the host key".to_owned()))
            }
            Shown::Consistency(proof) => {
                proof.verify(&pins, &trust.revoked).map(|_| ()).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = signed {
            self.wrong.push((Severity::Tampered, error));
        }
    }

    fn agrees(&mut self, heads: &[&Checkpoint], known: &[Checkpoint]) {
        for known in known.iter().filter(|known| heads.iter().any(|head| head.origin == known.origin)) {
            match heads.iter().find(|head| head.size == known.size) {
                Some(head) if head.root == known.root => {}
                Some(_) => self.wrong.push((Severity::Tampered, "the root is not that of the known head".to_owned())),
                None => {
                    let size = known.size;
                    let why = format!(
                        "the known head has {size} batches, this proof is about another size: \
                         `sigtrail prove consistency` leads from one to the other"
                    );
                    self.wrong.push((Severity::Incomplete, why));
                }
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.wrong.iter().map(|(severity, _)| Verdict::Found(*severity)).max().unwrap_or(Verdict::Verified)
    }

    pub(super) fn json(&self) -> String {
        let findings = self.wrong.iter().map(
            |(severity, what)| json!({ "severity": word(Verdict::Found(*severity)), "input": self.name, "what": what }),
        );
        let findings: Vec<_> = findings.collect();
        let mut value =
            json!({ "verdict": word(self.verdict()), "findings": { "count": findings.len(), "list": findings } });
        match &self.shown {
            Some(Shown::Event(proof)) => {
                let header = &proof.batch().header;
                value["proof"] = "event".into();
                value["event"] = serde_json::from_str(proof.event()).unwrap_or(Value::Null);
                value["batch"] = header.batch.into();
                value["index"] = proof.index().into();
                value["host"] = header.facts.host.clone().into();
                value["from"] = time(header.facts.wall.0).into();
                value["to"] = time(header.facts.wall.1).into();
                value["head"] = proof.batch().proof.checkpoint.to_string().into();
            }
            Some(Shown::Consistency(proof)) => {
                let (old, new) = proof.heads();
                value["proof"] = "consistency".into();
                value["old"] = old.to_string().into();
                value["head"] = new.to_string().into();
            }
            None => value["proof"] = Value::Null,
        }
        format!("{value:#}\n")
    }

    pub(super) fn human(&self) -> String {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: &str| rows.push(format!("{name:<14} {}\n", shown(value)));
        let said = match &self.shown {
            Some(Shown::Event(proof)) => {
                let (header, facts) = (&proof.batch().header, &proof.batch().header.facts);
                row("log", &header.origin);
                row("host", &facts.host);
                row("event", proof.event());
                row("batch", &format!("{}, line {} of {}", header.batch, proof.index() + 1, header.events));
                row("sealed", &format!("between {} and {}", time(facts.wall.0), time(facts.wall.1)));
                row("head", &proof.batch().proof.checkpoint.to_string());
                "the event is in the log as it was sealed"
            }
            Some(Shown::Consistency(proof)) => {
                let (old, new) = proof.heads();
                row("log", &old.origin);
                row("old head", &old.to_string());
                row("new head", &new.to_string());
                "the new head continues the old one, nothing before it was changed"
            }
            None => "",
        };
        let verdict = painted(self.verdict(), colour());
        rows.push(match self.wrong.iter().max_by_key(|(severity, _)| *severity) {
            Some((_, what)) => format!("{verdict}: {}\n", shown(&format!("{}: {what}", self.name))),
            None => format!("{verdict}: {said}\n"),
        });
        rows.concat()
    }
}
