//! The secret files of the log, in the state directory: the host key, and the state of the chain.
//!
//! ```text
//! keys/host   the host key: 32 bytes in base64, mode 0600
//! chain       two slots of 4096 bytes, overwritten in place (see `seal::state`), mode 0600
//! origin      the name of the log; host.vkey: the public half of the host key
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use nix::fcntl::OFlag;
use seal::{
    HostKey, Seed, Slot, State,
    note::NoteError,
    state::{SLOT, StateError},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// What went wrong with the secret files.
#[derive(Debug, Error)]
pub enum KeysError {
    /// There are none yet.
    #[error("{0} holds no keys: run `sigtrail enroll` first")]
    NotEnrolled(PathBuf),
    /// There are some already.
    #[error("{0} holds keys already; to begin a new log, move the directory away first")]
    Enrolled(PathBuf),
    /// A file could not be used.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host key file does not hold a key.
    #[error("{0} is no host key: expected 32 bytes in base64")]
    HostKey(PathBuf),
    /// Neither slot holds a state.
    #[error("{path}: {source}; the log cannot go on from here: enrol anew")]
    Chain {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StateError,
    },
    /// The origin cannot name a log.
    #[error("`{0}` cannot name a log: use letters, digits, `.`, `-`, `_` and `/`, no blanks and no `+`")]
    Origin(String),
    /// The origin cannot be used as a key name.
    #[error("making the keys: {0}")]
    Note(#[from] NoteError),
}

/// The secret files of one log.
#[derive(Debug)]
pub struct Keys {
    dir: PathBuf,
    chain: File,
    slot: Slot,
}

impl Keys {
    /// Makes new keys. The log begins with the state that comes with them.
    pub fn make(dir: &Path, origin: &str) -> Result<(HostKey, Seed, State), KeysError> {
        let secret = dir.join("keys");
        let builder = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        builder(&secret).map_err(failed("creating", &secret))?;
        let host_path = secret.join("host");
        if host_path.exists() {
            return Err(KeysError::Enrolled(dir.into()));
        }
        let host = HostKey::new(origin, &*random()?).map_err(|_| KeysError::Origin(origin.into()))?;
        let seed = Seed::new(*random()?);
        let state = State::genesis(host.vkey(), seed.clone()).map_err(|_| KeysError::Origin(origin.into()))?;
        let chain_path = dir.join("chain");
        let mut chain = create(&chain_path, 0o600)?;
        let mut slots = Zeroizing::new(vec![0; 2 * SLOT]);
        slots[..SLOT].copy_from_slice(&*state.encode());
        chain.write_all(&slots).and_then(|()| chain.sync_all()).map_err(failed("writing", &chain_path))?;
        write(&dir.join("origin"), format!("{origin}\n").as_bytes(), 0o644)?;
        write(&dir.join("host.vkey"), format!("{}\n", host.vkey()).as_bytes(), 0o644)?;
        // last: with it the directory counts as enrolled
        let text = Zeroizing::new(Base64::encode_string(&*host.secret()) + "\n");
        write(&host_path, text.as_bytes(), 0o600)?;
        let parent = File::open(dir).and_then(|dir| dir.sync_all());
        parent.map_err(failed("syncing", dir))?;
        Ok((host, seed, state))
    }

    /// Opens the keys that are there.
    pub fn open(dir: &Path) -> Result<(Self, HostKey, State), KeysError> {
        let host_path = dir.join("keys/host");
        if !host_path.exists() {
            return Err(KeysError::NotEnrolled(dir.into()));
        }
        let chain_path = dir.join("chain");
        let chain = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_DSYNC | OFlag::O_NOFOLLOW).bits())
            .open(&chain_path)
            .map_err(failed("opening", &chain_path))?;
        let mut slots = Zeroizing::new(vec![0; 2 * SLOT]);
        chain.read_exact_at(&mut slots, 0).map_err(failed("reading", &chain_path))?;
        let (state, slot) = State::newest(&slots[..SLOT], &slots[SLOT..])
            .map_err(|source| KeysError::Chain { path: chain_path.clone(), source })?;
        let text = Zeroizing::new(fs::read(&host_path).map_err(failed("reading", &host_path))?);
        let bad = || KeysError::HostKey(host_path.clone());
        let mut secret = Zeroizing::new([0; 32]);
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        if Base64::decode(text, &mut *secret).map_err(|_| bad())?.len() != 32 {
            return Err(bad());
        }
        let host = HostKey::new(state.origin(), &secret)?;
        Ok((Self { dir: dir.into(), chain, slot }, host, state))
    }

    /// Writes the state over the older slot, then wipes the one before: the old seed is gone.
    pub fn save(&mut self, state: &State) -> Result<(), KeysError> {
        let put = |slot: Slot, bytes: &[u8]| {
            let at = if slot == Slot::A { 0 } else { SLOT as u64 };
            self.chain.write_all_at(bytes, at).map_err(failed("writing", &self.dir.join("chain")))
        };
        let next = self.slot.other();
        put(next, &*state.encode())?;
        put(self.slot, &seal::state::WIPED)?;
        self.slot = next;
        Ok(())
    }
}

/// 32 bytes from the kernel's random number generator (`/dev/urandom`, see random(4)).
fn random() -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = Zeroizing::new([0; 32]);
    File::open(path).and_then(|mut file| file.read_exact(&mut *bytes)).map_err(failed("reading", path))?;
    Ok(bytes)
}

fn create(path: &Path, mode: u32) -> Result<File, KeysError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode).custom_flags(OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(failed("creating", path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeysError> {
    let mut file = create(path, mode)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("writing", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_path_buf();
    move |source| KeysError::Io { doing, path, source }
}
