//! The kernel half: one eBPF object, built by another compiler for another machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command, error::Error, setup, toolchain::TARGET, toolchain::Toolchain, tree::Tree};

/// The binary of the agent-ebpf package.
const NAME: &str = "sigtrail-ebpf";
/// What the kernel half is compiled with: debug information, from which the linker makes BTF.
pub const FLAGS: &[&str] = &["-Cdebuginfo=2", "-Clink-arg=--btf"];

/// Builds the object into `target/bpf/`. A file with the same bytes is left alone, so that cargo does not build the
/// agent again.
pub fn build(tree: &Tree, toolchain: &Toolchain) -> Result<(), Error> {
    let target = target(tree);
    let mut cargo = toolchain.cargo("build", FLAGS)?;
    cargo.current_dir(tree.root.join("agent-ebpf")).env("CARGO_TARGET_DIR", &target);
    command::run("building the kernel half", &mut cargo)?;

    let object = tree.object();
    let folder = object.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
    let stripped = folder.join("sigtrail.bpf.o.new");
    strip(&target.join(TARGET).join("release").join(NAME), &stripped)?;
    let bytes = fs::read(&stripped).map_err(Error::io("reading", &stripped))?;
    if !has_btf(&bytes) {
        return Err(Error::Artifact {
            path: stripped,
            defect: "the eBPF object has no BTF: the kernel would refuse it",
        });
    }
    put(&stripped, &bytes, &object)
}

/// The folder cargo builds the kernel half in.
pub fn target(tree: &Tree) -> PathBuf {
    tree.cargo_target().join("ebpf")
}

/// Drops the debug sections (three quarters of the file) and keeps BTF.
fn strip(from: &Path, to: &Path) -> Result<(), Error> {
    let strip = setup::strip().ok_or_else(|| Error::Missing {
        what: "there is no llvm-strip".into(),
        remedy: "  sudo apt-get install llvm".into(),
    })?;
    let mut command = Command::new(strip);
    command.arg("--strip-debug").arg("-o").arg(to).arg(from).env_remove("LD_LIBRARY_PATH");
    command::run("stripping the eBPF object", &mut command)
}

/// Whether an object has a section named `.BTF`: the names stand between zero bytes in the table of names.
fn has_btf(object: &[u8]) -> bool {
    object.starts_with(b"\x7fELF") && object.windows(6).any(|window| window == b"\0.BTF\0" || window == b"l.BTF\0")
}

fn put(new: &Path, bytes: &[u8], object: &Path) -> Result<(), Error> {
    let same = match fs::read(object) {
        Ok(old) => old == bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("reading", object)(error)),
    };
    if same {
        fs::remove_file(new).map_err(Error::io("removing", new))
    } else {
        fs::rename(new, object).map_err(Error::io("replacing", object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_btf_is_seen() {
        let check = |bytes: &[u8], expected: bool| assert_eq!(has_btf(bytes), expected);
        check(b"\x7fELF....\0.text\0.BTF\0", true);
        check(b"\x7fELF....\0.text\0.rel.BTF\0", true); // linkers share the tail of a name
        check(b"\x7fELF....\0.text\0.BTF.ext\0", false);
        check(b"not an object \0.BTF\0", false);
    }
}
