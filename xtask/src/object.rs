//! The kernel half: one eBPF object, built by another compiler for another machine.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{build, command, error::Error, setup, toolchain::TARGET, toolchain::Toolchain, tree::Tree};

/// The binary of the agent-ebpf package.
const NAME: &str = "sigtrail-ebpf";
/// What the kernel half is compiled with: debug information, from which the linker makes BTF, without paths of this
/// machine.
pub fn flags(tree: &Tree) -> Vec<String> {
    let mut flags = vec!["-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned()];
    flags.extend(build::without_paths(tree));
    flags
}

/// Builds the object into `target/bpf/`. A file with the same bytes is left alone, so that cargo does not build the
/// agent again.
pub fn build(tree: &Tree, toolchain: &Toolchain) -> Result<(), Error> {
    let target = target(tree);
    let mut cargo = toolchain.cargo("build", &flags(tree))?;
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

/// Drops what the kernel does not need: the debug sections, and the table of source lines, which is most of the rest, and
/// of which the loader keeps a copy with each function that a program calls (170 MiB of the agent's memory). To read the
/// verifier's words with source lines, load the object that cargo built.
fn strip(from: &Path, to: &Path) -> Result<(), Error> {
    let table = to.with_extension("ext");
    objcopy(&["--strip-debug".into(), "--remove-section=.rel.BTF.ext".into(), section("dump", &table)], &[from, to])?;
    let bytes = fs::read(&table).map_err(Error::io("reading", &table))?;
    let Some(bytes) = without_lines(&bytes) else {
        return Err(Error::Artifact { path: table, defect: "the section .BTF.ext has no header as we know it" });
    };
    fs::write(&table, bytes).map_err(Error::io("writing", &table))?;
    objcopy(&[section("update", &table)], &[to])?;
    fs::remove_file(&table).map_err(Error::io("removing", &table))
}

fn section(verb: &str, file: &Path) -> OsString {
    let mut option = OsString::from(format!("--{verb}-section=.BTF.ext="));
    option.push(file);
    option
}

fn objcopy(options: &[OsString], files: &[&Path]) -> Result<(), Error> {
    let objcopy = setup::objcopy().ok_or_else(|| Error::Missing {
        what: "there is no llvm-objcopy".into(),
        remedy: "  sudo apt-get install llvm".into(),
    })?;
    let mut command = Command::new(objcopy);
    command.args(options).args(files).env_remove("LD_LIBRARY_PATH");
    command::run("stripping the eBPF object", &mut command)
}

/// A section `.BTF.ext` without its table of source lines, which lies between that of functions and that of relocations:
/// `struct btf_ext_header` of libbpf, <https://docs.kernel.org/bpf/btf.html#btf-ext-section>.
fn without_lines(section: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(*section.get(at..)?.first_chunk()?));
    let header = word(4)? as usize;
    let (lines, size, relocations) = (word(16)?, word(20)?, word(24)?);
    if section.get(..2)? != [0x9f, 0xeb] || header < 32 || relocations != lines.checked_add(size)? {
        return None;
    }
    let cut = header.checked_add(lines as usize)?;
    let mut left = section.get(..cut)?.to_vec();
    left.extend_from_slice(section.get(cut.checked_add(size as usize)?..)?);
    left.get_mut(20..24)?.fill(0);
    left.get_mut(24..28)?.copy_from_slice(&lines.to_le_bytes());
    Some(left)
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
    #[test]
    fn the_table_of_lines_is_cut_out() {
        let section = |lines: &[u8], start: u32| {
            let words = [32, 0, 4, 4, lines.len() as u32, start, 4];
            let mut it = vec![0x9f, 0xeb, 1, 0];
            it.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            it.extend(b"func");
            it.extend(lines);
            it.extend(b"core");
            it
        };
        assert_eq!(without_lines(&section(b"lines", 9)), Some(section(b"", 4)));
        assert_eq!(without_lines(&section(b"lines", 5)), None); // the tables overlap
        assert_eq!(without_lines(&section(b"lines", 9)[..36]), None);
    }
}
