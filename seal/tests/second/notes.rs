//! Signed notes and trees: what the crate writes, read by Python and checked by openssl; and the published examples.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use seal::note::Note;
use seal::proof::Checkpoint;
use seal::{HostKey, Vkey, tree};

/// Says for each pair of a key and a note, on a line of JSON, whether the first signature is by the key.
const NOTES: &str = "
import json, sys
import verify
for line in sys.stdin:
    key, note = json.loads(line)
    text, signatures = verify.parse_note(note)
    print(int(verify.signed_by(verify.vkey(key), signatures[0], text)))
";

/// Says for each list of leaves, in hexadecimal, the root.
const ROOTS: &str = "
import json, sys
import verify
for line in sys.stdin:
    print(verify.root_of([verify.leaf(bytes.fromhex(leaf)) for leaf in json.loads(line)]).hex())
";

/// What a script that uses `tools/verify.py` prints for lines of input.
fn python(script: &str, input: &[String]) -> Vec<String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools");
    let mut child = Command::new("python3")
        .args(["-B", "-c", script])
        .env("PYTHONPATH", tools)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 must be installed: it runs the second verifier");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Bytes that differ from case to case and are the same in each run.
fn random(n: u32, what: &str) -> [u8; 32] {
    tree::sha256(format!("{what} {n}").as_bytes())
}

#[test]
fn openssl_agrees_with_a_thousand_notes() {
    let (mut input, mut expected) = (Vec::new(), Vec::new());
    for n in 0..1000 {
        let bytes = random(n, "text");
        let key = HostKey::new(&format!("log-{n}.example/é{}", bytes[1]), &random(n, "secret")).unwrap();
        let words: Vec<_> =
            bytes.iter().take(usize::from(bytes[0] % 32) + 1).map(|byte| format!("{byte}€\n")).collect();
        let text = format!("{}\n{}", words.concat(), "\n".repeat(usize::from(bytes[2] % 3)));
        let mut note = Note { signatures: vec![key.sign(&text)], text };
        assert_eq!(Note::parse(&note.to_string()).as_ref(), Ok(&note));
        // every seventh is changed: in its text, its signature, or the key it is checked with
        let good = n % 7 != 0;
        let mut vkey = key.vkey().to_string();
        match n % 21 {
            0 => note.text.insert(0, 'x'),
            7 => note.signatures[0].bytes[usize::from(bytes[3] % 64)] ^= 1 << (bytes[4] % 8),
            14 => vkey = HostKey::new(key.vkey().name(), &bytes).unwrap().vkey().to_string(),
            _ => {}
        }
        assert_eq!(Vkey::parse(&vkey).unwrap().verifies(&note.text, &note.signatures[0]), good, "note {n}");
        input.push(serde_json::json!([vkey, note.to_string()]).to_string());
        expected.push(u8::from(good).to_string());
    }
    assert_eq!(python(NOTES, &input), expected);
}

/// The examples in `signed-note.md`, `tlog-checkpoint.md` and `tlog-witness.md` of C2SP. Their keys are not published
/// with them; a note with a published key is in `seal/src/note.rs`.
#[test]
fn the_examples_of_c2sp_are_read_to_the_byte() {
    let poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let checkpoint = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let key = HostKey::new("example.com/foo", &[1; 32]).unwrap().vkey().to_string();
    for (text, signatures) in [(poem, 1), (checkpoint, 2)] {
        let note = Note::parse(text).unwrap();
        assert_eq!((note.to_string().as_str(), note.signatures.len()), (text, signatures));
        // the second verifier reads it, and a strange key did not sign it
        assert_eq!(python(NOTES, &[serde_json::json!([key, text]).to_string()]), ["0"]);
    }
    let read = Checkpoint::parse(&Note::parse(checkpoint).unwrap().text).unwrap();
    assert_eq!((read.origin.as_str(), read.size), ("example.com/behind-the-sofa", 20_852_163));

    // the key of `signed-note.md` and its id
    let key = "e932791ae6e7a840a46164c904786426d5e7821dd8b29a00d61cae72afdd4da4";
    let vkey = Vkey::from_bytes("example.com/foo", &seal::text::unhex(key).unwrap()).unwrap();
    assert_eq!(vkey.id(), [0x53, 0x0d, 0x90, 0x3a]);
}

#[test]
fn roots_are_those_of_rfc_6962() {
    let leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let input: Vec<_> = (0..=8).map(|count| serde_json::json!(leaves[..count]).to_string()).collect();
    let roots = python(ROOTS, &input);
    // of the reference implementation, as in seal/src/tree.rs
    assert_eq!(roots[0], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(roots[3], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
    assert_eq!(roots[8], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    // and of three hundred sizes, both
    let mut range = tree::Range::new();
    let (mut input, mut expected, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..300 {
        let data = random(n, "leaf");
        range.push(tree::leaf(&data));
        all.push(seal::text::hex(&data));
        input.push(serde_json::json!(all).to_string());
        expected.push(seal::text::hex(&range.root()));
    }
    assert_eq!(python(ROOTS, &input), expected);
}
