//! What can go wrong in a command of the project, and what the person at the keyboard can do about it.

use std::{fmt, io, path::PathBuf, process::ExitStatus};

/// Why a verb ended early.
#[derive(Debug)]
pub enum Error {
    /// The command line was not understood.
    Usage(lexopt::Error),
    /// Something the machine has to have is not there; `remedy` is what to type.
    Missing { what: String, remedy: String },
    /// A program could not be started at all.
    Start { doing: String, command: String, source: io::Error },
    /// A program ran and said no.
    Command { doing: String, command: String, status: ExitStatus, remedy: Option<String> },
    /// A file or folder could not be read or written.
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// A built file is not what it has to be.
    Artifact { path: PathBuf, defect: &'static str },
    /// Rules of the project are broken; each was printed where it was found.
    Rules(usize),
    /// Tests failed; cargo printed which.
    Tests(usize),
    /// What fuzzing found, a line for each target.
    Fuzz(Vec<String>),
    /// A log did not verify, or the agent did not end well.
    Run(&'static str),
}

impl Error {
    /// The exit code of the process: 2 for a command line that was not understood, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    /// Wraps an I/O error, for `map_err`.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}\n\ntype: cargo xtask help"),
            Self::Missing { what, remedy } => write!(f, "{what}\n\ntype:\n{remedy}"),
            Self::Start { doing, command, source } => write!(f, "{doing}: cannot start: {source}\n  {command}"),
            Self::Command { doing, command, status, remedy } => {
                write!(f, "{doing}: {status}\n  {command}")?;
                remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "\n\n{remedy}"))
            }
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Artifact { path, defect } => write!(f, "{}: {defect}", path.display()),
            Self::Rules(count) => write!(f, "broken rules: {count}"),
            Self::Tests(count) => write!(f, "failed tests: {count}"),
            Self::Fuzz(found) => write!(f, "fuzz: {}", found.join("\n")),
            Self::Run(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
