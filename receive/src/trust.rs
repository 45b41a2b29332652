//! Whom the receiver believes: the trust file, and notes that the operator's fleet key signed: enrolments of hosts, and
//! revocations of host keys.
//!
//! ```text
//! # a host that was enrolled: its vkey, whose name is the origin of its log
//! host audit.example.org/sigtrail/web-1+b57af471+AYEK…
//! # a key whose signature under an enrolment note makes the host of the note known
//! fleet fleet.example.org+12345678+AYEK…
//! # a log of somebody else that may use add-checkpoint
//! log go.sum.example+12345678+AYEK…
//! # a client certificate (SHA-256 of its DER) that alone may deliver this log; several lines: one of them
//! client audit.example.org/sigtrail/web-1 sha256:9f86…
//! ```

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use seal::{
    Revocation, Vkey,
    enrol::{Enrolment, MAX_NOTE},
    note::Note,
    revocation,
    text::unhex,
};
use thiserror::Error;

/// Why there is nobody to believe.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file or directory cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line makes no sense.
    #[error("{path}:{line}: {what}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is expected.
        what: &'static str,
    },
}

/// What is believed of one log.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The key that the host is known by.
    pub pin: Option<Vkey>,
    /// Host keys that count up to a batch only.
    pub revoked: Vec<Revocation>,
}

/// Keys and certificates by the origin they are for.
#[derive(Debug, Default)]
pub struct Trust {
    hosts: HashMap<String, Vkey>,
    logs: HashMap<String, Vec<Vkey>>,
    fleet: Vec<Vkey>,
    revoked: Vec<Revocation>,
    clients: HashMap<String, Vec<[u8; 32]>>,
}

impl Trust {
    /// Reads the trust file and the notes (files that end in `.note`) of a directory.
    pub fn load(file: Option<&Path>, notes: Option<&Path>) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(failed(path))?;
            for (number, line) in text.lines().enumerate() {
                let wrong = |what| TrustError::Line { path: path.to_owned(), line: number + 1, what };
                trust.line(line.trim()).map_err(wrong)?;
            }
        }
        if let Some(dir) = notes {
            trust.notes(dir)?;
        }
        Ok(trust)
    }

    /// What is believed of a log.
    pub fn of(&self, origin: &str) -> Known {
        let revoked = self.revoked.iter().filter(|revoked| revoked.hostkey.name() == origin);
        Known { pin: self.host(origin).cloned(), revoked: revoked.cloned().collect() }
    }

    /// The key that a host is known by.
    pub fn host(&self, origin: &str) -> Option<&Vkey> {
        self.hosts.get(origin)
    }

    /// All hosts that are known.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &Vkey)> {
        self.hosts.iter().map(|(origin, key)| (origin.as_str(), key))
    }

    /// The keys of a log that is no host of ours.
    pub fn log(&self, origin: &str) -> &[Vkey] {
        self.logs.get(origin).map_or(&[], Vec::as_slice)
    }

    /// Whether a client with this certificate (SHA-256 of its DER) may deliver the log.
    pub fn may_deliver(&self, origin: &str, certificate: Option<&[u8; 32]>) -> bool {
        let bound = self.clients.get(origin);
        bound.is_none_or(|allowed| certificate.is_some_and(|certificate| allowed.contains(certificate)))
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let key = |text: &str| Vkey::parse(text.trim()).map_err(|_| "a key of the form name+id+key is expected");
        match line.split_once(char::is_whitespace) {
            None if line.is_empty() => {}
            _ if line.starts_with('#') => {}
            Some(("host", rest)) => {
                let key = key(rest)?;
                self.hosts.insert(key.name().to_owned(), key);
            }
            Some(("fleet", rest)) => self.fleet.push(key(rest)?),
            Some(("log", rest)) => {
                let key = key(rest)?;
                self.logs.entry(key.name().to_owned()).or_default().push(key);
            }
            Some(("client", rest)) => {
                let (origin, hash) = rest.trim().split_once(' ').ok_or("an origin and sha256:<hex> are expected")?;
                let hash = hash.trim().strip_prefix("sha256:").and_then(unhex::<32>);
                let hash = hash.ok_or("sha256: and 64 lower-case hex digits are expected")?;
                self.clients.entry(origin.to_owned()).or_default().push(hash);
            }
            _ => return Err("`host`, `fleet`, `log` or `client` is expected"),
        }
        Ok(())
    }

    /// A note without a signature of the fleet is nobody's word and passed over.
    fn notes(&mut self, dir: &Path) -> Result<(), TrustError> {
        for entry in fs::read_dir(dir).map_err(failed(dir))? {
            let path = entry.map_err(failed(dir))?.path();
            let length = fs::metadata(&path).map_err(failed(&path))?.len();
            if path.extension().is_none_or(|end| end != "note") || length > MAX_NOTE as u64 {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            if text.starts_with(revocation::VERSION) {
                match Revocation::verify(&text, &self.fleet) {
                    Ok(revoked) => self.revoked.push(revoked),
                    Err(error) => tracing::warn!(path = %path.display(), %error, "revokes nothing"),
                }
                continue;
            }
            let note = Note::parse(&text).ok().filter(|note| self.fleet.iter().any(|key| note.verify(key).is_ok()));
            if let Some(enrolment) = note.and_then(|_| Enrolment::verify(&text).ok()) {
                self.hosts.insert(enrolment.hostkey.name().to_owned(), enrolment.hostkey);
            } else {
                tracing::warn!(path = %path.display(), "not an enrolment note that the fleet key signed");
            }
        }
        Ok(())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TrustError {
    let path = path.to_owned();
    move |source| TrustError::Read { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use seal::{HostKey, Seed};

    use super::*;

    #[test]
    fn keys_notes_and_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trust");
        let key = |name: &str, n| HostKey::new(name, &[n; 32]).unwrap();
        let (fleet, other) = (key("fleet.example", 1), key("other.example", 2));
        let (one, two, three) = (key("a/one", 3), key("a/two", 4), key("a/three", 5));
        let text = format!(
            "# trust\n\nhost {}\nfleet {}\nlog {}\nclient a/one sha256:{}\n",
            one.vkey(),
            fleet.vkey(),
            other.vkey(),
            "0a".repeat(32)
        );
        fs::write(&file, text).unwrap();
        for (host, by) in [(&two, &fleet), (&three, &other)] {
            let enrolment = Enrolment::new(host, &Seed::new([9; 32]), Vec::new(), 0).unwrap();
            let text = enrolment.to_string();
            let note = Note { signatures: vec![host.sign(&text), by.sign(&text)], text };
            let name = host.vkey().name().replace('/', "-") + ".note";
            fs::write(dir.path().join(name), note.to_string()).unwrap();
        }
        let trust = Trust::load(Some(&file), Some(dir.path())).unwrap();
        assert_eq!(trust.host("a/one"), Some(one.vkey()));
        assert_eq!(trust.host("a/two"), Some(two.vkey()));
        assert_eq!(trust.host("a/three"), None, "signed by a key that is no fleet key");
        assert_eq!(trust.log("other.example"), [other.vkey().clone()]);
        let revoked = |trust: &Trust| trust.of("a/two").revoked.iter().map(|it| it.after).collect::<Vec<_>>();
        assert!(revoked(&trust).is_empty());
        let word = |after| Revocation { hostkey: two.vkey().clone(), after, time: 0 };
        for (name, note) in [("1", word(7).sign(&fleet)), ("2", word(3).sign(&other)), ("3", word(4).sign(&two))] {
            fs::write(dir.path().join(name).with_extension("note"), note).unwrap();
        }
        let trust = Trust::load(Some(&file), Some(dir.path())).unwrap();
        assert_eq!(revoked(&trust), [7], "others than the fleet revoke nothing");
        assert!(trust.of("a/one").revoked.is_empty());
        assert!(trust.may_deliver("a/two", None));
        assert!(!trust.may_deliver("a/one", None) && !trust.may_deliver("a/one", Some(&[1; 32])));
        assert!(trust.may_deliver("a/one", Some(&[10; 32])));
        fs::write(&file, "host nonsense\n").unwrap();
        let error = Trust::load(Some(&file), None).unwrap_err().to_string();
        assert!(error.contains("trust:1:"), "{error}");
    }
}
