//! Why the kernel refused something, in words.

use std::io;

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::SourceError;

/// The object as a whole was refused.
pub fn load_error(error: EbpfError) -> SourceError {
    let denied = |error: &io::Error| error.raw_os_error() == Some(nix::libc::EPERM);
    match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) if denied(io_error) => SourceError::NotPermitted,
        _ => SourceError::Load(error),
    }
}

/// Why a program was refused, in one line.
pub fn refusal(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(nix::libc::EPERM) => {
            "not permitted: CAP_PERFMON or CAP_BPF is missing, or the kernel forbids programs of this type".to_owned()
        }
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let numbers = ["processed", "stack depth", "verification time"];
            let says = |line: &&str| !line.is_empty() && !numbers.iter().any(|it| line.starts_with(it));
            let why = log.lines().rev().find(says);
            format!("{io_error}: {}", why.unwrap_or("the verifier says nothing"))
        }
        other => chain(other),
    };
    text.chars().take(400).collect()
}

/// Whether a right was missing.
pub fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.raw_os_error() == Some(nix::libc::EPERM)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
