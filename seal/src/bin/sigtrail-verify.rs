//! Verifies a sealed log of sigtrail: the auditor's program, with nothing of the agent in it.

use std::process::ExitCode;

use clap::Parser;
use seal::cli::Auditor;

fn main() -> ExitCode {
    match Auditor::try_parse() {
        Ok(line) => seal::cli::verify(&line.verify),
        Err(error) => {
            let code = if error.use_stderr() { 3 } else { 0 };
            match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(3),
            }
        }
    }
}
