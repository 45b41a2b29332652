//! The packages for Debian and its children, by cargo-deb.
//!
//! cargo-deb reads a manifest: one is written for each package, so that what is packed is said in one table for all formats.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::{
    Run, VERSION,
    contents::{self, Format, Package},
};
use crate::{command, error::Error, setup, tree::Tree};

/// Who answers for the packages, in the form of a mail header.
pub const MAINTAINER: &str = "The sigtrail maintainers <maintainers@sigtrail.invalid>";

/// Builds cargo-deb, once.
pub fn ensure(tree: &Tree) -> Result<(), Error> {
    setup::tool(tree, "cargo-deb", "3.8.0")
}

/// Makes one package, and returns its path.
pub fn make(run: &Run<'_>, package: &Package) -> Result<PathBuf, Error> {
    let place = run.place(package, Format::Deb)?;
    let files = contents::stage(run, package, Format::Deb, &place.join("root"))?;
    let scripts = run.tree.root.join("packaging/deb").join(package.name);
    let mut manifest = format!(
        "[workspace]\n[package]\nname = {name:?}\nversion = {VERSION:?}\nedition = \"2024\"\ndescription = {summary:?}\n\
         [package.metadata.deb]\nmaintainer = {MAINTAINER:?}\nextended-description = {description:?}\nsection = \"admin\"\n\
         priority = \"optional\"\ndepends = \"init-system-helpers (>= 1.54), systemd | systemd-sysusers | passwd\"\n\
         maintainer-scripts = {scripts}\nassets = [\n",
        name = package.name,
        summary = package.summary,
        description = package.description,
        scripts = contents::quoted(&scripts),
    );
    for file in &files {
        let from = place.join("root").join(file);
        let mode = fs::metadata(&from).map_err(Error::io("reading", &from))?.permissions().mode() & 0o777;
        // a String takes all that is written to it
        let (from, file) = (contents::quoted(&from), contents::quoted(file));
        if writeln!(manifest, "  [{from}, {file}, \"{mode:o}\"],").is_err() {
            break;
        }
    }
    manifest.push_str("]\n");
    contents::write(&place.join("Cargo.toml"), &manifest)?;
    contents::write(&place.join("src/lib.rs"), "")?;
    let to = run.out.join(format!("{}_{VERSION}-{}_amd64.deb", package.name, run.revision));
    let mut deb = std::process::Command::new(run.tree.finished("tools/bin/cargo-deb"));
    deb.args(["--no-build", "--no-strip", "--quiet", "--offline", "--deb-revision"]).arg(run.revision.to_string());
    deb.arg("--manifest-path").arg(place.join("Cargo.toml")).arg("--output").arg(&to);
    if run.fast {
        deb.arg("--fast");
    }
    deb.env("SOURCE_DATE_EPOCH", run.epoch.to_string()).env("CARGO_TARGET_DIR", place.join("target"));
    // it prints the path, which is for us to do
    command::run("packing for Debian", deb.stdout(std::process::Stdio::null()))?;
    Ok(to)
}
