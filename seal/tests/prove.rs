//! Proofs stand without their log, and no changed one does.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use common::{BOOT, Maker, ORIGIN, facts};
use seal::consistency_proof::{ConsistencyError, Head};
use seal::event_proof::EventProofError;
use seal::tree::Consistency;
use seal::{Batch, BatchKind, ConsistencyProof, EventProof, HostKey};

#[test]
fn an_event_is_proved_and_no_changed_one_is() {
    let mut maker = Maker::new(ORIGIN, 1);
    let events: Vec<String> = (0..5).map(|n| format!("{{\"boot\":\"{BOOT}\",\"seq\":\"{n}\"}}")).collect();
    let events: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    maker.add(&events, &facts(BatchKind::Start, 1));
    let log = maker.finish();
    let seal = log.batches[1].split(|byte| *byte == b'\n').nth(5).unwrap();
    for (index, event) in events.iter().enumerate() {
        let text = EventProof::make(&events, index, seal).unwrap().to_string();
        let proof = EventProof::parse(&text).unwrap();
        assert_eq!(proof.verify(&log.key).map(str::as_bytes), Ok(*event));
        assert_eq!((proof.event().as_bytes(), proof.index()), (*event, index as u64));
        let other = HostKey::new(ORIGIN, &[9; 32]).unwrap();
        assert_eq!(proof.verify(other.vkey()), Err(EventProofError::Signature));
    }
    assert_eq!(EventProof::make(&events, 5, seal), Err(EventProofError::Form("index")));
    assert_eq!(EventProof::make(&events[1..], 0, seal), Err(EventProofError::Path));

    let text = EventProof::make(&events, 2, seal).unwrap().to_string();
    // the second signature is the chain key's, which a proof that stands alone cannot check
    let chain = text.rfind("— ").unwrap();
    for at in 0..text.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= flip;
            let proof = String::from_utf8(bytes).ok().and_then(|text| EventProof::parse(&text).ok());
            assert!(proof.is_none_or(|proof| proof.verify(&log.key).is_err()) || at > chain, "byte {at} ^ {flip}");
        }
        assert!(at == 0 || EventProof::parse(&text[..text.floor_char_boundary(at)]).is_err(), "cut at {at}");
    }
}

/// The batches of a log with so many heartbeats.
fn batches(salt: u8, beats: u64) -> (seal::Vkey, Vec<Batch>) {
    let mut maker = Maker::new(ORIGIN, salt);
    (1..=beats).for_each(|beat| maker.add(&[], &facts(BatchKind::Heartbeat, beat)));
    let log = maker.finish();
    let seal = |batch: &Vec<u8>| batch.split(|byte| *byte == b'\n').rev().nth(1).unwrap().to_vec();
    (log.key, log.batches.iter().map(|batch| Batch::parse(&seal(batch)).unwrap()).collect())
}

fn consistency(batches: &[Batch], old: usize, new: usize) -> Result<ConsistencyProof, ConsistencyError> {
    let first = &batches[old - 1];
    let mut before = first.before.clone();
    before.push(first.leaf);
    let mut proof = Consistency::new(before, new as u64).unwrap();
    batches[old..new].iter().for_each(|batch| proof.push(batch.leaf));
    ConsistencyProof::new(proof.finish().unwrap(), Head::from(first), Head::from(&batches[new - 1]))
}

#[test]
fn a_head_continues_every_older_one_and_no_changed_proof_says_so() {
    let (key, batches) = batches(1, 12);
    let other = HostKey::new(ORIGIN, &[9; 32]).unwrap();
    for new in 1..=batches.len() {
        for old in 1..=new {
            let text = consistency(&batches, old, new).unwrap().to_string();
            let proof = ConsistencyProof::parse(&text).unwrap();
            let (from, to) = proof.verify(std::slice::from_ref(&key), &[]).unwrap();
            assert_eq!((from.size, to.size), (old as u64, new as u64));
            assert_eq!(to.root, batches[new - 1].proof.checkpoint.root);
            assert_eq!(proof.verify(&[other.vkey().clone()], &[]), Err(ConsistencyError::Signature("old")));
        }
    }
    let text = consistency(&batches, 5, 11).unwrap().to_string();
    for at in 0..text.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= flip;
            let proof = String::from_utf8(bytes).ok().and_then(|text| ConsistencyProof::parse(&text).ok());
            let passes = proof.is_some_and(|proof| proof.verify(std::slice::from_ref(&key), &[]).is_ok());
            // the chain key's signatures need the headers before
            assert!(!passes || is_in_chain_signature(&text, at), "byte {at} ^ {flip}");
        }
        // without the last signature, that of the chain key, the proof is whole
        let end = text.floor_char_boundary(at);
        assert_eq!(ConsistencyProof::parse(&text[..end]).is_ok(), Some(end) == text.rfind("— "), "cut at {at}");
    }
}

fn is_in_chain_signature(text: &str, at: usize) -> bool {
    let at = text.floor_char_boundary(at);
    let begin = text[..at].rfind('\n').map_or(0, |lf| lf + 1);
    text[begin..].starts_with(&format!("— {ORIGIN}/chain "))
}

#[test]
fn a_rewritten_log_does_not_continue_the_head_that_was() {
    let (_, ours) = batches(1, 9);
    let (_, theirs) = batches(3, 9);
    for old in 1..=8 {
        let head = Head::from(&ours[old - 1]);
        let mut before = theirs[old - 1].before.clone();
        before.push(theirs[old - 1].leaf);
        let mut proof = Consistency::new(before, 9).unwrap();
        theirs[old..9].iter().for_each(|batch| proof.push(batch.leaf));
        let made = ConsistencyProof::new(proof.finish().unwrap(), head, Head::from(&theirs[8]));
        assert_eq!(made, Err(ConsistencyError::Path), "{old}");
    }
    let (elsewhere, same) = (Maker::new("log.example/other", 1).finish(), Head::from(&ours[0]));
    let line = elsewhere.batches[0].split(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    let other = Head::from(&Batch::parse(&line).unwrap());
    assert_eq!(ConsistencyProof::new(Vec::new(), same, other), Err(ConsistencyError::Origin));
}
