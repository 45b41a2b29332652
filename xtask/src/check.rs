//! `cargo xtask check`: the rules of the project that a program can check. A rule that is not here is an opinion.

mod layers;
mod source;
mod tracked;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use source::Source;

use crate::{
    command,
    error::Error,
    object,
    rights::Consent,
    setup::{self, Scope},
    toolchain::Toolchain,
    tree::Tree,
};

/// What CI runs, whole: everything else is in `cargo xtask test`, where a person can run it too.
const CI: &str =
    "#!/usr/bin/env bash\nset -euo pipefail\ncd \"$(dirname \"${BASH_SOURCE[0]}\")/..\"\ncargo xtask test\n";

/// All rules, whatever the first ones say; an error when one of them is broken.
pub fn run(tree: &Tree, consent: Consent) -> Result<(), Error> {
    let toolchain = setup::ensure(tree, Scope::Agent, consent)?;
    let tracked = tracked(tree)?;
    let mut broken = rules(tree, &tracked)?;
    for rule in &broken {
        println!("{rule}");
    }
    // The object first: the agent is not even linted without one.
    object::build(tree, &toolchain)?;
    for (doing, command) in &mut tools(tree, &toolchain)? {
        eprintln!("check: {doing}");
        if let Err(error) = command::run(doing, command) {
            println!("{error}");
            broken.push((*doing).to_owned());
        }
    }
    if broken.is_empty() {
        println!("check: {} files, no rule broken", tracked.len());
        return Ok(());
    }
    Err(Error::Rules(broken.len()))
}

/// The rules that need no other program.
fn rules(tree: &Tree, tracked: &[String]) -> Result<Vec<String>, Error> {
    let traces = tracked::Traces::of(&tree.root);
    let mut broken = Vec::new();
    let mut sources = Vec::new();
    for path in tracked {
        let full = tree.root.join(path);
        if !full.is_file() {
            continue; // removed and not yet committed, or a link to a folder
        }
        let bytes = fs::read(&full).map_err(Error::io("reading", &full))?;
        broken.extend(tracked::file(path, &bytes, &traces));
        if Path::new(path).extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source::new(path, &String::from_utf8_lossy(&bytes)));
        }
    }
    broken.extend(layers::imports(&sources));
    broken.extend(layers::fences(&sources));

    let manifest = tree.root.join("common/Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(Error::io("reading", &manifest))?;
    let foreign = layers::dependencies(&text).into_iter().filter(|name| *name != "zerocopy");
    broken.extend(foreign.map(|name| format!("common/Cargo.toml: depends on {name} (zerocopy alone)")));

    let ci = tree.root.join(".ci/run");
    let text = fs::read_to_string(&ci).map_err(Error::io("reading", &ci))?;
    let mode = fs::metadata(&ci).map_err(Error::io("reading", &ci))?.permissions().mode();
    if text != CI || mode & 0o111 == 0 {
        broken.push(
            ".ci/run: is not the executable script xtask/src/check.rs says (CI does what a person can do)".into(),
        );
    }
    Ok(broken)
}

/// Formatting and lints, of both halves.
fn tools(tree: &Tree, toolchain: &Toolchain) -> Result<Vec<(&'static str, Command)>, Error> {
    let kernel_half = tree.root.join("agent-ebpf");
    let mut format = command::cargo();
    format.current_dir(&tree.root).args(["fmt", "--all", "--check"]);
    let mut format_kernel_half = command::cargo();
    format_kernel_half.current_dir(&kernel_half).args(["fmt", "--check"]);
    let mut lints = command::cargo();
    lints.current_dir(&tree.root);
    lints.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);

    // Debian's compiler comes without clippy; then the compiler's own warnings have to do. -Z warnings leaves the
    // flags as they are, so nothing is built twice.
    let clippy = toolchain.compiler.bin.join("cargo-clippy").is_file();
    let mut kernel_lints = toolchain.cargo(if clippy { "clippy" } else { "build" }, &object::flags(tree))?;
    kernel_lints.current_dir(&kernel_half).args(["--quiet", "-Z", "warnings"]);
    kernel_lints.env("CARGO_BUILD_WARNINGS", "deny").env("CARGO_TARGET_DIR", object::target(tree));

    Ok(vec![
        ("formatting of the user half", format),
        ("formatting of the kernel half", format_kernel_half),
        ("lints of the user half", lints),
        (if clippy { "lints of the kernel half" } else { "warnings of the kernel half" }, kernel_lints),
    ])
}

/// The files of the repository: those git tracks, and those it would track.
fn tracked(tree: &Tree) -> Result<Vec<String>, Error> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&tree.root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = command::output("listing the files of the repository", &mut git)?;
    let mut files: Vec<String> = listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}
