//! The parsers: what is written is read back as it was, and no bytes make them panic.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use seal::add_checkpoint::AddCheckpoint;
use seal::cosign::{Receipt, Witness, WitnessKey};
use seal::header::{BatchKind, GapReason};
use seal::line::SealLine;
use seal::note::{Note, Signature};
use seal::proof::{Checkpoint, Proof};
use seal::quorum::Policy;
use seal::{Account, Agent, Batch, Clock, Cpu, Facts, Gap, Header, HostKey, State, Vkey, enrol, frame, jcs};

fn word() -> impl Strategy<Value = String> {
    "[!-~é€😀]{1,20}".prop_map(|text| text)
}

fn plain() -> impl Strategy<Value = String> {
    "[!-~é]([ -~é]{0,20}[!-~é])?".prop_map(|text| text)
}

fn origin() -> impl Strategy<Value = String> {
    "[a-z0-9./-]{1,40}".prop_map(|text| text)
}

fn vkey(name: String) -> impl Strategy<Value = Vkey> {
    any::<[u8; 32]>().prop_map(move |secret| HostKey::new(&name, &secret).unwrap().vkey().clone())
}

fn signature(name: String) -> impl Strategy<Value = Signature> {
    (any::<[u8; 4]>(), vec(any::<u8>(), 1..80)).prop_map(move |(id, bytes)| Signature { name: name.clone(), id, bytes })
}

fn facts() -> impl Strategy<Value = Facts> {
    let kind = prop_oneof![
        Just(BatchKind::Start),
        Just(BatchKind::Events),
        Just(BatchKind::Heartbeat),
        Just(BatchKind::Stop),
        Just(BatchKind::Recovered)
    ];
    let clock = (any::<bool>(), any::<u64>(), any::<i64>()).prop_map(|(sync, maxerr_us, step_ns)| Clock {
        sync,
        maxerr_us,
        step_ns,
    });
    let agent = ("[0-9a-z.-]{1,12}", any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(version, exe, bpf)| Agent {
        version,
        exe,
        bpf,
    });
    let cpus = proptest::collection::btree_map(any::<u32>(), any::<(u64, u64, u64)>(), 0..5).prop_map(|cpus| {
        let one = |(id, (a, b, lost)): (u32, (u64, u64, u64))| Cpu { id, first: a.min(b), last: a.max(b), lost };
        cpus.into_iter().map(one).collect::<Vec<_>>()
    });
    let accounts = proptest::collection::hash_map(word(), any::<[u64; 8]>(), 0..5).prop_map(|accounts| {
        let one = |(hook, [seen, kfilter, lost, recv, ufilter, emit, trunc, merge]): (String, [u64; 8])| Account {
            hook,
            seen,
            kfilter,
            lost,
            recv,
            ufilter,
            emit,
            trunc,
            merge: merge % 3,
        };
        accounts.into_iter().map(one).collect::<Vec<_>>()
    });
    let reason = prop_oneof![Just(GapReason::Evict), Just(GapReason::Quarantine), Just(GapReason::Lag)];
    let gap = (word(), any::<u64>(), any::<u64>(), reason).prop_map(|(sink, a, b, reason)| Gap {
        sink,
        from: a.min(b),
        to: a.max(b),
        reason,
    });
    let extension = ("x-[a-z]{1,5}", plain());
    let times = (any::<(u64, u64)>(), any::<(u64, u64)>());
    let first = (kind, word(), plain(), times, clock, agent, any::<[u8; 32]>(), option::of(any::<u64>()));
    let second = (cpus, accounts, any::<u64>(), vec(gap, 0..3), vec(plain(), 0..3), vec(extension, 0..3));
    (first, second).prop_map(|(first, second)| {
        let (kind, boot, host, (mono, wall), clock, agent, policy, load) = first;
        let (cpus, accounts, lost, gaps, receipts, extensions) = second;
        Facts {
            kind,
            boot,
            host,
            mono,
            wall,
            clock,
            agent,
            policy,
            load,
            cpus,
            accounts,
            lost,
            gaps,
            receipts,
            extensions,
        }
    })
}

fn header() -> impl Strategy<Value = Header> {
    origin().prop_flat_map(|origin| {
        let keys = (vkey(format!("{origin}/chain")), option::of(vkey(origin.clone())));
        let numbers = (1..u64::MAX, any::<u64>(), any::<u64>(), any::<u64>());
        (keys, numbers, any::<[[u8; 32]; 2]>(), facts()).prop_map(move |(keys, numbers, hashes, mut facts)| {
            let ((next, hostkey), (batch, events, first, bytes), [prev, root]) = (keys, numbers, hashes);
            if hostkey.is_some() {
                facts.kind = BatchKind::Rotate;
            }
            let origin = origin.clone();
            Header { origin, batch, prev, events, first, root, bytes, facts, next, hostkey }
        })
    })
}

fn proof() -> impl Strategy<Value = Proof> {
    origin().prop_flat_map(|origin| {
        let must = (signature(origin.clone()), signature(format!("{origin}/chain")));
        let more = vec(signature("other".to_owned()), 0..4);
        (any::<u64>(), any::<u64>(), vec(any::<[u8; 32]>(), 0..64), any::<[u8; 32]>(), must, more).prop_map(
            move |(index, size, path, root, (host, chain), more)| {
                let signatures = [host, chain].into_iter().chain(more).collect();
                Proof { index, path, checkpoint: Checkpoint { origin: origin.clone(), size, root }, signatures }
            },
        )
    })
}

/// A text with one character set, taken out or put in.
fn changed(text: &str, (at, with, how): (usize, char, u8)) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % chars.len();
    match how % 3 {
        0 => chars[at] = with,
        1 => drop(chars.remove(at)),
        _ => chars.insert(at, with),
    }
    chars.into_iter().collect()
}

fn change() -> impl Strategy<Value = (usize, char, u8)> {
    let with =
        prop_oneof![Just('\n'), Just(' '), Just('0'), Just('+'), Just('='), Just('\\'), Just('"'), any::<char>()];
    (any::<usize>(), with, any::<u8>())
}

proptest! {
    #[test]
    fn a_header_comes_back(header in header(), change in change()) {
        let text = header.to_string();
        prop_assert_eq!(Header::parse(&text), Ok(header));
        // and a changed one is refused, or is another header that is spelled just so
        let changed = changed(&text, change);
        if let Ok(other) = Header::parse(&changed) {
            prop_assert_eq!(other.to_string(), changed);
        }
    }

    #[test]
    fn a_proof_comes_back(proof in proof(), change in change()) {
        let text = proof.to_string();
        prop_assert_eq!(Proof::parse(&text), Ok(proof));
        let changed = changed(&text, change);
        if let Ok(other) = Proof::parse(&changed) {
            prop_assert_eq!(other.to_string(), changed);
        }
    }

    #[test]
    fn a_note_comes_back(text in "[ -~é\n]{1,80}\n", more in vec(signature("a.example/b".to_owned()), 1..5), change in change()) {
        let note = Note { text, signatures: more };
        let text = note.to_string();
        prop_assert_eq!(Note::parse(&text), Ok(note));
        let changed = changed(&text, change);
        if let Ok(other) = Note::parse(&changed) {
            prop_assert_eq!(other.to_string(), changed);
        }
    }

    #[test]
    fn a_seal_line_comes_back(header in any::<String>(), proof in any::<String>(), change in change()) {
        let line = SealLine { header, proof };
        let bytes = line.write();
        let inside = &bytes[..bytes.len() - 1];
        prop_assert_eq!(SealLine::parse(inside), Ok(line));
        let changed = changed(std::str::from_utf8(inside).unwrap(), change);
        if let Ok(other) = SealLine::parse(changed.as_bytes()) {
            prop_assert_eq!(other.write(), [changed.as_bytes(), b"\n"].concat());
        }
    }

    #[test]
    fn a_key_comes_back(secret in any::<[u8; 32]>(), name in origin()) {
        let key = HostKey::new(&name, &secret).unwrap();
        prop_assert_eq!(&Vkey::parse(&key.vkey().to_string()), &Ok(key.vkey().clone()));
        prop_assert!(key.vkey().verifies("text\n", &key.sign("text\n")));
    }

    #[test]
    fn canonical_strings_are_canonical(text in any::<String>()) {
        let mut line = b"{\"k\":\"".to_vec();
        jcs::escape(&text, &mut line);
        line.extend_from_slice(b"\"}");
        prop_assert_eq!(jcs::check(&line), Ok(()));
    }

    #[test]
    fn doubles_have_one_canonical_spelling(value in prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
        // quarters: where a double holds no more, two spellings are equally near
        (0..1_u64 << 53).prop_map(|quarters| quarters as f64 / 4.0),
    ]) {
        // serde_json writes the same digits, though not always where ECMAScript puts the point
        let text = serde_json::to_string(&value).unwrap();
        let plain = !text.contains('e') && !text.ends_with(".0") && (1e-6..1e21).contains(&value.abs());
        if plain {
            prop_assert_eq!(jcs::check(format!("{{\"n\":{text}}}").as_bytes()), Ok(()));
        }
        let other = format!("{{\"n\":{text}0}}");
        prop_assert!(!plain || jcs::check(other.as_bytes()).is_err());
    }

    #[test]
    fn nothing_panics(bytes in vec(any::<u8>(), 0..400), text in "(sigtrail/batch/v1|c2sp.org/tlog-proof@v1|.|\n| |index|— ){0,40}") {
        for bytes in [&bytes, text.as_bytes()] {
            let told = (
                SealLine::parse(bytes).is_ok(), Batch::parse(bytes).is_ok(), jcs::check(bytes).is_ok(),
                frame::read(bytes).is_ok(), State::decode(bytes).is_ok(), enrol::note_of(bytes).is_some(),
            );
            prop_assert_eq!((told.0, told.1), (false, false));
        }
        prop_assert!(Header::parse(&text).is_err());
        prop_assert!(Vkey::parse(&text).is_err());
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.to_string(), text.clone());
        }
        prop_assert!(Proof::parse(&text).is_err());
        if let Some(head) = Checkpoint::from_line(&text) {
            prop_assert_eq!(head.to_string(), text);
        }
    }

    #[test]
    fn the_verifier_does_not_panic(lines in vec(prop_oneof![
        vec(any::<u8>(), 0..60),
        Just(br#"{"sigtrail":"seal/v1","header":"","proof":""}"#.to_vec()),
        Just(br#"{"sigtrail":"redacted/v1","leaf":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#.to_vec()),
        Just(br#"{"kind":"enrol","note":""}"#.to_vec()),
    ], 0..12)) {
        let mut verifier = seal::Verifier::new(seal::Trust::default());
        verifier.read(lines.join(&b'\n').as_slice()).unwrap();
        prop_assert!(verifier.finish().verdict() != seal::Verdict::Verified);
    }
}

/// A request of a log to a witness, with signatures of any kind.
fn add_checkpoint() -> impl Strategy<Value = AddCheckpoint> {
    let parts = (any::<u64>(), any::<u64>(), vec(any::<[u8; 32]>(), 0..=63), origin(), any::<[u8; 32]>());
    (parts, vec(plain(), 0..3), vec(signature("log.example".to_owned()), 1..4)).prop_map(
        |((one, other, proof, origin, root), extensions, signatures)| {
            let checkpoint = Checkpoint { origin, size: one.max(other), root };
            let extensions = extensions.iter().map(|line| line.clone() + "\n").collect::<String>();
            let note = Note { text: checkpoint.text() + &extensions, signatures };
            AddCheckpoint { old: one.min(other), proof, note, checkpoint }
        },
    )
}

/// A policy whose quorum is a group of all of its witnesses, and whether that many cosigned.
fn policy() -> impl Strategy<Value = (String, usize, usize)> {
    (1..20_usize).prop_flat_map(|count| (Just(count), 1..=count)).prop_map(|(count, least)| {
        let key = |n: usize| Witness::new("w.example", &[n as u8 + 1; 32]).unwrap().key().to_string();
        let lines = (0..count).map(|n| format!("witness w{n} {}\n", key(n))).collect::<Vec<_>>().concat();
        let names = (0..count).map(|n| format!(" w{n}")).collect::<Vec<_>>().concat();
        (format!("{lines}group all {least}{names}\nquorum all\n"), count, least)
    })
}

proptest! {
    #[test]
    fn requests_to_a_witness_come_back(request in add_checkpoint(), at: prop::sample::Index, flip in 1..=255_u8) {
        let text = request.to_string();
        prop_assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(request));
        let mut changed = text.into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        // what is still read has one spelling, so that it writes back to the changed bytes
        if let Ok(read) = AddCheckpoint::parse(&changed) {
            prop_assert_eq!(read.to_string().into_bytes(), changed);
        }
    }

    #[test]
    fn receipts_come_back_and_no_changed_one_verifies(
        secret: [u8; 32], size: u64, time in 0..=i64::MAX.cast_unsigned(), text in "[a-z]{1,9}\n",
        at: prop::sample::Index, flip in 1..=255_u8,
    ) {
        let witness = Witness::new("w.example", &secret).unwrap();
        let receipt = Receipt { size, cosignature: witness.cosign(&text, time) };
        let line = receipt.to_string();
        prop_assert_eq!(Receipt::parse(&line), Some(receipt.clone()));
        prop_assert_eq!(witness.key().verify(&text, &receipt.cosignature), Some(time));
        let key = witness.key().to_string();
        prop_assert_eq!(WitnessKey::parse(&key), Ok(witness.key().clone()));
        let mut changed = receipt.cosignature.clone();
        let at = at.index(changed.bytes.len());
        changed.bytes[at] ^= flip;
        prop_assert_eq!(witness.key().verify(&text, &changed), None);
        let mut other = line.into_bytes();
        let at = at % other.len();
        other[at] ^= flip;
        if let Some((read, text)) = String::from_utf8(other).ok().and_then(|text| Some((Receipt::parse(&text)?, text))) {
            prop_assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn a_quorum_is_so_many_of_its_members(
        (text, count, least) in policy(), cosigned: u32, at: prop::sample::Index, flip in 1..=255_u8,
    ) {
        let read = Policy::parse(text.as_bytes()).unwrap();
        let have = (0..count).filter(|n| cosigned >> n & 1 == 1).count();
        prop_assert_eq!(read.is_met(|n| cosigned >> n & 1 == 1), have >= least);
        let mut changed = text.into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        drop(Policy::parse(&changed));
    }

    #[test]
    fn no_bytes_make_the_witness_panic(bytes in vec(any::<u8>(), 0..300)) {
        drop(AddCheckpoint::parse(&bytes));
        drop(Policy::parse(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        drop((Receipt::parse(&text), WitnessKey::parse(&text)));
        drop(AddCheckpoint::parse(format!("old 1\n\n{text}").as_bytes()));
    }
}
