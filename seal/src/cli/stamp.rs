//! Time stamps of RFC 3161 over heads of the log: `x` has the signed text of a checkpoint, `x.tsr` what an authority
//! answered to its hash. Whether it did is asked of openssl(1), which knows certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::UsageError;
use crate::proof::Checkpoint;

/// A head, and the time at which the authority saw it.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    /// The file.
    pub(super) name: String,
    /// What was stamped.
    pub(super) checkpoint: Checkpoint,
    /// When, as openssl writes it; `None` if the authority did not stamp this.
    pub(super) time: Option<String>,
}

/// Reads a stamp and has it checked.
pub(super) fn read(path: &Path, authority: &Path) -> Result<Stamp, UsageError> {
    let wrong = |why: &str| UsageError::Stamp { path: path.to_owned(), why: why.to_owned() };
    let head = path.to_str().and_then(|path| path.strip_suffix(".tsr")).map(PathBuf::from);
    let head =
        head.ok_or_else(|| wrong("a name that ends in .tsr is expected, and the head beside it without that"))?;
    let text = fs::read_to_string(&head).map_err(|error| wrong(&format!("its head {}: {error}", head.display())))?;
    let checkpoint = Checkpoint::parse(&text).ok_or_else(|| wrong("its head is no text of a checkpoint"))?;
    for file in [path, authority] {
        fs::metadata(file).map_err(|error| wrong(&format!("{}: {error}", file.display())))?;
    }
    let openssl = |command: &mut Command| {
        let done = command.stdin(Stdio::null()).output();
        done.map_err(|error| wrong(&format!("openssl cannot be started: {error}")))
    };
    let ts = |words: &[&str]| {
        let mut command = Command::new("openssl");
        command.arg("ts").args(words).arg("-in").arg(path);
        command
    };
    let checked = openssl(ts(&["-verify"]).arg("-data").arg(&head).arg("-CAfile").arg(authority))?;
    let told = openssl(&mut ts(&["-reply", "-text"]))?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let time = told.lines().find_map(|line| line.strip_prefix("Time stamp: ")).filter(|_| checked.status.success());
    Ok(Stamp { name: path.display().to_string(), checkpoint, time: time.map(str::to_owned) })
}
