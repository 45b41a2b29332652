//! The packages for Fedora, RHEL, SUSE and their like, by cargo-generate-rpm.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Run, VERSION,
    contents::{self, Format, Package},
};
use crate::{command, error::Error, setup, tree::Tree};

/// Builds cargo-generate-rpm, once.
pub fn ensure(tree: &Tree) -> Result<(), Error> {
    setup::tool(tree, "cargo-generate-rpm", "0.21.1")
}

/// Makes one package, and returns its path.
pub fn make(run: &Run<'_>, package: &Package) -> Result<PathBuf, Error> {
    let place = run.place(package, Format::Rpm)?;
    let files = contents::stage(run, package, Format::Rpm, &place.join("root"))?;
    let mut assets = Vec::new();
    for file in &files {
        let from = place.join("root").join(file);
        let mode = fs::metadata(&from).map_err(Error::io("reading", &from))?.permissions().mode() & 0o777;
        let sort = if file.starts_with("etc") {
            ", config = \"noreplace\""
        } else if file.starts_with("usr/share/doc") || file.starts_with("usr/share/man") {
            ", doc = true"
        } else {
            ""
        };
        let (from, to) = (contents::quoted(&from), contents::quoted(&Path::new("/").join(file)));
        assets.push(format!("  {{ source = {from}, dest = {to}, mode = \"{mode:o}\"{sort} }},\n"));
    }
    let script = |name: &str| contents::quoted(&run.tree.root.join("packaging/rpm").join(package.name).join(name));
    let manifest = format!(
        "[workspace]\n[package]\nname = {name:?}\nversion = {VERSION:?}\nedition = \"2024\"\nlicense = \"MIT OR Apache-2.0\"\n\
         description = {summary:?}\n[package.metadata.generate-rpm]\nrelease = \"{release}\"\nauto-req = \"no\"\n\
         post_install_script = {post}\npre_uninstall_script = {preun}\npost_uninstall_script = {postun}\n\
         assets = [\n{assets}]\n[package.metadata.generate-rpm.requires]\ncoreutils = \"*\"\nutil-linux = \"*\"\nsystemd = \"*\"\n",
        name = package.name,
        summary = capitalised(package.summary),
        release = run.revision,
        post = script("post"),
        preun = script("preun"),
        postun = script("postun"),
        assets = assets.concat(),
    );
    contents::write(&place.join("Cargo.toml"), &manifest)?;
    contents::write(&place.join("src/lib.rs"), "")?;
    let to = run.out.join(format!("{}-{VERSION}-{}.x86_64.rpm", package.name, run.revision));
    let mut rpm = Command::new(run.tree.finished("tools/bin/cargo-generate-rpm"));
    rpm.current_dir(&place).arg("generate-rpm").args(["--target", "x86_64-unknown-linux-gnu", "--output"]).arg(&to);
    if run.fast {
        rpm.args(["--payload-compress", "gzip"]);
    }
    rpm.env("SOURCE_DATE_EPOCH", run.epoch.to_string()).env("CARGO_TARGET_DIR", place.join("target"));
    command::run("packing as RPM", &mut rpm)?;
    Ok(to)
}

/// A summary as RPM wants it: Debian's begins with a small letter.
fn capitalised(summary: &str) -> String {
    let (first, rest) = summary.split_at(summary.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}
