//! Command line → library → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    sigtrail::cli::main()
}
