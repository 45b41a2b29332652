//! The newest checkpoint of a log that this witness cosigned (C2SP tlog-witness): never an older one, never one that is
//! not shown to continue it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use seal::{
    Vkey,
    add_checkpoint::{AddCheckpoint, checkpoint},
    cosign::Witness,
    note::Note,
    proof::Checkpoint,
    tree::is_consistent,
};

use crate::{now, store::replace};

/// The file with the checkpoint and its cosignature.
const NAME: &str = "cosigned";

/// Why a checkpoint is not cosigned: the answers of tlog-witness.
#[derive(Debug)]
pub enum Refusal {
    /// 403: no signature by a key that is trusted for the log.
    Key,
    /// 409: the witness knows this size.
    Size(u64),
    /// 409: another tree of the same size is cosigned.
    Root,
    /// 422: the proof shows nothing.
    Proof,
    /// 500: it cannot be made durable.
    Disk(io::Error),
}

/// The newest cosigned checkpoint of a log, on disk.
#[derive(Debug)]
pub struct Cosigned {
    dir: PathBuf,
    newest: Option<(Checkpoint, Note)>,
}

impl Cosigned {
    /// Reads what is in the directory of the log.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let newest = match fs::read_to_string(dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
            Ok(text) => {
                let read = Note::parse(&text).ok().and_then(|note| Some((checkpoint(&note.text)?, note)));
                // without it the witness would cosign a second history: better none at all
                let broken = || io::Error::other(format!("{} is no checkpoint", dir.join(NAME).display()));
                Some(read.ok_or_else(broken)?)
            }
        };
        Ok(Self { dir: dir.to_owned(), newest })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.newest.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// The checkpoint with its cosignature.
    pub fn note(&self) -> Option<&Note> {
        self.newest.as_ref().map(|(_, note)| note)
    }

    /// Its size; 0 if there is none.
    pub fn size(&self) -> u64 {
        self.checkpoint().map_or(0, |checkpoint| checkpoint.size)
    }

    /// Cosigns a checkpoint that the caller has shown to continue the newest one; durable when it returns Ok.
    pub fn cosign(&mut self, text: &str, witness: &Witness) -> io::Result<&Note> {
        let checkpoint = checkpoint(text).ok_or_else(|| io::Error::other("no checkpoint"))?;
        let note = Note { text: text.to_owned(), signatures: vec![witness.cosign(text, now().as_secs())] };
        replace(&self.dir, NAME, note.to_string().as_bytes())?;
        Ok(&self.newest.insert((checkpoint, note)).1)
    }

    /// Checks a request of `add-checkpoint` in the order of tlog-witness.
    pub fn check(&self, request: &AddCheckpoint, keys: &[Vkey]) -> Result<(), Refusal> {
        if !keys.iter().any(|key| request.note.verify(key).is_ok()) {
            return Err(Refusal::Key);
        }
        if request.old != self.size() {
            return Err(Refusal::Size(self.size()));
        }
        let new = &request.checkpoint;
        let old_root = self.checkpoint().map_or(new.root, |old| old.root);
        if self.newest.is_some() && new.size == request.old && new.root != old_root {
            return Err(Refusal::Root);
        }
        if !is_consistent(request.old, old_root, new.size, new.root, &request.proof) {
            return Err(Refusal::Proof);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use seal::{HostKey, tree};

    use super::*;

    #[test]
    fn answers_are_those_of_tlog_witness() {
        let dir = tempfile::tempdir().unwrap();
        let (log, other) = (HostKey::new("log.example/a", &[1; 32]).unwrap(), HostKey::new("b", &[2; 32]).unwrap());
        let witness = Witness::new("witness.example", &[3; 32]).unwrap();
        let leaves: Vec<_> = (0..4_u8).map(|n| tree::leaf(&[n])).collect();
        let grow = |count: usize| {
            let mut range = tree::Range::new();
            leaves[..count].iter().for_each(|leaf| range.push(*leaf));
            range.root()
        };
        let request = |old: u64, size: u64, root: [u8; 32], proof: &[[u8; 32]], key: &HostKey| {
            let text = Checkpoint { origin: "log.example/a".into(), size, root }.text();
            let note = Note { signatures: vec![key.sign(&text)], text };
            let checkpoint = checkpoint(&note.text).unwrap();
            let asked = AddCheckpoint { old, proof: proof.to_vec(), note, checkpoint };
            assert_eq!(AddCheckpoint::parse(asked.to_string().as_bytes()), Ok(asked.clone()));
            asked
        };
        let keys = [log.vkey().clone()];
        let mut cosigned = Cosigned::open(dir.path()).unwrap();
        let first = request(0, 2, grow(2), &[], &log);
        assert!(matches!(cosigned.check(&request(0, 2, grow(2), &[], &other), &keys), Err(Refusal::Key)));
        assert!(matches!(cosigned.check(&request(1, 2, grow(2), &[], &log), &keys), Err(Refusal::Size(0))));
        cosigned.check(&first, &keys).unwrap();
        cosigned.cosign(&first.note.text, &witness).unwrap();

        // as it is after a restart
        let mut cosigned = Cosigned::open(dir.path()).unwrap();
        assert!(matches!(cosigned.check(&first, &keys), Err(Refusal::Size(2))));
        assert!(matches!(cosigned.check(&request(2, 2, grow(3), &[], &log), &keys), Err(Refusal::Root)));
        cosigned.check(&request(2, 2, grow(2), &[], &log), &keys).unwrap();
        assert!(matches!(cosigned.check(&request(2, 4, grow(4), &[], &log), &keys), Err(Refusal::Proof)));
        let right = tree::node(&leaves[2], &leaves[3]);
        let second = request(2, 4, grow(4), &[right], &log);
        cosigned.check(&second, &keys).unwrap();
        let note = cosigned.cosign(&second.note.text, &witness).unwrap();
        assert!(witness.key().verify(&note.text, &note.signatures[0]).is_some());
    }
}
