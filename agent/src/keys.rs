//! The secret files of the log, in the state directory: the host key, and the state of the chain.
//!
//! ```text
//! keys/host        the host key: 32 bytes in base64, mode 0600; or `credential NAME`: systemd hands it to the service
//! keys/host.next   the one that takes its place with the next batch, if there is one
//! chain            two slots of 4096 bytes, overwritten in place (see `seal::state`), mode 0600; locked while in use
//! origin           the name of the log
//! host.vkey        the public halves of all host keys that the log had, a line each
//! enrolment        the enrolment note
//! previous         the last head of the log before this one, if there was one
//! ```

use std::{
    env,
    fs::TryLockError,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use seal::{
    HostKey, Seed, Slot, State, Vkey,
    enrol::EnrolError,
    note::NoteError,
    proof::Checkpoint,
    state::{SLOT, StateError},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::disk::{self, File};

/// The secret host key, in the state directory.
const HOST: &str = "keys/host";
/// The secret host key that is to take its place, in the state directory.
const NEXT: &str = "keys/host.next";
/// The name of the log, in the state directory.
const ORIGIN: &str = "origin";
/// The public host keys, in the state directory.
const VKEYS: &str = "host.vkey";
/// The enrolment note, in the state directory.
const NOTE: &str = "enrolment";
/// The last head of the log before this one, in the state directory.
const PREVIOUS: &str = "previous";
/// The state of the chain, in the state directory.
const CHAIN: &str = "chain";

/// What went wrong with the secret files.
#[derive(Debug, Error)]
pub enum KeysError {
    /// There are none yet.
    #[error("{0} holds no keys: run `sigtrail enroll` first")]
    NotEnrolled(PathBuf),
    /// There are some already.
    #[error("{0} holds keys already; `sigtrail enroll --again` ends their log and begins another one")]
    Enrolled(PathBuf),
    /// A new host key waits already.
    #[error("{0} waits already to take the place of the host key: it does with the next batch of a running agent")]
    Waiting(PathBuf),
    /// Another process holds the lock: two that sign with one state would fork the log.
    #[error("another agent uses {0}")]
    InUse(PathBuf),
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
    #[error("{0} is no host key: expected 32 bytes in base64, or `credential` and its name")]
    HostKey(PathBuf),
    /// The host key is a credential, and this process has none.
    #[error(
        "the host key is the credential `{0}` of the service, and $CREDENTIALS_DIRECTORY is not set: start the agent by \
         its unit, with LoadCredential= or LoadCredentialEncrypted="
    )]
    NoCredentials(String),
    /// Neither slot holds a state.
    #[error("{path}: {source}; the log cannot go on from here: enrol anew")]
    Chain {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StateError,
    },
    /// A newer program keeps its log here.
    #[error("{0} was written by a newer version of sigtrail, which this one would damage: run the newer one")]
    Newer(PathBuf),
    /// The origin cannot name a log.
    #[error("`{0}` cannot name a log: use letters, digits, `.`, `-`, `_` and `/`, no blanks and no `+`")]
    Origin(String),
    /// The enrolment note cannot be made.
    #[error("making the enrolment note: {0}")]
    Enrol(#[from] EnrolError),
    /// The origin cannot be used as a key name.
    #[error("making the keys: {0}")]
    Note(#[from] NoteError),
}

/// The secret files of one log. While they are open, nobody else can open them.
#[derive(Debug)]
pub struct Keys {
    dir: PathBuf,
    chain: File,
    slot: Slot,
}

impl Keys {
    /// Makes new keys, and the enrolment note that `describe` makes of them. The log begins with the state that comes with
    /// them. `again`: those that are there go.
    pub fn make(
        dir: &Path,
        origin: &str,
        again: bool,
        describe: impl FnOnce(&HostKey, &Seed) -> Result<String, EnrolError>,
    ) -> Result<(HostKey, String, State), KeysError> {
        let secret = dir.join("keys");
        disk::make_dir(&secret, 0o700).map_err(failed("creating", &secret))?;
        let host_path = dir.join(HOST);
        // asked before the lock, so that a running agent is told as what it is, and again after it
        let is_enrolled =
            || if !again && disk::exists(&host_path) { Err(KeysError::Enrolled(dir.into())) } else { Ok(()) };
        is_enrolled()?;
        let chain_path = dir.join(CHAIN);
        let chain = lock(dir, true)?;
        is_enrolled()?;
        let host = HostKey::new(origin, &*random()?).map_err(|_| KeysError::Origin(origin.into()))?;
        let seed = Seed::new(*random()?);
        let state = State::genesis(host.vkey(), seed.clone()).map_err(|_| KeysError::Origin(origin.into()))?;
        let note = describe(&host, &seed)?;
        let mut slots = Zeroizing::new(vec![0; 2 * SLOT]);
        slots[..SLOT].copy_from_slice(&*state.encode());
        chain.write_all_at(&slots, 0).map_err(failed("writing", &chain_path))?;
        write(dir, ORIGIN, format!("{origin}\n").as_bytes())?;
        write(dir, VKEYS, format!("{}\n", host.vkey()).as_bytes())?;
        write(dir, NOTE, note.as_bytes())?;
        disk::sync_dir(dir).and_then(|()| disk::sync_name(dir)).map_err(failed("syncing", dir))?;
        disk::remove_if_there(&dir.join(NEXT)).map_err(failed("removing", &dir.join(NEXT)))?;
        // last: with it the directory counts as enrolled
        write_host(dir, HOST, &host)?;
        Ok((host, note, state))
    }

    /// The last head of the log that ends here, before [`Keys::make`] makes another; none if the chain cannot be read. It is
    /// written down, and is that of the log before as long as the chain has no batch: a making that was cut off is no log.
    /// No agent may run.
    pub fn end(dir: &Path) -> Result<Option<Checkpoint>, KeysError> {
        let state = match open_chain(dir) {
            Ok((_, state, _)) => state,
            Err(KeysError::NotEnrolled(_) | KeysError::Chain { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if state.batch() == 0 {
            let line = read_if_there(&dir.join(PREVIOUS))?;
            return Ok(line.and_then(|line| Checkpoint::from_line(line.trim_end())));
        }
        let head = Checkpoint { origin: state.origin().into(), size: state.batch(), root: state.log().root() };
        let written = disk::replace(dir, PREVIOUS, format!("{head}\n").as_bytes());
        written.map_err(failed("writing", &dir.join(PREVIOUS)))?;
        Ok(Some(head))
    }

    /// The public files, which belong to the log: other keys are for another log.
    pub fn public(dir: &Path) -> [PathBuf; 2] {
        [dir.join(VKEYS), dir.join(NOTE)]
    }

    /// Opens the keys that are there.
    pub fn open(dir: &Path) -> Result<(Self, HostKey, State), KeysError> {
        let (chain, state, slot) = open_chain(dir)?;
        let path = dir.join(HOST);
        // who made it may have been killed, or told of an error, before its name was durable
        disk::sync_name(&path).map_err(failed("syncing", &path))?;
        let host = read_host(&path, state.origin())?;
        let keys = Self { dir: dir.into(), chain, slot };
        // The write of this state may have been cut off by a kill, or have failed: then it is in memory only, and the other
        // slot has the last durable one. The same bytes in the same place cannot be torn into something else.
        keys.put(slot, &*state.encode())?;
        Ok((keys, host, state))
    }

    /// Keeps everybody else from opening the keys while this is there. They need not be whole, only not of a newer format.
    pub fn hold(dir: &Path) -> Result<File, KeysError> {
        let chain = lock(dir, false)?;
        match newest(&chain, dir) {
            Err(error @ KeysError::Newer(_)) => Err(error),
            Ok(_) | Err(_) => Ok(chain),
        }
    }

    /// Makes a host key that waits to take the place of the one in use. A running agent seals with both in its next
    /// batch, and from then on with the new one. Returns its public half.
    pub fn make_next(dir: &Path) -> Result<Vkey, KeysError> {
        let origin = Self::origin(dir)?.ok_or_else(|| KeysError::NotEnrolled(dir.into()))?;
        if disk::exists(&dir.join(NEXT)) {
            return Err(KeysError::Waiting(dir.join(NEXT)));
        }
        let next = HostKey::new(&origin, &*random()?)?;
        write_host(dir, NEXT, &next)?;
        Ok(next.vkey().clone())
    }

    /// The host key that waits, if there is one.
    pub fn next(&self, origin: &str) -> Result<Option<HostKey>, KeysError> {
        let path = self.dir.join(NEXT);
        if !disk::exists(&path) {
            return Ok(None);
        }
        // once a batch is signed with it the log goes on with no other: it must not be lost, whoever left it here
        disk::sync_name(&path).map_err(failed("syncing", &path))?;
        read_host(&path, origin).map(Some)
    }

    /// The host key that waited is in force: it takes its place. May be done again after a crash in between.
    pub fn turn(&self, new: &Vkey) -> Result<(), KeysError> {
        let (path, line) = (self.dir.join(VKEYS), format!("{new}\n"));
        let known = read_text(&path).map_err(failed("reading", &path))?;
        if !known.ends_with(&line) {
            write(&self.dir, VKEYS, (known + &line).as_bytes())?;
        }
        let (from, to) = (self.dir.join(NEXT), self.dir.join(HOST));
        // it is renamed already if only the sync failed
        if disk::exists(&from) {
            disk::rename(&from, &to).map_err(failed("renaming", &from))?;
        }
        disk::sync_name(&to).map_err(failed("syncing", &to))
    }

    /// The enrolment note, if it is there.
    pub fn note(&self) -> Result<Option<String>, KeysError> {
        read_if_there(&self.dir.join(NOTE))
    }

    /// The name of the log of a state directory, if it has one.
    pub fn origin(dir: &Path) -> Result<Option<String>, KeysError> {
        Ok(read_if_there(&dir.join(ORIGIN))?.map(|text| text.trim_end().to_owned()))
    }

    /// Writes the state over the older slot, then wipes the one before: the old seed is gone.
    pub fn save(&mut self, state: &State) -> Result<(), KeysError> {
        let next = self.slot.other();
        self.put(next, &*state.encode())?;
        self.put(self.slot, &seal::state::WIPED)?;
        self.slot = next;
        Ok(())
    }

    /// Overwrites a slot, durable when it returns Ok.
    fn put(&self, slot: Slot, bytes: &[u8]) -> Result<(), KeysError> {
        let at = if slot == Slot::A { 0 } else { SLOT as u64 };
        self.chain.write_all_at(bytes, at).map_err(failed("writing", &self.dir.join(CHAIN)))
    }
}

/// 32 bytes from the kernel's random number generator (`/dev/urandom`, see random(4)).
fn random() -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = Zeroizing::new([0; 32]);
    disk::open_read(path).and_then(|mut file| file.read_exact(&mut *bytes)).map_err(failed("reading", path))?;
    Ok(bytes)
}

/// Opens the chain of a log that was enrolled: its file, and the newest state with the slot that it is in.
fn open_chain(dir: &Path) -> Result<(File, State, Slot), KeysError> {
    if !disk::exists(&dir.join(HOST)) {
        return Err(KeysError::NotEnrolled(dir.into()));
    }
    let chain = lock(dir, false)?;
    let (state, slot) = newest(&chain, dir)?;
    Ok((chain, state, slot))
}

/// The newest state of a chain, with the slot that it is in.
fn newest(chain: &File, dir: &Path) -> Result<(State, Slot), KeysError> {
    let path = dir.join(CHAIN);
    let mut slots = Zeroizing::new(vec![0; 2 * SLOT]);
    chain.read_exact_at(&mut slots, 0).map_err(failed("reading", &path))?;
    State::newest(&slots[..SLOT], &slots[SLOT..]).map_err(|source| match source {
        StateError::Newer => KeysError::Newer(path),
        source => KeysError::Chain { path, source },
    })
}

/// Opens the file of the chain, each write to which is durable, and takes its lock (flock(2)). `make`: where there is none,
/// an empty one is made.
fn lock(dir: &Path, make: bool) -> Result<File, KeysError> {
    let path = dir.join(CHAIN);
    let file = disk::open_durable(&path, make).map_err(failed("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeysError::InUse(dir.into())),
        Err(TryLockError::Error(error)) => Err(failed("locking", &path)(error)),
    }
}

/// Writes a secret host key.
fn write_host(dir: &Path, name: &str, host: &HostKey) -> Result<(), KeysError> {
    let text = Zeroizing::new(Base64::encode_string(&*host.secret()) + "\n");
    disk::replace(dir, name, text.as_bytes()).map_err(failed("writing", &dir.join(name)))?;
    disk::sync_dir(&dir.join("keys")).map_err(failed("syncing", dir))
}

/// Reads a secret host key of this log: the file has it, or `credential NAME`, and systemd has it.
fn read_host(path: &Path, origin: &str) -> Result<HostKey, KeysError> {
    let text = Zeroizing::new(disk::read(path).map_err(failed("reading", path))?);
    match text.strip_prefix(b"credential ") {
        Some(name) => {
            let path = credential(path, name)?;
            let text = Zeroizing::new(disk::read(&path).map_err(failed("reading the credential", &path))?);
            decode_host(&path, &text, origin)
        }
        None => decode_host(path, &text, origin),
    }
}

/// Where systemd puts a credential of the service (systemd.exec(5), `LoadCredential=`).
fn credential(path: &Path, name: &[u8]) -> Result<PathBuf, KeysError> {
    let name = std::str::from_utf8(name.trim_ascii_end()).ok();
    let name = name.filter(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0', '\n']));
    let name = name.ok_or_else(|| KeysError::HostKey(path.into()))?;
    let dir = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| KeysError::NoCredentials(name.into()))?;
    Ok(Path::new(&dir).join(name))
}

fn decode_host(path: &Path, text: &[u8], origin: &str) -> Result<HostKey, KeysError> {
    let bad = || KeysError::HostKey(path.into());
    let mut secret = Zeroizing::new([0; 32]);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if Base64::decode(text, &mut *secret).map_err(|_| bad())?.len() != 32 {
        return Err(bad());
    }
    Ok(HostKey::new(origin, &secret)?)
}

fn read_if_there(path: &Path) -> Result<Option<String>, KeysError> {
    match read_text(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(failed("reading", path)),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(disk::read(path)?).map_err(io::Error::other)
}

/// Writes a file that is no secret.
fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), KeysError> {
    let path = dir.join(name);
    let written = disk::replace(dir, name, bytes).and_then(|()| disk::set_mode(&path, 0o644));
    written.map_err(failed("writing", &path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_path_buf();
    move |source| KeysError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use seal::{enrol::Enrolment, state::WIPED};
    use tempfile::TempDir;

    use super::*;

    fn note(host: &HostKey, seed: &Seed) -> Result<String, EnrolError> {
        Enrolment::new(host, seed, Vec::new(), 0)?.sign(host)
    }

    fn made() -> (TempDir, HostKey, State) {
        let dir = tempfile::tempdir().unwrap();
        let (host, _, state) = Keys::make(dir.path(), "log.example/a", false, note).unwrap();
        (dir, host, state)
    }

    #[test]
    fn what_was_made_is_opened_again() {
        let (dir, host, state) = made();
        let (_, opened, found) = Keys::open(dir.path()).unwrap();
        assert_eq!((opened.secret(), found), (host.secret(), state));
        let text = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(text("origin"), "log.example/a\n");
        assert_eq!(text("host.vkey"), format!("{}\n", host.vkey()));
    }

    #[test]
    fn secrets_are_for_the_owner_alone() {
        let (dir, ..) = made();
        let check = |name: &str, expected: u32| {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{name}");
        };
        check("keys", 0o700);
        check(HOST, 0o600);
        check(CHAIN, 0o600);
    }

    #[test]
    fn keys_are_made_once() {
        let (dir, host, _) = made();
        let check =
            || assert!(matches!(Keys::make(dir.path(), "log.example/b", false, note), Err(KeysError::Enrolled(_))));
        check();
        let open = Keys::open(dir.path()).unwrap();
        check();
        assert_eq!(open.1.secret(), host.secret());
    }

    #[test]
    fn an_interrupted_making_begins_anew() {
        let (dir, old, _) = made();
        fs::remove_file(dir.path().join(HOST)).unwrap();
        assert!(matches!(Keys::open(dir.path()), Err(KeysError::NotEnrolled(_))));
        let (new, _, state) = Keys::make(dir.path(), "log.example/b", false, note).unwrap();
        assert_ne!(new.secret(), old.secret());
        assert_eq!(Keys::open(dir.path()).unwrap().2, state);
    }

    #[test]
    fn names_that_no_log_can_have_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for origin in ["", "a b", "a+b", "a\nb"] {
            assert!(matches!(Keys::make(dir.path(), origin, false, note), Err(KeysError::Origin(_))), "{origin:?}");
            assert!(matches!(Keys::open(dir.path()), Err(KeysError::NotEnrolled(_))), "{origin:?}");
        }
    }

    #[test]
    fn two_agents_cannot_use_one_directory() {
        let (dir, _, state) = made();
        let mut first = Keys::open(dir.path()).unwrap().0;
        let refused = Keys::open(dir.path()).unwrap_err();
        assert!(matches!(&refused, KeysError::InUse(path) if path == dir.path()), "{refused}");
        first.save(&state).unwrap();
        drop(first);
        assert_eq!(Keys::open(dir.path()).unwrap().2, state);
    }

    #[test]
    fn a_saved_state_leaves_nothing_of_the_one_before() {
        let (dir, _, state) = made();
        let slots = || fs::read(dir.path().join(CHAIN)).unwrap();
        let whole = state.encode();
        assert_eq!(slots(), [&whole[..], &WIPED].concat());
        let mut keys = Keys::open(dir.path()).unwrap().0;
        keys.save(&state).unwrap();
        assert_eq!(slots(), [&WIPED, &whole[..]].concat());
        keys.save(&state).unwrap();
        assert_eq!(slots(), [&whole[..], &WIPED].concat());
    }

    #[test]
    fn of_two_slots_a_whole_one_is_enough() {
        let (dir, _, state) = made();
        let whole = state.encode().to_vec();
        let torn = [&whole[..100], &WIPED[100..]].concat();
        let check = |slots: [&[u8]; 2], expected: Result<&State, StateError>| {
            fs::write(dir.path().join(CHAIN), slots.concat()).unwrap();
            match Keys::open(dir.path()) {
                Ok((_, _, found)) => assert_eq!(Ok(&found), expected),
                Err(KeysError::Chain { source, .. }) => assert_eq!(Err(source), expected),
                Err(other) => panic!("{other}"),
            }
        };
        check([&whole, &torn], Ok(&state));
        check([&torn, &whole], Ok(&state));
        check([&WIPED, &whole], Ok(&state));
        check([&torn, &WIPED], Err(StateError::None));
    }

    #[test]
    fn a_damaged_host_key_is_refused() {
        let (dir, ..) = made();
        for text in ["", "AAAA", "not base64", &"A".repeat(45)] {
            fs::write(dir.path().join(HOST), text).unwrap();
            assert!(matches!(Keys::open(dir.path()), Err(KeysError::HostKey(_))), "{text}");
        }
    }
}
