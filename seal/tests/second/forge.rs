//! Batches as somebody signs them who has keys: the seal of an honest batch with another header.

use seal::header::Header;
use seal::line::SealLine;
use seal::proof::{Checkpoint, Proof};
use seal::{HostKey, tree};

/// The batch with these lines and its header changed by a function, signed by the two keys.
pub fn reseal(
    batch: &[u8],
    events: &[&[u8]],
    host: &HostKey,
    chain: &HostKey,
    change: impl Fn(&mut Header),
) -> Vec<u8> {
    let change = |text: String| {
        let mut header = Header::parse(&text).unwrap();
        change(&mut header);
        header.to_string()
    };
    let mut bytes = events.iter().flat_map(|event| [event, b"\n".as_slice()].concat()).collect::<Vec<_>>();
    bytes.extend(seal_line(seal_of(batch).1, host, chain, &change));
    bytes
}

/// The batch with the text of its header changed by a function, signed by the two keys.
pub fn respell(batch: &[u8], keys: &(HostKey, HostKey), change: &dyn Fn(String) -> String) -> Vec<u8> {
    let (events, seal) = seal_of(batch);
    [events, &seal_line(seal, &keys.0, &keys.1, change)].concat()
}

/// The event lines and the seal line of a batch.
pub fn seal_of(batch: &[u8]) -> (&[u8], &[u8]) {
    let start = batch[..batch.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    batch.split_at(start)
}

fn seal_line(line: &[u8], host: &HostKey, chain: &HostKey, change: &dyn Fn(String) -> String) -> Vec<u8> {
    let SealLine { header, proof } = SealLine::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
    let Proof { index, path, checkpoint: Checkpoint { origin, size, .. }, .. } = Proof::parse(&proof).unwrap();
    let header = change(header);
    let mut log = tree::Range::from_path(index, &path).unwrap();
    log.push(tree::leaf(header.as_bytes()));
    let checkpoint = Checkpoint { origin, size, root: log.root() };
    let signatures = [host, chain].map(|key| key.sign(&checkpoint.text())).to_vec();
    SealLine { header, proof: Proof { index, path, checkpoint, signatures }.to_string() }.write()
}
