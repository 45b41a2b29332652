//! The compiler and linker of the kernel half: which of those installed is used, or what is missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command, error::Error, tree::Tree};

/// The machine the kernel half is built for. Little endian: x86-64 and arm64.
pub const TARGET: &str = "bpfel-unknown-none";

/// A compiler that can build for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The folder of its rustc and cargo.
    pub bin: PathBuf,
    /// The major version of its LLVM.
    pub llvm: u32,
    /// Whether `core` is built from source (rustup's nightly) or was installed built (Debian).
    pub build_std: bool,
}

/// A compiler and a linker that reads what it writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Toolchain {
    pub compiler: Compiler,
    pub linker: PathBuf,
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    All(Toolchain),
    /// Debian's compiler without a linker for its LLVM: xtask builds the linker.
    NoLinker(Compiler),
    Nothing,
}

/// Where to look.
#[derive(Debug)]
pub struct Places {
    pub rustup: PathBuf,
    pub bins: Vec<PathBuf>,
    pub linkers: Vec<PathBuf>,
}

/// How to ask a program for the major version of its LLVM.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub compiler: fn(&Path) -> Option<u32>,
    pub linker: fn(&Path) -> Option<u32>,
}

/// Looks on this machine.
pub fn find(tree: &Tree) -> Found {
    let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let rustup = env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let mut bins = vec![PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")];
    bins.extend(command::folders());
    let mut linkers = vec![tree.finished("tools/bin/bpf-linker")];
    linkers.extend(command::folders().map(|folder| folder.join("bpf-linker")));
    choose(&Places { rustup, bins, linkers }, Ask { compiler: compiler_llvm, linker: linker_llvm })
}

/// The first compiler for which there is a linker: rustup's nightly if it has the sources of `core`, then a
/// compiler of the system with a built `core`.
pub fn choose(places: &Places, ask: Ask) -> Found {
    let linkers: Vec<(&PathBuf, u32)> = places
        .linkers
        .iter()
        .filter(|linker| linker.is_file())
        .filter_map(|linker| (ask.linker)(linker).map(|llvm| (linker, llvm)))
        .collect();
    let mut without = Found::Nothing;
    for (bin, build_std) in nightlies(&places.rustup).into_iter().chain(system(&places.bins)) {
        let Some(llvm) = (ask.compiler)(&bin.join("rustc")) else { continue };
        let compiler = Compiler { bin, llvm, build_std };
        // LLVM reads the bitcode of older releases, not of newer ones.
        if let Some((linker, _)) = linkers.iter().find(|(_, theirs)| *theirs >= llvm) {
            return Found::All(Toolchain { compiler, linker: (*linker).clone() });
        }
        if !build_std && without == Found::Nothing {
            without = Found::NoLinker(compiler);
        }
    }
    without
}

/// Nightlies of rustup that have the sources of `core`, newest name first (plain `nightly` before dated ones).
fn nightlies(rustup: &Path) -> Vec<(PathBuf, bool)> {
    let Ok(entries) = fs::read_dir(rustup.join("toolchains")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| {
        let nightly = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"));
        nightly && folder.join("lib/rustlib/src/rust/library/core").is_dir()
    });
    folders.sort_by(|a, b| b.cmp(a));
    folders.into_iter().map(|folder| (folder.join("bin"), true)).collect()
}

/// Compilers of the system that have a built `core`: `<prefix>/bin/rustc` with `<prefix>/lib/rustlib/<target>`.
/// rustup's rustc is none of them: its folder has no rustlib.
fn system(bins: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    let core = |bin: &Path| Some(bin.parent()?.join("lib/rustlib").join(TARGET).join("lib"));
    let mut found: Vec<(PathBuf, bool)> = Vec::new();
    for bin in bins {
        let complete = bin.join("rustc").is_file() && bin.join("cargo").is_file();
        if complete && core(bin).is_some_and(|lib| lib.is_dir()) && found.iter().all(|(known, _)| known != bin) {
            found.push((bin.clone(), false));
        }
    }
    found
}

fn compiler_llvm(rustc: &Path) -> Option<u32> {
    llvm_major(&command::answer(Command::new(rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"))?)
}

fn linker_llvm(linker: &Path) -> Option<u32> {
    // bpf-linker does not print its LLVM; LLVM's own option does, and ends the program before it links.
    let mut command = Command::new(linker);
    command.args(["--llvm-args=--version", "-o", "/dev/null", "/dev/null"]).env_remove("LD_LIBRARY_PATH");
    llvm_major(&command::answer(&mut command)?)
}

/// The number after "LLVM version" in what rustc and LLVM print.
fn llvm_major(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("LLVM version")?;
    let digits: String = after.trim_start_matches([':', ' ']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Toolchain {
    /// The build line of the kernel half, to be run in its folder.
    pub fn cargo(&self, verb: &str, flags: &[String]) -> Result<Command, Error> {
        let bin = &self.compiler.bin;
        let tools = self.linker.parent().unwrap_or(Path::new("/"));
        let mut cargo = Command::new(bin.join("cargo"));
        // cargo run puts the libraries of its own toolchain in LD_LIBRARY_PATH; this is another toolchain.
        cargo.env_remove("LD_LIBRARY_PATH").env_remove("RUSTFLAGS").env_remove("RUSTUP_TOOLCHAIN");
        cargo.env("PATH", command::path_with(&[tools, bin])?);
        cargo.env("RUSTC", bin.join("rustc"));
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        cargo.args([verb, "--release", "--target", TARGET]);
        if self.compiler.build_std {
            cargo.args(["-Z", "build-std=core"]);
        }
        Ok(cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask { compiler: from_text, linker: from_text };

    /// In the fake folders a program is a text that says its LLVM.
    fn from_text(path: &Path) -> Option<u32> {
        llvm_major(&fs::read_to_string(path).ok()?)
    }

    fn places(name: &str, files: &[(&str, &str)]) -> Places {
        let root = env::temp_dir().join(format!("xtask-toolchain-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let linkers = vec![root.join("tools/bpf-linker"), root.join("usr/bin/bpf-linker")];
        Places { rustup: root.join("rustup"), bins: vec![root.join("home/bin"), root.join("usr/bin")], linkers }
    }

    const SRC: &str = "rustup/toolchains/nightly-x/lib/rustlib/src/rust/library/core/lib.rs";
    const NIGHTLY: (&str, &str) = ("rustup/toolchains/nightly-x/bin/rustc", "LLVM version: 22.1.4");
    const CORE: (&str, &str) = ("usr/lib/rustlib/bpfel-unknown-none/lib/libcore.rlib", "");
    const CARGO: (&str, &str) = ("usr/bin/cargo", "");

    #[test]
    fn the_first_compiler_with_a_linker_that_reads_it_is_chosen() {
        let check = |name: &str, files: &[(&str, &str)], expected: &str| {
            let places = places(name, files);
            let found = match choose(&places, ASK) {
                Found::All(all) if all.compiler.build_std => format!("nightly, {}", tail(&all.linker)),
                Found::All(all) => format!("{}, {}", tail(&all.compiler.bin), tail(&all.linker)),
                Found::NoLinker(compiler) => format!("no linker for {}", compiler.llvm),
                Found::Nothing => "nothing".to_owned(),
            };
            assert_eq!(found, expected, "{name}");
        };
        let rustc = ("usr/bin/rustc", "LLVM version: 22.1.8");
        let old = ("tools/bpf-linker", "LLVM version 21.1.0");
        let same = ("tools/bpf-linker", "Debian LLVM version 22.1.8");
        let newer = ("usr/bin/bpf-linker", "LLVM version 23.0.0");
        let user = [("home/bin/rustc", "LLVM version: 22.1.2"), ("home/bin/cargo", "")];
        check("empty", &[], "nothing");
        check("nightly-without-src", &[NIGHTLY, same], "nothing");
        check("nightly", &[NIGHTLY, (SRC, ""), same], "nightly, tools/bpf-linker");
        check("nightly-and-debian", &[NIGHTLY, (SRC, ""), rustc, CARGO, CORE, same], "nightly, tools/bpf-linker");
        check("nightly-without-src-and-debian", &[NIGHTLY, rustc, CARGO, CORE, same], "usr/bin, tools/bpf-linker");
        check("older-linker", &[rustc, CARGO, CORE, old], "no linker for 22");
        check("older-linker-first", &[rustc, CARGO, CORE, old, newer], "usr/bin, bin/bpf-linker");
        check("no-core", &[rustc, CARGO, same], "nothing");
        check("rustup-proxy", &[user[0], user[1], rustc, CARGO, CORE, same], "usr/bin, tools/bpf-linker");
    }

    fn tail(path: &Path) -> String {
        let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy().into_owned()).collect();
        format!("{}/{}", parts[1], parts[0])
    }

    #[test]
    fn the_version_is_read_from_what_programs_print() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(llvm_major(text), expected, "{text:?}");
        check("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8\n", Some(22));
        check("Debian LLVM version 22.1.8\n  Optimized build.\n", Some(22));
        check("bpf-linker 0.13.0\n", None);
        check("LLVM version: unknown", None);
    }
}
