//! Verifies a bundle: its members against the manifest, the manifest against a sealed record, the record against its
//! batch.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::batch::Batch;
use crate::bundle::{BATCH, BLOCK, FORMAT, Head, MANIFEST, MANIFEST_MAX, MEMBERS_MAX, VKEY};
use crate::line::SealLine;
use crate::note::Vkey;
use crate::text::{decimal, hex, unhex};
use crate::tree::Hash;
use crate::verify::{Severity, Trust, Verdict, Verifier};

/// The longest sealed batch that is read.
const BATCH_MAX: u64 = 64 << 20;
/// The longest file with a key.
const VKEY_MAX: u64 = 4096;
/// Findings that are told one by one.
const TOLD: usize = 100;
/// The kind of the record that has the hash of the manifest.
const KIND: &str = "agent.capture";

/// What was found in a bundle.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The log whose seal it has, and the number of the batch.
    pub sealed: Option<(String, u64)>,
    /// When the capture began, as the manifest says.
    pub time: Option<String>,
    /// The members that the manifest names.
    pub members: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What the manifest says was left out.
    pub left_out: usize,
    /// SHA-256 of the manifest.
    pub manifest: Option<Hash>,
    /// Whether the signatures were checked with a key that was given, and not with the bundle's own.
    pub key_given: bool,
    /// What is wrong, the first of it.
    pub findings: Vec<(Severity, String)>,
    /// The worst of all.
    worst: Option<Severity>,
}

impl Checked {
    /// The last word.
    pub fn verdict(&self) -> Verdict {
        self.worst.map_or(Verdict::Verified, Verdict::Found)
    }

    fn find(&mut self, severity: Severity, what: impl Into<String>) {
        self.worst = self.worst.max(Some(severity));
        if self.findings.len() < TOLD {
            self.findings.push((severity, what.into()));
        }
    }

    fn tampered(&mut self, what: impl Into<String>) {
        self.find(Severity::Tampered, what);
    }

    fn missing(&mut self, what: impl Into<String>) {
        self.find(Severity::Incomplete, what);
    }

    fn word(&self) -> &'static str {
        match self.verdict() {
            Verdict::Verified => "verified",
            Verdict::Found(Severity::Incomplete) => "incomplete",
            Verdict::Found(Severity::Tampered) => "tampered",
        }
    }

    /// For a machine.
    pub(super) fn json(&self, name: &str) -> String {
        let of = |want| self.findings.iter().filter(move |(it, _)| *it == want).map(|(_, text)| text);
        let told = json!({
            "bundle": name, "verdict": self.word(), "members": self.members, "bytes": self.bytes, "time": self.time,
            "left_out": self.left_out, "manifest": self.manifest.map(|hash| hex(&hash)),
            "origin": self.sealed.as_ref().map(|(origin, _)| origin),
            "batch": self.sealed.as_ref().map(|(_, batch)| batch), "key_given": self.key_given,
            "tampered": of(Severity::Tampered).collect::<Vec<_>>(),
            "incomplete": of(Severity::Incomplete).collect::<Vec<_>>(),
        });
        format!("{told}\n")
    }

    /// For a person.
    pub(super) fn human(&self, name: &str) -> String {
        let mut text = format!("bundle         {name}\n");
        let mut row = |name: &str, value: &dyn std::fmt::Display| {
            if let Err(error) = writeln!(text, "{name:<15}{value}") {
                unreachable!("a text takes what is written: {error}");
            }
        };
        if let Some(time) = &self.time {
            row("time", time);
        }
        row("members", &format!("{} of {} bytes", self.members, self.bytes));
        row("left out", &self.left_out);
        if let Some(hash) = self.manifest {
            row("manifest", &format!("sha256:{}", hex(&hash)));
        }
        if let Some((origin, batch)) = &self.sealed {
            row("sealed in", &format!("batch {batch} of {origin}"));
        }
        if !self.key_given {
            row("key", &"that of the bundle itself: give one from a source you trust with --key");
        }
        for (severity, what) in &self.findings {
            let word = if *severity == Severity::Tampered { "tampered" } else { "incomplete" };
            row(word, what);
        }
        text.push_str(match self.verdict() {
            Verdict::Verified => "VERIFIED: every member is as it was captured\n",
            Verdict::Found(Severity::Incomplete) => "INCOMPLETE: something is missing, nothing is wrong\n",
            Verdict::Found(Severity::Tampered) => "TAMPERED: the bundle is not what was captured\n",
        });
        text
    }
}

/// Reads a bundle to its end.
pub fn check_bundle(mut input: impl Read, trust: Trust) -> Checked {
    let mut checked = Checked { key_given: !trust.pins.is_empty(), ..Checked::default() };
    let mut found = Parts::default();
    if let Err(error) = found.read(&mut input, &mut checked) {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            checked.missing("the archive ends before its end");
        } else {
            checked.tampered(format!("the archive cannot be read on: {error}"));
        }
    }
    match found.manifest.take() {
        Some(manifest) => {
            found.compare(&manifest, &mut checked);
            let hash: Hash = Sha256::digest(&manifest).into();
            checked.manifest = Some(hash);
            found.seal(&hash, trust, &mut checked);
        }
        None => checked.missing(format!("there is no {MANIFEST}: nothing can be said of the members")),
    }
    checked
}

/// What is in an archive.
#[derive(Default)]
struct Parts {
    members: BTreeMap<String, (Hash, u64)>,
    manifest: Option<Vec<u8>>,
    batch: Option<Vec<u8>>,
    vkey: Option<Vec<u8>>,
}

impl Parts {
    fn read(&mut self, input: &mut impl Read, checked: &mut Checked) -> io::Result<()> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        loop {
            let mut block = [0; BLOCK];
            input.read_exact(&mut block)?;
            if block == [0; BLOCK] {
                break;
            }
            let head = Head::parse(&block).ok_or_else(|| wrong("what should be the head of a member is none"))?;
            let is_late = self.manifest.is_some();
            match head.name.as_str() {
                MANIFEST if !is_late => self.manifest = Some(whole(input, &head, MANIFEST_MAX)?),
                BATCH if is_late && self.batch.is_none() => self.batch = Some(whole(input, &head, BATCH_MAX)?),
                VKEY if is_late && self.vkey.is_none() => self.vkey = Some(whole(input, &head, VKEY_MAX)?),
                _ => {
                    if is_late || [BATCH, VKEY].contains(&head.name.as_str()) {
                        checked.tampered(format!("{} is not in its place", head.name));
                    }
                    if self.members.len() == MEMBERS_MAX {
                        return Err(wrong("there are more members than a bundle has"));
                    }
                    let hash = digest(input, &head)?;
                    if self.members.insert(head.name.clone(), (hash, head.size)).is_some() {
                        checked.tampered(format!("{} is there twice", head.name));
                    }
                }
            }
            let mut zeros = [0; BLOCK];
            let zeros = &mut zeros[..head.padding()];
            input.read_exact(zeros)?;
            if zeros.iter().any(|byte| *byte != 0) {
                checked.tampered(format!("there is something behind {}", head.name));
            }
        }
        let mut rest = Vec::new();
        input.take(BLOCK as u64 + 1).read_to_end(&mut rest)?;
        if rest != [0; BLOCK] {
            let text = "the archive does not end with two blocks of zeros";
            if rest.len() < BLOCK { checked.missing(text) } else { checked.tampered(text) }
        }
        Ok(())
    }

    /// Compares the members with what the manifest says of them.
    fn compare(&mut self, manifest: &[u8], checked: &mut Checked) {
        let Some(Written { members, time, left_out }) = written(manifest) else {
            return checked.tampered(format!("{MANIFEST} is none of {FORMAT}"));
        };
        (checked.members, checked.time, checked.left_out) = (members.len(), time, left_out);
        for (name, (hash, size)) in members {
            checked.bytes = checked.bytes.saturating_add(size);
            match self.members.remove(&name) {
                Some(found) if found == (hash, size) => {}
                Some(_) => checked.tampered(format!("{name} is not what was captured")),
                None => checked.missing(format!("{name} is not there")),
            }
        }
        for name in std::mem::take(&mut self.members).into_keys() {
            checked.tampered(format!("{name} is not in the manifest"));
        }
    }

    /// Looks for the hash of the manifest in the sealed batch, and verifies that.
    fn seal(&self, manifest: &Hash, mut trust: Trust, checked: &mut Checked) {
        let Some(batch) = &self.batch else {
            return checked.missing(format!("there is no {BATCH}: the manifest is not sealed"));
        };
        let key = self.vkey.as_deref().and_then(|bytes| Vkey::parse(std::str::from_utf8(bytes).ok()?.trim_end()).ok());
        if self.vkey.is_none() {
            checked.missing(format!("there is no {VKEY}"));
        } else if key.is_none() {
            checked.tampered(format!("{VKEY} is no key"));
        }
        if trust.pins.is_empty() {
            trust.pins.extend(key);
        }
        let lines: Vec<_> = batch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let seals = lines.iter().filter(|line| SealLine::is_one(line)).count();
        let seal = lines.last().and_then(|line| Batch::parse(line).ok());
        let Some(seal) = seal.filter(|_| seals == 1) else {
            return checked.tampered(format!("{BATCH} is no sealed batch"));
        };
        checked.sealed = Some((seal.header.origin.clone(), seal.header.batch));
        trust.from = Some(seal.header.batch);
        let manifest = hex(manifest);
        if !lines.iter().any(|line| names(line, &manifest)) {
            checked.tampered("the sealed batch has no record of this manifest");
        }
        let mut verifier = Verifier::new(trust);
        if let Err(error) = verifier.read(batch.as_slice()) {
            checked.tampered(format!("{BATCH} cannot be read: {error}"));
        }
        let report = verifier.finish();
        for finding in &report.findings {
            checked.find(finding.what.severity(), format!("{BATCH}: {}", finding.what));
        }
    }
}

/// What a manifest says.
struct Written {
    members: BTreeMap<String, (Hash, u64)>,
    time: Option<String>,
    left_out: usize,
}

fn written(manifest: &[u8]) -> Option<Written> {
    let told: Value = serde_json::from_slice(manifest).ok()?;
    if told.get("format")?.as_str()? != FORMAT {
        return None;
    }
    let mut members = BTreeMap::new();
    for member in told.get("members")?.as_array()? {
        let text = |key: &str| member.get(key)?.as_str();
        let entry = (unhex(text("sha256")?)?, decimal(text("size")?)?);
        if members.insert(text("name")?.to_owned(), entry).is_some() {
            return None;
        }
    }
    let time = told.get("time").and_then(Value::as_str).map(str::to_owned);
    let left_out = told.get("left_out").and_then(Value::as_array).map_or(0, Vec::len);
    Some(Written { members, time, left_out })
}

/// Whether a line is the record of a capture with this manifest.
fn names(line: &[u8], manifest: &str) -> bool {
    let Ok(record) = serde_json::from_slice::<Value>(line) else { return false };
    let is = |key: &str, text: &str| record.get(key).and_then(Value::as_str) == Some(text);
    is("kind", KIND) && is("manifest", manifest) && is("result", "done")
}

fn whole(input: &mut impl Read, head: &Head, most: u64) -> io::Result<Vec<u8>> {
    if head.size > most {
        let text = format!("{} is longer than {most} bytes", head.name);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    input.take(head.size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == head.size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn digest(input: &mut impl Read, head: &Head) -> io::Result<Hash> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut left = head.size;
    while left > 0 {
        let part = &mut buffer[..left.min(64 << 10) as usize];
        input.read_exact(part)?;
        hash.update(&*part);
        left -= part.len() as u64;
    }
    Ok(hash.finalize().into())
}
