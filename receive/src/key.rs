//! The key of the witness, and the lock of the state directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use nix::fcntl::{Flock, FlockArg};
use seal::{cosign::Witness, note::NoteError};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::store::replace;

/// The secret key: 32 bytes in base64.
const SECRET: &str = "witness.key";
/// The key that takes its place at the next start, if there is one.
const NEXT: &str = "witness.key.next";
/// The public halves of all keys that there were, a line each, for those who trust them; the last one signs.
const PUBLIC: &str = "witness.vkey";

/// Why there is no witness.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Another receiver uses the directory.
    #[error("another receiver uses {0}")]
    InUse(PathBuf),
    /// A file cannot be used.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no key.
    #[error("{0} is no key: expected 32 bytes in base64")]
    Secret(PathBuf),
    /// A key waits already.
    #[error("{0} waits already to take the place of the key: it does at the next start")]
    Waiting(PathBuf),
    /// The name names another key already.
    #[error("the key in {path} is called {known}: cosignatures under another name would be a stranger's")]
    Name {
        /// The public half.
        path: PathBuf,
        /// What it says.
        known: String,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Takes the lock of the directory (flock(2)); it is held as long as the answer lives.
pub fn lock(dir: &Path) -> Result<Flock<File>, KeyError> {
    let path = dir.join("lock");
    let failed = |source| KeyError::File { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| KeyError::InUse(dir.to_owned()))
}

/// The witness of a directory; its key is made when there is none, and one that waits takes its place.
pub fn witness(dir: &Path, name: &str) -> Result<Witness, KeyError> {
    let (path, next, public) = (dir.join(SECRET), dir.join(NEXT), dir.join(PUBLIC));
    let known = fs::read_to_string(&public).unwrap_or_default();
    let turns = next.exists();
    let witness = match (turns, path.exists()) {
        (true, _) => read(&next, name)?,
        (false, true) => read(&path, name)?,
        (false, false) => make(&path, name)?,
    };
    let line = format!("{}\n", witness.key());
    if !known.ends_with(&line) {
        if !turns && !known.is_empty() {
            return Err(KeyError::Name { path: public, known: known.trim_end().to_owned() });
        }
        replace(dir, PUBLIC, (known + &line).as_bytes()).map_err(failed(&public))?;
    }
    if turns {
        // nobody shall sign with the old one any more: what a rename leaves is a free block with the key in it
        if path.exists() {
            let wipe = |mut file: File| file.write_all(&[0; 45]).and_then(|()| file.sync_all());
            OpenOptions::new().write(true).open(&path).and_then(wipe).map_err(failed(&path))?;
        }
        fs::rename(&next, &path).map_err(failed(&path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir))?;
    }
    Ok(witness)
}

/// Makes a key that takes the place of the witness's at the next start. Returns its public half.
pub fn rotate(dir: &Path, name: &str) -> Result<String, KeyError> {
    let next = dir.join(NEXT);
    if next.exists() {
        return Err(KeyError::Waiting(next));
    }
    Ok(make(&next, name)?.key().to_string())
}

fn read(path: &Path, name: &str) -> Result<Witness, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    let text = Zeroizing::new(fs::read(path).map_err(failed(path))?);
    let decoded = Base64::decode(text.trim_ascii_end(), &mut *secret).map(<[u8]>::len);
    if decoded != Ok(32) {
        return Err(KeyError::Secret(path.into()));
    }
    Ok(Witness::new(name, &secret)?)
}

/// Makes a key of the kernel's random numbers (random(4)); the file is there as a whole, or not at all.
fn make(path: &Path, name: &str) -> Result<Witness, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut *secret)).map_err(failed(path))?;
    let witness = Witness::new(name, &secret)?;
    let text = Zeroizing::new(Base64::encode_string(&*secret) + "\n");
    let draft = path.with_extension("tmp");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&draft, path)).map_err(failed(path))?;
    Ok(witness)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::File { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = witness(dir.path(), "receiver.example/1").unwrap();
        let mode = fs::metadata(dir.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = witness(dir.path(), "receiver.example/1").unwrap();
        assert_eq!(again.key(), first.key());
        assert!(matches!(witness(dir.path(), "other"), Err(KeyError::Name { .. })));
        let next = rotate(dir.path(), "receiver.example/1").unwrap();
        assert!(matches!(rotate(dir.path(), "receiver.example/1"), Err(KeyError::Waiting(_))));
        let public = || fs::read_to_string(dir.path().join(PUBLIC)).unwrap();
        assert_eq!(public(), format!("{}\n", first.key()), "it is not in force yet");
        // as if the first start behind it had ended between the public half and the exchange
        let (old, waiting) = (dir.path().join(SECRET), dir.path().join(NEXT));
        let (secret, secret_of_next) = (fs::read(&old).unwrap(), fs::read(&waiting).unwrap());
        for _ in 0..2 {
            let turned = witness(dir.path(), "receiver.example/1").unwrap();
            assert_eq!(turned.key().to_string(), next);
            assert_eq!(public(), format!("{}\n{next}\n", first.key()));
            assert!(!waiting.exists() && fs::read(&old).unwrap() == secret_of_next);
            fs::write(&old, &secret).unwrap();
            fs::write(&waiting, &secret_of_next).unwrap();
        }
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(KeyError::InUse(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
