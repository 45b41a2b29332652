//! The archive for hosts without a package manager that we know, and the check sums of all that is made.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Run, VERSION,
    contents::{self, Format, PACKAGES},
};
use crate::{command, error::Error};

/// Makes the archive: a folder for each package as it will be below `/`, and `install.sh` beside them.
pub fn make(run: &Run<'_>) -> Result<PathBuf, Error> {
    let name = format!("sigtrail-{VERSION}-x86_64-linux");
    let place = run.out.join("work").join(&name);
    for package in PACKAGES {
        contents::stage(run, package, Format::Tar, &place.join(package.name))?;
    }
    let root = &run.tree.root;
    contents::copy(&root.join("packaging/install.sh"), &place.join("install.sh"), 0o755)?;
    for page in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        contents::copy(&root.join(page), &place.join(page), 0o644)?;
    }
    let to = run.out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=u+w,go-w", "--use-compress-program=gzip -9 --no-name", &format!("--mtime=@{}", run.epoch)]);
    tar.arg("--file").arg(&to).arg("--directory").arg(run.out.join("work")).arg(&name);
    command::run("packing the archive", &mut tar)?;
    Ok(to)
}

/// Writes the check sums of these files beside them, in the form of sha256sum(1).
pub fn sums(run: &Run<'_>, files: &[PathBuf]) -> Result<PathBuf, Error> {
    let mut sums = Command::new("sha256sum");
    sums.current_dir(&run.out).args(files.iter().filter_map(|path| path.file_name()));
    let text = command::output("making check sums", &mut sums)?;
    let to: &Path = &run.out.join("SHA256SUMS");
    contents::write(to, &text)?;
    Ok(to.to_path_buf())
}
