//! `cargo xtask build`: the eBPF object, then the agent that carries it, as one static file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command,
    error::Error,
    object,
    rights::Consent,
    setup::{self, Scope},
    tree::Tree,
};

/// The programs a release has: what, and the package it is in.
const PROGRAMS: &[(&str, &str)] =
    &[("sigtrail", "sigtrail"), ("sigtrail-verify", "seal"), ("sigtrail-receive", "receive")];

/// How the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Release,
    Debug,
}

/// Only the kernel half.
pub fn object(tree: &Tree, consent: Consent) -> Result<(), Error> {
    let toolchain = setup::ensure(tree, Scope::Object, consent)?;
    object::build(tree, &toolchain)?;
    print_size(&tree.object())
}

/// Both halves; the programs end up in `target/`.
pub fn run(tree: &Tree, profile: Profile, scope: Scope, consent: Consent) -> Result<(), Error> {
    let toolchain = setup::ensure(tree, scope, consent)?;
    object::build(tree, &toolchain)?;
    let built = programs(tree, profile)?;
    print_size(&tree.object())?;
    for (name, _) in PROGRAMS {
        let finished = tree.finished(name);
        let new = tree.finished(&format!("{name}.new"));
        let from = built.join(name);
        let bytes = fs::read(&from).map_err(Error::io("reading", &from))?;
        if has_interpreter(&bytes) {
            return Err(Error::Artifact { path: from, defect: "is not static: it needs a dynamic loader" });
        }
        // A new file renamed over the old one: the old may be running.
        fs::copy(&from, &new).map_err(Error::io("writing", &new))?;
        fs::rename(&new, &finished).map_err(Error::io("replacing", &finished))?;
        print_size(&finished)?;
    }
    Ok(())
}

/// Builds the programs for the target of this host, named, so that the flags reach them and not the macros and build
/// scripts they are built with. Static with glibc: no musl to install, and the same file runs on every distribution.
fn programs(tree: &Tree, profile: Profile) -> Result<PathBuf, Error> {
    let triple = host()?;
    let mut cargo = command::cargo();
    cargo.current_dir(&tree.root).args(["build", "--bins", "--target", &triple]);
    for (_, package) in PROGRAMS {
        cargo.args(["--package", package]);
    }
    let folder = match profile {
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
        Profile::Debug => "debug",
    };
    // encoded, because a folder may have a blank in its name; it takes the place of all others that may be set
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(tree).join("\x1f"));
    command::run("building the agent", &mut cargo)?;
    Ok(tree.cargo_target().join(triple).join(folder))
}

/// The flags of the programs.
fn flags(tree: &Tree) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Crelocation-model=static".to_owned()];
    flags.extend(without_paths(tree));
    flags
}

/// Flags that take the paths of this machine out of what is built, so that every machine makes the same bytes.
pub fn without_paths(tree: &Tree) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let places = [
        (cargo, "/cargo"),
        (Some(tree.cargo_target().into()), "/sigtrail/target"),
        (Some(tree.root.clone()), "/sigtrail"),
    ];
    // the last one that fits a path counts
    let known = places.into_iter().filter_map(|(path, name)| Some((path?, name)));
    known.map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())).collect()
}

/// The target of the compiler of the user half.
pub fn host() -> Result<String, Error> {
    let mut rustc = Command::new("rustc");
    let text = command::output("asking rustc for its target", rustc.arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Error::Missing {
        what: "rustc -vV names no host".into(),
        remedy: "  rustup toolchain install stable".into(),
    })
}

/// A target in the form it has in the names of cargo's variables.
pub fn shouted(triple: &str) -> String {
    triple.to_uppercase().replace('-', "_")
}

fn print_size(path: &Path) -> Result<(), Error> {
    let bytes = fs::metadata(path).map_err(Error::io("reading", path))?.len();
    println!("{:>7} KB  {}", bytes.div_ceil(1000), path.display());
    Ok(())
}

/// Whether a 64-bit little-endian ELF file names a dynamic loader (a program header of type `PT_INTERP`, elf(5)).
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| elf.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let u32_at = |at: usize| elf.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let headers = || Some((u32_at(32)? as usize, u16_at(54)?, u16_at(56)?)); // e_phoff, e_phentsize, e_phnum
    let Some((offset, size, count)) = headers() else { return false };
    (0..count).any(|index| u32_at(offset + index * size) == Some(PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(types: &[u32]) -> Vec<u8> {
        let mut elf = vec![0; 64 + types.len() * 56];
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = u8::try_from(types.len()).unwrap();
        for (index, kind) in types.iter().enumerate() {
            elf[64 + index * 56..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        elf
    }

    #[test]
    fn a_dynamic_program_is_seen() {
        let check = |bytes: &[u8], expected: bool| assert_eq!(has_interpreter(bytes), expected);
        check(&elf(&[6, 3, 1]), true);
        check(&elf(&[1, 1, 4]), false);
        check(&elf(&[]), false);
        check(b"short", false);
        check(&elf(&[3])[..64], false);
    }
}
