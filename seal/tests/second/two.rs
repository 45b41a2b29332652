//! The two verifiers, asked the same.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use seal::proof::Checkpoint;
use seal::{Report, Severity, Trust, Verdict, Verifier};

/// A log, and what the auditor knows of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub trust: Trust,
    pub bytes: Vec<u8>,
}

impl Case {
    pub fn new(name: impl Into<String>, trust: &Trust, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), trust: trust.clone(), bytes }
    }
}

/// The verdict, and the batch and the words of the first finding that makes it.
pub type Answer = (Verdict, Option<u64>, String);

/// The answer of the crate.
pub fn ours(case: &Case) -> Answer {
    let mut verifier = Verifier::new(case.trust.clone());
    verifier.read(case.bytes.as_slice()).unwrap();
    answer(&verifier.finish())
}

pub fn answer(report: &Report) -> Answer {
    let verdict = report.verdict();
    let first = report.findings.iter().find(|one| Verdict::Found(one.what.severity()) == verdict);
    (verdict, first.and_then(|one| one.batch), first.map(|one| one.what.to_string()).unwrap_or_default())
}

/// The answers of `tools/verify.py`.
pub fn theirs(cases: &[Case]) -> Vec<Answer> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second/many.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 must be installed: it runs the second verifier");
    let (mut input, output) = (python.stdin.take().unwrap(), python.stdout.take().unwrap());
    let answers: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for Case { trust, bytes, .. } in cases {
                let texts = |it: &mut dyn Iterator<Item = String>| it.collect::<Vec<_>>();
                let head = serde_json::json!({
                    "keys": texts(&mut trust.pins.iter().map(ToString::to_string)),
                    "heads": texts(&mut trust.heads.iter().map(Checkpoint::to_string)),
                    "from": trust.from.unwrap_or(0),
                    "length": bytes.len(),
                });
                input.write_all(format!("{head}\n").as_bytes()).unwrap();
                input.write_all(bytes).unwrap();
            }
        });
        let lines = BufReader::new(output).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        lines.map(|(word, batch, what): (String, Option<u64>, String)| (verdict(&word), batch, what)).collect()
    });
    assert!(python.wait().unwrap().success());
    assert_eq!(answers.len(), cases.len());
    answers
}

/// The verdict as `--json` spells it.
fn verdict(word: &str) -> Verdict {
    match word {
        "verified" => Verdict::Verified,
        "tampered" => Verdict::Found(Severity::Tampered),
        "incomplete" => Verdict::Found(Severity::Incomplete),
        other => panic!("{other} is no verdict"),
    }
}

/// Asks both, and demands the same verdict for the same batch. Returns the answers of the crate.
pub fn both(cases: &[Case]) -> Vec<Answer> {
    let answers: Vec<_> = cases.iter().map(ours).collect();
    let mut differ = Vec::new();
    for ((case, ours), theirs) in cases.iter().zip(&answers).zip(theirs(cases)) {
        if (ours.0, ours.1) != (theirs.0, theirs.1) {
            differ.push(format!("{}\n  crate:  {ours:?}\n  script: {theirs:?}", case.name));
        }
    }
    assert!(
        differ.is_empty(),
        "{} of {} differ:\n{}",
        differ.len(),
        cases.len(),
        differ[..differ.len().min(9)].join("\n")
    );
    answers
}
