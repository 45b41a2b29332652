//! `sigtrail fleet`: the operator's key, which stays off the hosts. With it he says which hosts exist, and which keys do
//! not count any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::enrol::{EnrolError, Enrolment};
use crate::key::HostKey;
use crate::note::{Note, NoteError, Vkey};
use crate::revocation::Revocation;
use crate::text::{base64, unbase64_hash};

/// What to do with the key.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetVerb {
    /// Make a key, and print its public half: what receivers and auditors have to know
    New {
        /// Its name: a URL without its scheme, for example audit.example.org/fleet
        name: String,
        /// The file that gets the secret key; it must not exist
        file: PathBuf,
    },
    /// Add the signature of the fleet to an enrolment note, and print it: the host is vouched for
    Sign {
        /// The file with the secret key
        #[arg(long, value_name = "FILE")]
        fleet: PathBuf,
        /// What `sigtrail enroll` printed on the host
        #[arg(value_name = "NOTE")]
        note: PathBuf,
    },
    /// Print a note that revokes a host key: it signs for batches up to the one that is named, and for none behind it
    Revoke {
        /// The file with the secret key
        #[arg(long, value_name = "FILE")]
        fleet: PathBuf,
        /// The last batch that counts
        #[arg(long, value_name = "BATCH")]
        after: u64,
        /// The public host key (name+id+key)
        #[arg(value_name = "VKEY")]
        hostkey: String,
    },
}

/// Why it cannot be done.
#[derive(Debug, Error)]
enum FleetError {
    /// A file cannot be used.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// The file holds no key.
    #[error("{0} is no fleet key: a line `<name> <32 bytes in base64>` is expected, as `sigtrail fleet new` writes it")]
    Secret(PathBuf),
    /// The name cannot be one, or the text is no key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// What is to be signed is no enrolment note of a host.
    #[error(transparent)]
    Enrolment(#[from] EnrolError),
    /// The output cannot be written.
    #[error("cannot write the note: {0}")]
    Output(#[source] io::Error),
}

/// Does it, and prints the result; the exit code is 0, or 3 for what cannot be done.
pub fn fleet(verb: &FleetVerb) -> ExitCode {
    let printed = text(verb).and_then(|text| io::stdout().write_all(text.as_bytes()).map_err(FleetError::Output));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sigtrail fleet: {error}");
            ExitCode::from(3)
        }
    }
}

fn text(verb: &FleetVerb) -> Result<String, FleetError> {
    match verb {
        FleetVerb::New { name, file } => make(name, file),
        FleetVerb::Sign { fleet, note } => {
            let fleet = secret(fleet)?;
            let text = fs::read_to_string(note).map_err(failed(note))?;
            Enrolment::verify(&text)?;
            let mut note = Note::parse(&text)?;
            note.signatures.push(fleet.sign(&note.text));
            Ok(note.to_string())
        }
        FleetVerb::Revoke { fleet, after, hostkey } => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let hostkey = Vkey::parse(hostkey)?;
            Ok(Revocation { hostkey, after: *after, time: now.as_nanos() as u64 }.sign(&secret(fleet)?))
        }
    }
}

/// Makes a key of the kernel's random numbers (random(4)).
fn make(name: &str, path: &Path) -> Result<String, FleetError> {
    let mut bytes = Zeroizing::new([0; 32]);
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut *bytes)).map_err(failed(path))?;
    let key = HostKey::new(name, &bytes)?;
    let line = Zeroizing::new(format!("{name} {}\n", *Zeroizing::new(base64(&*bytes))));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all())).map_err(failed(path))?;
    Ok(format!("{}\n", key.vkey()))
}

fn secret(path: &Path) -> Result<HostKey, FleetError> {
    let line = Zeroizing::new(fs::read_to_string(path).map_err(failed(path))?);
    let (name, key) = line.trim_end().split_once(' ').ok_or_else(|| FleetError::Secret(path.into()))?;
    let key = Zeroizing::new(unbase64_hash(key).ok_or_else(|| FleetError::Secret(path.into()))?);
    Ok(HostKey::new(name, &key)?)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FleetError {
    let path = path.to_owned();
    move |error| FleetError::File { path, error }
}
