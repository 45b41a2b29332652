//! `cargo xtask generate`: the pages of the reference that the agent writes itself (`sigtrail docs`).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    build::{self, Profile},
    command,
    error::Error,
    rights::Consent,
    setup::Scope,
    tree::Tree,
};

/// Whether the pages are written or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    Check,
}

/// The verb: builds the agent first.
pub fn run(tree: &Tree, mode: Mode, consent: Consent) -> Result<(), Error> {
    build::run(tree, Profile::Release, Scope::Agent, consent)?;
    match mode {
        Mode::Write => docs(tree, &tree.root.join("docs")),
        Mode::Check => check(tree),
    }
}

/// Writes the pages beside the repository's own, and compares; the repository is not touched.
pub fn check(tree: &Tree) -> Result<(), Error> {
    let fresh = tree.finished("docs");
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", &fresh)(error)),
        Ok(()) | Err(_) => {}
    }
    docs(tree, &fresh)?;
    let stale = differing(&fresh, &tree.root.join("docs"))?;
    for path in &stale {
        println!("docs/{}: is not what `cargo xtask generate` writes", path.display());
    }
    if stale.is_empty() { Ok(()) } else { Err(Error::Rules(stale.len())) }
}

fn docs(tree: &Tree, out: &Path) -> Result<(), Error> {
    let mut agent = Command::new(tree.agent());
    command::run("generating the reference", agent.arg("docs").arg("--out").arg(out))
}

/// The files under `fresh` that are absent from `kept` or not the same there, relative to both.
fn differing(fresh: &Path, kept: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut stale = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = fresh.join(&folder);
        for entry in fs::read_dir(&full).map_err(Error::io("listing", &full))? {
            let path = folder.join(entry.map_err(Error::io("listing", &full))?.file_name());
            let file = fresh.join(&path);
            if file.is_dir() {
                folders.push(path);
            } else if fs::read(&file).map_err(Error::io("reading", &file))?
                != fs::read(kept.join(&path)).unwrap_or_default()
            {
                stale.push(path);
            }
        }
    }
    stale.sort();
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_differ_are_named() {
        let root = std::env::temp_dir().join(format!("xtask-generate-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("fresh/same.md", "a");
        write("kept/same.md", "a");
        write("fresh/other.md", "a");
        write("kept/other.md", "b");
        write("fresh/sub/new.md", "a");
        write("kept/by-hand.md", "a");
        let found = differing(&root.join("fresh"), &root.join("kept")).unwrap();
        assert_eq!(found, [PathBuf::from("other.md"), PathBuf::from("sub/new.md")]);
        fs::remove_dir_all(root).unwrap();
    }
}
