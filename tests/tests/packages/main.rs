//! What people install: made, checked by the tools of their systems, and installed for real in a copy of this host.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod install;
mod lint;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::host::{Ran, run};

/// The folder of the packages.
fn packages() -> PathBuf {
    let folder = env::var_os("SIGTRAIL_PACKAGES");
    folder.unwrap_or_else(|| panic!("SIGTRAIL_PACKAGES names no folder: run `cargo xtask test`")).into()
}

/// The packages with this ending.
fn all(ending: &str) -> Vec<PathBuf> {
    let children = fs::read_dir(packages()).unwrap().map(|child| child.unwrap().path());
    let mut found: Vec<_> = children.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {}", packages().display());
    found
}

/// Runs a script in a copy of this host.
fn scene(script: &str) -> Ran {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/scene.sh");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh"]).arg(set).arg(packages()).arg(script);
    run(&mut unshare)
}

/// Runs a script in a copy of this host, which must come to its end, and returns what it printed.
#[track_caller]
fn done(script: &str) -> String {
    let ran = scene(script);
    assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.out, ran.err);
    ran.out + &ran.err
}
