//! Verifies a sealed log of sigtrail: the auditor's program, with nothing of the agent in it.

use std::process::ExitCode;

use clap::Parser;
use seal::cli::VerifyArgs;

/// Verify a sealed log of sigtrail
///
/// Exit code: 0 verified, 1 tampered, 2 incomplete, 3 wrong call.
#[derive(Parser)]
#[command(name = "sigtrail-verify", version)]
struct Command {
    #[command(flatten)]
    verify: VerifyArgs,
}

fn main() -> ExitCode {
    match Command::try_parse() {
        Ok(command) => seal::cli::verify(&command.verify),
        Err(error) => {
            let code = if error.use_stderr() { 3 } else { 0 };
            match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(3),
            }
        }
    }
}
