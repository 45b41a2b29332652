//! What a fleet is rolled out and watched with: the Ansible role, alerts, a dashboard, snippets for other tools. All of it
//! is run or checked by the program that reads it.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod alarms;
mod node;
mod role;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file or directory of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// A program that `cargo xtask setup` installs for these tests.
fn tool(program: &str) -> Command {
    let path = repository("target/tools/fleet/bin").join(program);
    assert!(path.is_file(), "{} is not there: run `cargo xtask setup`", path.display());
    Command::new(path)
}
