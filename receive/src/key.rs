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
/// Its public half, for those who trust it.
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

/// The witness of a directory; its key is made when there is none.
pub fn witness(dir: &Path, name: &str) -> Result<Witness, KeyError> {
    let (path, public) = (dir.join(SECRET), dir.join(PUBLIC));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::File { path, source }
    };
    let mut secret = Zeroizing::new([0; 32]);
    if path.exists() {
        let text = Zeroizing::new(fs::read(&path).map_err(failed(&path))?);
        let decoded = Base64::decode(text.trim_ascii_end(), &mut *secret).map(<[u8]>::len);
        if decoded != Ok(32) {
            return Err(KeyError::Secret(path));
        }
    } else {
        // /dev/urandom, see random(4)
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut *secret)).map_err(failed(&path))?;
        Witness::new(name, &secret)?;
        let text = Zeroizing::new(Base64::encode_string(&*secret) + "\n");
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(failed(&path))?;
    }
    let witness = Witness::new(name, &secret)?;
    let line = format!("{}\n", witness.key());
    match fs::read_to_string(&public) {
        Ok(known) if known != line => return Err(KeyError::Name { path: public, known: known.trim_end().to_owned() }),
        Ok(_) => {}
        Err(_) => replace(dir, PUBLIC, line.as_bytes()).map_err(failed(&public))?,
    }
    Ok(witness)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let made = witness(dir.path(), "receiver.example/1").unwrap();
        let mode = fs::metadata(dir.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = witness(dir.path(), "receiver.example/1").unwrap();
        assert_eq!(again.key(), made.key());
        assert!(matches!(witness(dir.path(), "other"), Err(KeyError::Name { .. })));
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(KeyError::InUse(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
