//! The limits of the format: the largest that is allowed is taken, and one more is not. And the small answers that other
//! crates build on.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::io::{self, BufReader, Read};

use common::{INCOMPLETE, Maker, ORIGIN, TAMPERED, check, facts, log};
use seal::add_checkpoint::{self, AddCheckpoint, AddCheckpointError};
use seal::batch::{BatchError, LineError};
use seal::cosign::{MAX_RECEIPT, Receipt, Witness};
use seal::enrol::{EnrolError, Enrolment, MAX_NOTE};
use seal::frame::{self, FrameError, HEAD, MAGIC, MAX_PAYLOAD};
use seal::header::{HeaderError, MAX_HEADER};
use seal::line::{self, MAX_SEAL_LINE, SealLine, SealLineError};
use seal::note::{MAX_SIGNATURES, Note, NoteError};
use seal::proof::{Checkpoint, MAX_PROOF, Proof, ProofError};
use seal::quorum::{MAX_POLICY, Policy};
use seal::state::MAX_ORIGIN;
use seal::verify::{Stand, Verifier, identify};
use seal::{Batch, BatchKind, Cpu, Facts, Header, HostKey, Lines, MAX_LINE, Seed, State, Trust, Verdict, text, tree};

fn batches() -> Vec<Batch> {
    let bytes = log(ORIGIN, 1).bytes();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"sigtrail\""));
    lines.map(|line| Batch::parse(line).unwrap()).collect()
}

#[test]
fn a_record_of_the_spool() {
    let head = |length: usize| {
        let bytes = [&MAGIC[..], &(length as u32).to_le_bytes(), &[0; 12]].concat();
        frame::Head::parse(bytes[..].try_into().unwrap()).map(|head| head.length)
    };
    assert_eq!(head(MAX_PAYLOAD), Ok(MAX_PAYLOAD));
    assert_eq!(head(MAX_PAYLOAD + 1), Err(FrameError::TooLong(MAX_PAYLOAD + 1)));
    let mut record = Vec::new();
    frame::write(7, b"payload", &mut record).unwrap();
    let read = frame::Head::parse(record[..HEAD].try_into().unwrap()).unwrap();
    assert_eq!(read.check(b"payload"), Ok(()));
    assert_eq!(read.check(b"payloa"), Err(FrameError::Short(HEAD + 7)));
    assert_eq!(read.check(b"payload "), Err(FrameError::Checksum));
    // the checksum is that of more bytes than the record has
    let mut longer = Vec::new();
    frame::write(7, b"payload ", &mut longer).unwrap();
    let head = [&record[..HEAD - 4], &longer[HEAD - 4..HEAD]].concat();
    let read = frame::Head::parse(head[..].try_into().unwrap()).unwrap();
    assert_eq!(read.check(b"payload "), Err(FrameError::Checksum));
    // a record behind others
    frame::write(8, b"", &mut record).unwrap();
    assert_eq!(record.len(), 2 * HEAD + 7);
    let large = vec![0; MAX_PAYLOAD + 1];
    assert_eq!(frame::write(9, &large, &mut record), Err(FrameError::TooLong(MAX_PAYLOAD + 1)));
    assert_eq!(record.len(), 2 * HEAD + 7);
    frame::write(9, &large[1..], &mut record).unwrap();
}

#[test]
fn a_receipt_and_the_key_of_a_witness() {
    let witness = |name: &str, n| Witness::new(name, &[n; 32]).unwrap();
    let of_length = |length: usize| {
        // `<size> — <name> <104 bytes of base64>`
        let name = "w".repeat(length - "1 —  ".len() - 104);
        let line = Receipt { size: 1, cosignature: witness(&name, 1).cosign("text", 5) }.to_string();
        assert_eq!(line.len(), length);
        Receipt::parse(&line).map(|receipt| (receipt.size, receipt.time()))
    };
    assert_eq!((of_length(MAX_RECEIPT), of_length(MAX_RECEIPT + 1)), (Some((1, 5)), None));
    assert!(Witness::new("a b", &[1; 32]).is_err());

    let (one, other, named) = (witness("w.example", 1), witness("w.example", 2), witness("w.other", 1));
    let key = one.key();
    assert_eq!(key.to_string(), format!("w.example+{}+{}", text::hex(&key.id()), base64_of(4, key.bytes())));
    assert_eq!(format!("{one:?}"), format!("Witness({key})"));
    assert_eq!((key.name(), key.bytes() == named.key().bytes()), ("w.example", true));
    for stranger in [&other, &named] {
        let line = stranger.cosign("text\n", 7);
        assert!(!key.is_named_by(&line) && key.verify("text\n", &line).is_none(), "{stranger:?}");
    }
    let line = one.cosign("text\n", 7);
    assert!(key.is_named_by(&line));
    // what is signed is the text of C2SP
    let signed = ed25519(key.bytes(), b"cosignature/v1\ntime 7\ntext\n", &line.bytes[8..]);
    assert!(signed && !ed25519(key.bytes(), b"cosignature/v1\ntime 8\ntext\n", &line.bytes[8..]));
    // a time that C2SP does not know
    let mut late = line.clone();
    late.bytes[0] = 0x80;
    assert_eq!((seal::cosign::time_of(&line), seal::cosign::time_of(&late)), (Some(7), None));
    assert_eq!(one.cosign("text\n", u64::MAX).bytes[..8], i64::MAX.to_be_bytes());
}

fn base64_of(kind: u8, key: &[u8; 32]) -> String {
    text::base64(&[&[kind], &key[..]].concat())
}

fn ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key).unwrap();
    key.verify_strict(message, &ed25519_dalek::Signature::from_slice(signature).unwrap()).is_ok()
}

#[test]
fn a_request_to_a_witness() {
    let head = Checkpoint { origin: "log.example".into(), size: 7, root: [1; 32] };
    let host = HostKey::new("log.example", &[1; 32]).unwrap();
    let signed = |text: String| Note { signatures: vec![host.sign(&text)], text };
    let request = |old: u64, hashes: usize, more: &str| {
        let note = signed(head.text() + more);
        let proof: String = (0..hashes).map(|_| text::base64(&[2; 32]) + "\n").collect();
        AddCheckpoint::parse(format!("old {old}\n{proof}\n{note}").as_bytes()).map(|read| read.proof.len())
    };
    assert_eq!(request(7, 63, "more\n"), Ok(63));
    assert_eq!(request(7, 64, ""), Err(AddCheckpointError::Proof));
    assert_eq!(request(8, 0, ""), Err(AddCheckpointError::Order));
    for (text, taken) in [
        (head.text(), true),
        (head.text() + "more\nlines\n", true),
        (head.text() + "\nmore\n", false),
        (head.text().replace("log.example", "log example"), false),
        (head.text().replace("log.example", ""), false),
        (head.text().trim_end().to_owned(), false),
    ] {
        assert_eq!(add_checkpoint::checkpoint(&text).is_some(), taken, "{text:?}");
    }
}

#[test]
fn texts_of_the_greatest_length() {
    let host = HostKey::new(ORIGIN, &[1; 32]).unwrap();
    let of_length = |length: usize| {
        let make = |value: usize| {
            let facts = vec![("fact".to_owned(), "x".repeat(value))];
            Enrolment::new(&host, &Seed::new([2; 32]), facts, 0).unwrap().sign(&host)
        };
        let short = make(1).unwrap().len() - 1;
        make(length - short).map(|note| note.len())
    };
    assert_eq!(of_length(MAX_NOTE), Ok(MAX_NOTE));
    assert!(of_length(MAX_NOTE + 1).is_err());

    assert_eq!(Enrolment::verify(&"x".repeat(MAX_NOTE + 2)), Err(EnrolError::Note(NoteError::Form)));

    let log = batches();
    let named = |length: usize| {
        let origin = "o".repeat(length);
        let next = HostKey::new(&format!("{origin}/chain"), &[1; 32]).unwrap().vkey().clone();
        Header::parse(&Header { origin, next, ..log[1].header.clone() }.to_string()).is_ok()
    };
    assert_eq!((named(MAX_ORIGIN), named(MAX_ORIGIN + 1)), (true, false));
    let header = |length: usize| {
        let mut header = log[1].header.clone();
        let short = header.to_string().len() + "x-a \n".len();
        header.facts.extensions = vec![("x-a".to_owned(), "x".repeat(length - short))];
        Header::parse(&header.to_string()).map(|read| read.to_string().len())
    };
    assert_eq!(header(MAX_HEADER), Ok(MAX_HEADER));
    assert_eq!(header(MAX_HEADER + 1), Err(HeaderError::TooLong(MAX_HEADER + 1)));

    let proof = |length: usize| {
        let mut proof = log[1].proof.clone();
        let mut more = proof.signatures[0].clone();
        let short = proof.to_string().len() + format!("— {} \n", more.name).len();
        // four letters of base64 for three bytes; the name takes up what is left
        let letters = length - short;
        more.name.push_str(&"n".repeat(letters % 4));
        more.bytes = vec![7; letters / 4 * 3 - 4];
        proof.signatures.push(more);
        Proof::parse(&proof.to_string()).map(|read| read.to_string().len())
    };
    assert_eq!(proof(MAX_PROOF), Ok(MAX_PROOF));
    assert_eq!(proof(MAX_PROOF + 1), Err(ProofError::TooLong(MAX_PROOF + 1)));

    let policy = |length: usize| {
        let text = format!("{}quorum none", " ".repeat(length - "quorum none".len()));
        Policy::parse(text.as_bytes()).map_err(|error| error.what)
    };
    assert!(policy(MAX_POLICY).is_ok());
    assert_eq!(policy(MAX_POLICY + 1), Err("the policy is too long"));

    assert!(Note::parse("text\n\n— a AAAAAA==\n").is_err(), "a key id and no signature");
    let note = |lines: usize| Note::parse(&format!("text\n\n{}", "— a AAAAAAA=\n".repeat(lines))).is_ok();
    assert_eq!((note(1), note(MAX_SIGNATURES), note(MAX_SIGNATURES + 1)), (true, true, false));
    let path = |hashes: usize| {
        let proof = Proof { path: vec![[0; 32]; hashes], ..log[1].proof.clone() };
        Proof::parse(&proof.to_string()).is_ok()
    };
    assert_eq!((path(64), path(65)), (true, false));
    let origin = |length: usize| {
        let host = HostKey::new(&"o".repeat(length), &[1; 32]).unwrap();
        State::genesis(host.vkey(), Seed::new([1; 32])).is_ok_and(|state| State::decode(&*state.encode()) == Ok(state))
    };
    assert_eq!((origin(MAX_ORIGIN), origin(MAX_ORIGIN + 1)), (true, false));
}

#[test]
fn who_signs_and_what() {
    let batch = batches().swap_remove(1);
    let with = |change: fn(&mut Proof)| {
        let mut proof = batch.proof.clone();
        change(&mut proof);
        proof
    };
    let parse = |change| Proof::parse(&with(change).to_string()).map(|_| ());
    assert_eq!(parse(|_| {}), Ok(()));
    assert_eq!(parse(|proof| proof.signatures[0].name = "other".into()), Err(ProofError::Signers));
    assert_eq!(parse(|proof| proof.signatures[1].name = "other".into()), Err(ProofError::Signers));
    assert_eq!(parse(|proof| proof.signatures.swap(0, 1)), Err(ProofError::Signers));
    assert_eq!(parse(|proof| proof.signatures.truncate(1)), Err(ProofError::Signers));

    let of_batch = |change| {
        let line = SealLine { header: batch.header.to_string(), proof: with(change).to_string() }.write();
        Batch::parse(line.trim_ascii_end()).map(|_| ())
    };
    assert_eq!(of_batch(|_| {}), Ok(()));
    assert_eq!(of_batch(|proof| proof.checkpoint.size += 1), Err(BatchError::Disagree("batch")));
    assert_eq!(of_batch(|proof| proof.index += 1), Err(BatchError::Disagree("batch")));

    let head = batch.proof.checkpoint;
    assert_eq!(Checkpoint::from_line(&head.to_string()), Some(head.clone()));
    assert_eq!(Checkpoint::parse(&head.text()), Some(head.clone()));
    assert_eq!(Checkpoint::parse(&(head.text() + "more\n")), None);
    assert_eq!(Checkpoint::parse(&head.text().replace(ORIGIN, "a+b")), None);
}

#[test]
fn what_is_wrong_with_a_header() {
    let text = batches()[2].header.to_string();
    let parse = |text: String| Header::parse(&text).map(|_| ());
    let twice = |key: &str| {
        let line = text.split_inclusive('\n').find(|line| line.starts_with(key)).unwrap();
        parse(text.replacen(line, &[line, line].concat(), 1))
    };
    assert_eq!(parse(text.clone()), Ok(()));
    assert_eq!(parse(text.trim_end().to_owned()), Err(HeaderError::Rest));
    for more in ["more", "\n", "more\n"] {
        assert_eq!(parse(format!("{text}{more}")), Err(HeaderError::Rest));
    }
    assert_eq!((twice("cpu "), twice("acct ")), (Err(HeaderError::Line("cpu")), Err(HeaderError::Line("acct"))));
}

/// A change of a header, and what is said of the log then.
type Case<'a> = (&'a dyn Fn(&mut Facts), Verdict, &'a str);

#[test]
fn values_that_just_agree() {
    let lost = |f: &mut Facts, lost| (f.cpus, f.lost) = (vec![Cpu { id: 0, first: 3, last: 5, lost }], lost);
    let cases: [Case; 4] = [
        (&|f| f.mono = facts(BatchKind::Start, 1).mono, Verdict::Verified, ""),
        (&|f| f.mono.1 = f.mono.0, Verdict::Verified, ""),
        (&|f| lost(f, 3), Verdict::Verified, ""),
        (&|f| lost(f, 4), INCOMPLETE, "cpu 0: more events lost"),
    ];
    for (change, verdict, what) in cases {
        let mut maker = Maker::new(ORIGIN, 1);
        maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
        let mut facts = facts(BatchKind::Events, 2);
        change(&mut facts);
        maker.add(&[b"{}"], &facts);
        let log = maker.finish();
        check(&log.trust(), &log.bytes(), verdict, &[what]);
    }
}

#[test]
fn where_a_verifier_stands() {
    let log = log(ORIGIN, 1);
    let mut verifier = Verifier::new(log.trust());
    let stand = verifier.stand();
    assert_eq!((stand.expected(), stand.host(), stand.log().size()), (None, None, 0));
    verifier.read(log.batches[..3].concat().as_slice()).unwrap();
    let stand = verifier.stand();
    assert_eq!((stand.expected(), stand.host(), stand.log().size()), (Some(3), Some(&log.key), 3));
    let last = batches().swap_remove(2);
    let behind = Stand::behind(last, log.key.clone());
    assert_eq!((behind.expected(), behind.host(), behind.log()), (Some(3), Some(&log.key), stand.log()));
    // a copy of what it read before, another one of it, and what cannot follow
    let copy = log.batches[2].as_slice();
    for (identity, verdict) in [(identify(&batches().swap_remove(2)), Verdict::Verified), ([0; 32], TAMPERED)] {
        let mut verifier = Verifier::resume(log.trust(), &stand);
        verifier.remember(2, identity);
        verifier.read(copy).unwrap();
        assert_eq!(verifier.report().verdict(), verdict, "{:?}", verifier.report().findings);
    }
    let mut verifier = Verifier::resume(log.trust(), &Stand::behind(batches().swap_remove(5), log.key.clone()));
    let mut maker = Maker::new(ORIGIN, 1);
    (1..6).for_each(|n| maker.add(&[b"{}"], &facts(BatchKind::Start, n)));
    maker.add(&[b"{}"], &facts(BatchKind::Events, 6));
    verifier.read(maker.finish().batches[6].as_slice()).unwrap();
    let found: Vec<_> = verifier.report().findings.iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|found| found.contains("`kind` does not continue")), "{found:?}");

    let keyless = Trust::default();
    for (stand, trust) in [(&stand, log.trust()), (&behind, log.trust()), (&behind, keyless)] {
        let mut verifier = Verifier::resume(trust, stand);
        verifier.read(log.batches[3..].concat().as_slice()).unwrap();
        let report = verifier.finish();
        assert_eq!((report.verdict(), report.batches), (Verdict::Verified, 3), "{:?}", report.findings);
    }
}

#[test]
fn what_the_parts_of_a_batch_say() {
    let mut lines = Lines::new();
    assert_eq!((lines.is_empty(), lines.len(), lines.bytes()), (true, 0, 0));
    lines.push(b"{}").unwrap();
    assert_eq!((lines.is_empty(), lines.len(), lines.bytes()), (false, 1, 3));
    // the length alone differs
    let (mut batch, events) = (batches().swap_remove(5), br#"{"seq":"6","type":"agent.stop"}"#);
    let mut of_batch = Lines::new();
    of_batch.push(events).unwrap();
    assert_eq!(batch.is_over(&of_batch), Ok(()));
    batch.header.bytes += 1;
    assert_eq!(batch.is_over(&of_batch), Err("bytes"));

    let line = |length: usize| vec![b'x'; length];
    assert_eq!(lines.push(&line(MAX_LINE)), Ok(()));
    assert_eq!(lines.push(&line(MAX_LINE + 1)), Err(LineError::TooLong(MAX_LINE + 1)));
    for broken in [&b"a\n"[..], b"\n", b"a\nb\nc"] {
        assert_eq!(lines.push(broken), Err(LineError::Break));
    }

    let key = HostKey::new(ORIGIN, &[7; 32]).unwrap();
    assert_eq!((*key.secret(), format!("{key:?}")), ([7; 32], format!("HostKey({})", key.vkey())));
    assert_eq!(format!("{:?}", Seed::new([7; 32])), "Seed(..)");
}

#[test]
fn a_seal_line_and_a_redacted_one() {
    let line = |more: usize| {
        let line = SealLine { header: "\n".repeat(MAX_HEADER), proof: "\n".repeat(MAX_PROOF + more) }.write();
        SealLine::parse(&line[..line.len() - 1]).map(|_| line.len() - 1)
    };
    assert_eq!(line(0), Ok(MAX_SEAL_LINE));
    assert_eq!(line(1), Err(SealLineError::TooLong(MAX_SEAL_LINE + 2)));
    let leaf = tree::leaf(br#"{"seq":"4"}"#);
    let redacted = line::redacted(&leaf);
    assert_eq!(line::unredacted(redacted.as_bytes()), Some(leaf));
    assert_eq!(line::unredacted(redacted.replace("v1", "v2").as_bytes()), None);
    let log = log(ORIGIN, 1);
    let bytes = String::from_utf8(log.bytes()).unwrap().replace(r#"{"seq":"4"}"#, &redacted);
    let report = check(&log.trust(), bytes.as_bytes(), INCOMPLETE, &["batch 3, line 10: 1 event lines are redacted"]);
    assert_eq!((report.redacted, report.events), (1, 7));
}

/// A reader that fails behind these bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other("the disk")) } else { self.0.read(out) }
    }
}

#[test]
fn a_quorum_of_witnesses() {
    let witness = Witness::new("w.example", &[7; 32]).unwrap();
    let one = format!("witness w {} https://w.example\nquorum w\n", witness.key());
    let log = log(ORIGIN, 1);
    let trust = |policy: &str| Trust { policy: Some(Policy::parse(policy.as_bytes()).unwrap()), ..log.trust() };
    let few = "no state of the log was cosigned by as many witnesses as the policy wants";
    check(&trust(&one), &log.bytes(), INCOMPLETE, &[few]);
    check(&trust("quorum none\n"), &log.bytes(), Verdict::Verified, &[""]);
    let report = check(&trust(&one), b"", INCOMPLETE, &["no sealed batch"]);
    assert_eq!(report.findings.count(), 1);

    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[b"{}"], &facts(BatchKind::Start, 1));
    let line = String::from_utf8(maker.batches[1].clone()).unwrap();
    let head = Batch::parse(line.lines().last().unwrap().as_bytes()).unwrap().proof.checkpoint;
    let receipt = Receipt { size: head.size, cosignature: witness.cosign(&head.text(), 7) };
    let receipts = vec![receipt.to_string()];
    maker.add(&[b"{}"], &Facts { receipts, ..facts(BatchKind::Events, 2) });
    let report = check(&trust(&one), &maker.finish().bytes(), Verdict::Verified, &[""]);
    assert_eq!(report.witnessed, Some(2));
}

/// A reader that is interrupted before each piece.
struct Interrupted<'a>(&'a [u8], bool);

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(out) }
    }
}

#[test]
fn how_a_log_is_read() {
    let log = log(ORIGIN, 1);
    let mut verifier = Verifier::new(log.trust());
    assert_eq!((verifier.inputs(), verifier.report().batches), (0, 0));
    verifier.read(log.batches[..2].concat().as_slice()).unwrap();
    assert_eq!((verifier.inputs(), verifier.report().batches), (1, 2));
    verifier.read(BufReader::with_capacity(100, Interrupted(&log.batches[2..].concat(), false))).unwrap();
    assert_eq!((verifier.inputs(), verifier.report().batches), (2, 6));
    assert_eq!(verifier.finish().verdict(), Verdict::Verified);

    let line = |length: usize| format!("{{\"a\":\"{}\"}}", "b".repeat(length - 8));
    let mut maker = Maker::new(ORIGIN, 1);
    maker.add(&[line(MAX_LINE).as_bytes()], &facts(BatchKind::Start, 1));
    let log = maker.finish();
    check(&log.trust(), &log.bytes(), Verdict::Verified, &[""]);
    let longer = String::from_utf8(log.bytes()).unwrap().replace(&line(MAX_LINE), &line(MAX_LINE + 1));
    check(&log.trust(), longer.as_bytes(), TAMPERED, &["the line has 262145 bytes, 262144 are allowed"]);
}

#[test]
fn a_reader_that_fails() {
    let log = log(ORIGIN, 1);
    for (tail, unsealed) in [(&b""[..], 0), (b"{}", 1), (b"{}\n", 1), (b"{}\n{", 2)] {
        let mut verifier = Verifier::new(log.trust());
        let bytes = [&log.bytes(), tail].concat();
        assert!(verifier.read(BufReader::with_capacity(7, Failing(&bytes))).is_err());
        assert_eq!(verifier.inputs(), 1);
        let report = verifier.finish();
        assert_eq!((report.batches, report.unsealed), (6, unsealed), "{tail:?}");
    }
}
