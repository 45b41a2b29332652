//! What is fuzzed: each parser of bytes that come from elsewhere, as a function that says whether it took them.
//!
//! What a parser takes must write back to the same bytes, where it has one spelling: a target checks that too.
#![expect(clippy::unwrap_used, reason = "a fuzz target stops at what it did not expect")]

use std::str;

use receive::body;
use seal::{
    Batch, ConsistencyProof, EventProof, Header, Receipt, State, Trust, Verdict, Verifier, Vkey,
    add_checkpoint::AddCheckpoint,
    bundle::{self, BATCH, BLOCK, FORMAT, MANIFEST, VKEY},
    cli::check_bundle,
    consistency_proof::Head,
    cosign::{Witness, WitnessKey},
    enrol::{self, EnrolError, Enrolment},
    frame, jcs,
    line::SealLine,
    note::Note,
    proof::{Checkpoint, Proof},
    quorum::Policy,
    revocation::{Revocation, RevocationError},
    state,
};
use sigtrail::{
    config::Config,
    policy, spool,
    view::{self, View},
};

/// A log with all lines that the format has, and one with the fewest.
const LOGS: [&[u8]; 2] =
    [include_bytes!("../../vectors/cases/every-line.ndjson"), include_bytes!("../../vectors/log.ndjson")];
/// Records of which each view makes another use.
const RECORDS: &[&str] = &[
    include_str!("../../golden/exec.ndjson"),
    include_str!("../../golden/chmod.ndjson"),
    include_str!("../../golden/connect.ndjson"),
    include_str!("../../golden/dns.ndjson"),
    include_str!("../../golden/kill.ndjson"),
];
/// The most that a receiver unpacks here.
const MAX_BODY: usize = 1 << 20;

/// A parser under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Gives it bytes; whether it took them.
    pub takes: fn(&[u8]) -> bool,
    /// Bytes that it takes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "header", takes: header, seeds: || seals(|seal| seal.header) },
    Target { name: "proof", takes: proof, seeds: || seals(|seal| seal.proof) },
    Target { name: "note", takes: note, seeds: || vec![enrolment_note().into_bytes()] },
    Target { name: "key", takes: key, seeds: keys },
    Target { name: "seal_line", takes: seal_line, seeds: seal_lines },
    Target { name: "batch", takes: |bytes| Batch::parse(bytes).is_ok(), seeds: seal_lines },
    Target { name: "enrolment", takes: enrolment, seeds: || vec![enrolment_note().into_bytes()] },
    Target { name: "revocation", takes: revocation, seeds: || vec![REVOCATION.into()] },
    Target { name: "receipt", takes: receipt, seeds: || vec![a_receipt().to_string().into()] },
    Target { name: "checkpoint", takes: checkpoint, seeds: || vec![head().to_string().into()] },
    Target { name: "event_proof", takes: event_proof, seeds: || vec![an_event_proof().to_string().into()] },
    Target { name: "consistency_proof", takes: consistency_proof, seeds: || vec![consistent().to_string().into()] },
    Target { name: "add_checkpoint", takes: add_checkpoint, seeds: || vec![request().into_bytes()] },
    Target { name: "witness_policy", takes: |bytes| Policy::parse(bytes).is_ok(), seeds: witness_policy },
    Target { name: "canonical_json", takes: canonical_json, seeds: || vec![br#"{"a":[1,{"b":"\n"}]}"#.to_vec()] },
    Target { name: "log", takes: log, seeds: || LOGS.map(<[u8]>::to_vec).into() },
    Target { name: "bundle", takes: a_capture, seeds: || vec![a_bundle()] },
    Target { name: "state", takes: state, seeds: || vec![genesis().encode().to_vec()] },
    Target { name: "record", takes: |bytes| frame::read(bytes).is_ok(), seeds: records },
    Target { name: "spooled", takes: spooled, seeds: || vec![payload()] },
    Target { name: "body_zstd", takes: |bytes| unpacks(bytes, "zstd"), seeds: || vec![payload()] },
    Target { name: "body_gzip", takes: |bytes| unpacks(bytes, "gzip"), seeds: || vec![GZIP.to_vec()] },
    Target { name: "config", takes: config, seeds: || vec![sigtrail::config::example().into_bytes(), b"{}".to_vec()] },
    Target { name: "policy", takes: rules, seeds: || vec![policy::Policy::default_text().into()] },
    Target { name: "view", takes: viewed, seeds: || RECORDS.iter().map(|record| record.as_bytes().to_vec()).collect() },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Lines, of which all that are objects have a view in each schema, with the place of their evidence.
fn viewed(bytes: &[u8]) -> bool {
    let batch = sigtrail::sealed::Batch { number: 7, bytes: bytes.to_vec().into(), frame: Vec::new().into() };
    view::events("a.example/sigtrail", &batch).fold(!bytes.is_empty(), |taken, event| {
        let Ok(event) = event else { return false };
        for (view, own) in [(View::Ecs, "sigtrail"), (View::Ocsf, "unmapped")] {
            assert_eq!(event.clone().render(view)[own]["index"], event.index);
        }
        taken
    })
}

fn header(bytes: &[u8]) -> bool {
    text(bytes, |text| Header::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_ok())
}

fn proof(bytes: &[u8]) -> bool {
    text(bytes, |text| Proof::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_ok())
}

fn note(bytes: &[u8]) -> bool {
    text(bytes, |text| Note::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_ok())
}

/// A text, or 32 bytes of a key and a name, which get the id that is theirs: no change of a text comes further than that.
fn key(bytes: &[u8]) -> bool {
    let written = text(bytes, |text| {
        let host = Vkey::parse(text).map(|key| assert_eq!(key.to_string(), text));
        let witness = WitnessKey::parse(text).map(|key| assert_eq!(key.to_string(), text));
        host.or(witness).is_ok()
    });
    let named = bytes.split_first_chunk().is_some_and(|(key, name)| {
        let key = str::from_utf8(name).ok().and_then(|name| Vkey::from_bytes(name, key).ok());
        key.is_some_and(|key| Vkey::parse(&key.to_string()).is_ok_and(|read| read == key))
    });
    written || named
}

fn seal_line(bytes: &[u8]) -> bool {
    SealLine::parse(bytes).map(|read| assert_eq!(read.write(), [bytes, b"\n"].concat())).is_ok()
}

/// All but the signature: that is the last thing that is asked.
fn enrolment(bytes: &[u8]) -> bool {
    text(bytes, |text| {
        let inside = enrol::note_of(&enrol::genesis_line(text));
        assert_eq!(inside.as_deref(), Some(text));
        let unsigned = |error| matches!(error, EnrolError::Note(seal::note::NoteError::Unsigned(_)));
        Enrolment::verify(text).map_or_else(unsigned, |_| true)
    })
}

/// All but the signature, as above.
fn revocation(bytes: &[u8]) -> bool {
    text(bytes, |text| Revocation::verify(text, &[]) == Err(RevocationError::Unsigned))
}

fn receipt(bytes: &[u8]) -> bool {
    text(bytes, |text| Receipt::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_some())
}

fn checkpoint(bytes: &[u8]) -> bool {
    text(bytes, |text| Checkpoint::from_line(text).map(|read| assert_eq!(read.to_string(), text)).is_some())
}

fn event_proof(bytes: &[u8]) -> bool {
    text(bytes, |text| EventProof::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_ok())
}

fn consistency_proof(bytes: &[u8]) -> bool {
    text(bytes, |text| ConsistencyProof::parse(text).map(|read| assert_eq!(read.to_string(), text)).is_ok())
}

fn add_checkpoint(bytes: &[u8]) -> bool {
    AddCheckpoint::parse(bytes).map(|read| assert_eq!(read.to_string().as_bytes(), bytes)).is_ok()
}

fn canonical_json(bytes: &[u8]) -> bool {
    jcs::check(bytes).is_ok()
}

fn log(bytes: &[u8]) -> bool {
    let mut verifier = Verifier::new(Trust::default());
    verifier.read(bytes).unwrap();
    verifier.finish().batches > 0
}

/// One whose members are those of its manifest, so far as they are read; no change of one is sealed.
fn a_capture(bytes: &[u8]) -> bool {
    let checked = check_bundle(bytes, Trust::default());
    assert!(checked.verdict() != Verdict::Verified, "nobody sealed it");
    checked.manifest.is_some() && checked.members > 0
}

/// A slot with the checksum that its bytes ask for: else no changed one comes further than that.
fn state(bytes: &[u8]) -> bool {
    let mut slot = [0; state::SLOT];
    slot.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let checksum = crc32c::crc32c(&slot[12..]).to_le_bytes();
    slot[8..12].copy_from_slice(&checksum);
    State::decode(&slot).is_ok()
}

fn spooled(bytes: &[u8]) -> bool {
    spool::frame::decode(0, bytes, Vec::new()).is_ok()
}

fn unpacks(bytes: &[u8], packed: &str) -> bool {
    body::unpack(bytes, Some(packed), MAX_BODY).map(|body| assert!(body.len() <= MAX_BODY)).is_ok()
}

fn config(bytes: &[u8]) -> bool {
    text(bytes, |text| Config::parse("fuzz", text).is_ok())
}

fn rules(bytes: &[u8]) -> bool {
    text(bytes, |text| policy::Policy::parse(&[("fuzz", text)]).is_ok())
}

fn text(bytes: &[u8], takes: impl FnOnce(&str) -> bool) -> bool {
    str::from_utf8(bytes).is_ok_and(takes)
}

// The seeds: what the golden vectors hold, and what is made of it.

const REVOCATION: &str = include_str!("../../vectors/revoked.note");

/// printf '{}' | gzip -n
const GZIP: &[u8] = &[31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 174, 5, 0, 67, 191, 166, 163, 2, 0, 0, 0];

fn seal_lines() -> Vec<Vec<u8>> {
    let lines = LOGS.iter().flat_map(|log| log.split(|byte| *byte == b'\n'));
    lines.filter(|line| SealLine::is_one(line)).map(<[u8]>::to_vec).collect()
}

fn seals(part: fn(SealLine) -> String) -> Vec<Vec<u8>> {
    seal_lines().iter().map(|line| part(SealLine::parse(line).unwrap()).into_bytes()).collect()
}

fn batches() -> Vec<Batch> {
    let lines = LOGS[1].split(|byte| *byte == b'\n').filter(|line| SealLine::is_one(line));
    lines.map(|line| Batch::parse(line).unwrap()).collect()
}

fn host() -> Vkey {
    Vkey::parse(include_str!("../../vectors/host.vkey").trim_end()).unwrap()
}

fn keys() -> Vec<Vec<u8>> {
    let named = [host().bytes().as_slice(), b"log.example"].concat();
    vec![host().to_string().into(), witness().key().to_string().into(), named]
}

fn witness() -> Witness {
    Witness::new("witness.example/w1", &[1; 32]).unwrap()
}

fn enrolment_note() -> String {
    enrol::note_of(LOGS[1].split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

fn head() -> Checkpoint {
    batches().pop().unwrap().proof.checkpoint
}

fn a_receipt() -> Receipt {
    Receipt { size: head().size, cosignature: witness().cosign(&head().text(), 1_780_000_000) }
}

fn an_event_proof() -> EventProof {
    let lines: Vec<&[u8]> = LOGS[1].split(|byte| *byte == b'\n').take(2).collect();
    EventProof::make(&lines[..1], 0, lines[1]).unwrap()
}

fn consistent() -> ConsistencyProof {
    let batches = batches();
    // of size 1 to size 2: the leaf of the second
    ConsistencyProof::new(vec![batches[1].leaf], Head::from(&batches[0]), Head::from(&batches[1])).unwrap()
}

fn request() -> String {
    let Batch { proof, .. } = &batches()[1];
    let note = Note { text: proof.checkpoint.text(), signatures: proof.signatures.clone() };
    AddCheckpoint { old: 1, proof: vec![batches()[1].leaf], note, checkpoint: proof.checkpoint.clone() }.to_string()
}

fn witness_policy() -> Vec<Vec<u8>> {
    let key = witness().key().to_string();
    vec![format!("log {}\nwitness w1 {key}\ngroup all all w1\nquorum all\n", host()).into()]
}

fn genesis() -> State {
    State::genesis(&host(), seal::Seed::new([1; 32])).unwrap()
}

/// A member, its manifest, and a batch that has no record of it.
fn a_bundle() -> Vec<u8> {
    let manifest = format!(
        r#"{{"format":"{FORMAT}","left_out":[],"members":[{{"name":"files/0000","sha256":"{}","size":"0"}}]}}"#,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let batch = LOGS[1].split_inclusive(|byte| *byte == b'\n').take(2).collect::<Vec<_>>().concat();
    let vkey = include_bytes!("../../vectors/host.vkey");
    let mut tar = Vec::new();
    for (name, bytes) in [("files/0000", &b""[..]), (MANIFEST, manifest.as_bytes()), (BATCH, &batch), (VKEY, vkey)] {
        let head = bundle::Head::new(name, bytes.len() as u64, 1_780_000_000).unwrap();
        tar.extend(head.write());
        tar.extend_from_slice(bytes);
        tar.resize(tar.len() + head.padding(), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// The first batch of a log, as the spool keeps it and a sink sends it.
fn payload() -> Vec<u8> {
    let end = LOGS[1].iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
    zstd::bulk::compress(&LOGS[1][..=end], 1).unwrap()
}

fn records() -> Vec<Vec<u8>> {
    let mut record = Vec::new();
    frame::write(0, &payload(), &mut record).unwrap();
    vec![record]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_seeds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty());
            assert!(seeds.iter().all(|seed| (target.takes)(seed)), "{}", target.name);
            assert!(!(target.takes)(b"\xff"), "{}", target.name);
        }
    }
}
