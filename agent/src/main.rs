//! Command line → library → exit code.

use std::process::ExitCode;

/// libc's allocator keeps what each thread once used, and what the start needed: a third of the agent's memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sigtrail::cli::main()
}
