//! Two builds of the same sources, in two folders: all that is made must have the same bytes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Options, contents, pack, same};
use crate::{command, error::Error, tree::Tree};

/// Builds and packs in two folders, and compares.
pub fn run(tree: &Tree, options: &Options) -> Result<(), Error> {
    let mut made: Vec<Vec<PathBuf>> = Vec::new();
    // names of different lengths: a path that gets into a program moves everything behind it
    for name in ["once", "once-more"] {
        let place = tree.finished("package-twice").join(name);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(Error::io("removing", &place))?;
        }
        sources(tree, &place)?;
        let target = place.join("target");
        fs::create_dir_all(&target).map_err(Error::io("creating", &target))?;
        // the linker of the kernel half is built once
        symlink(tree.finished("tools"), target.join("tools")).map_err(Error::io("linking", &target))?;
        let mut build = command::cargo();
        build.current_dir(&place).args(["xtask", "build"]).env_remove("CARGO_TARGET_DIR");
        // those of the cargo that runs us
        build.env_remove("CARGO_MANIFEST_DIR");
        command::run("building in another folder", &mut build)?;
        made.push(pack(tree, target, tree.finished("package-twice").join(format!("{name}.made")), options)?);
    }
    let [first, second] = &made[..] else { return Ok(()) };
    for (first, second) in first.iter().zip(second) {
        same(first, second)?;
        println!("the same twice: {}", second.display());
    }
    Ok(())
}

/// Copies the files of the repository.
fn sources(tree: &Tree, to: &Path) -> Result<(), Error> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&tree.root).args(["ls-files", "-z", "--cached"]);
    let listed = command::output("listing the files of the repository", &mut git)?;
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let from = tree.root.join(path);
        // not what was removed and is not yet committed
        if from.is_file() {
            contents::copy(&from, &to.join(path), 0o644)?;
        }
    }
    Ok(())
}
