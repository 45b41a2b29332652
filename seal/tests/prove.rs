//! The proof of a single event stands alone, and no changed one does.

mod common;

use common::{BOOT, Maker, ORIGIN, facts};
use seal::event_proof::EventProofError;
use seal::{BatchKind, EventProof, HostKey};

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
