//! The kernel half as it is embedded in this program.

use std::mem::offset_of;

use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind,
    elf::{STT_NOTYPE, Sym64},
    read::elf::{ElfFile64, ElfSymbol64},
};

/// The object, as the compiler made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SIGTRAIL_BPF_OBJECT"));

/// The kernel function that gives an address a type; without it only the base family loads.
pub const CAST: &str = "bpf_rdonly_cast";

/// What the kernel half calls in place of [`CAST`], see `cast` in `agent-ebpf/src/kernel.rs`.
const PLACEHOLDER: u32 = 0x7fff_0001;
/// `BPF_JMP | BPF_CALL`, and the source register that makes it a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const CALL: u8 = 0x85;
const KFUNC: u8 = 0x20;

/// The object as it is, to tell which one was loaded.
pub fn bytes() -> &'static [u8] {
    OBJECT
}

/// The object with these programs alone: the loader keeps a copy of each that it finds. Their placeholder calls are bound
/// to the kernel function of this BTF id.
pub fn of(programs: &[String], cast: Option<u32>) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    for at in functions_but(programs).unwrap_or_default() {
        if let Some(info) = object.get_mut(at + offset_of!(Sym64<Endianness>, st_info)) {
            *info = STT_NOTYPE;
        }
    }
    let Some(id) = cast else { return object };
    for instruction in object.as_chunks_mut::<8>().0 {
        if instruction[..4] == [CALL, 0, 0, 0] && instruction[4..] == PLACEHOLDER.to_le_bytes() {
            instruction[1] = KFUNC;
            instruction[4..].copy_from_slice(&id.to_le_bytes());
        }
    }
    object
}

/// Where the symbols of all other programs are in the object. Functions that programs call are no programs.
fn functions_but(programs: &[String]) -> object::Result<Vec<usize>> {
    let file = ElfFile64::<Endianness>::parse(OBJECT)?;
    let table = file.section_by_name(".symtab").and_then(|it| it.file_range()).map_or(0, |(start, _)| start as usize);
    let text = file.section_by_name(".text").map(|it| it.index());
    let is_other = |it: &ElfSymbol64<'_, '_>| {
        let is_program = it.kind() == SymbolKind::Text && it.section_index() != text;
        is_program && it.name().is_ok_and(|name| !programs.iter().any(|program| program == name))
    };
    let others = file.symbols().filter(is_other);
    Ok(others.map(|it| table + it.index().0 * size_of::<Sym64<Endianness>>()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_are_no_functions() {
        let names = |object: &[u8]| {
            let file = ElfFile64::<Endianness>::parse(object).unwrap();
            let text = file.section_by_name(".text").unwrap().index();
            let programs =
                file.symbols().filter(|it| it.kind() == SymbolKind::Text && it.section_index() != Some(text));
            programs.map(|it| it.name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(names(OBJECT).len() > 100);
        let wanted = ["exec_fast".to_owned(), "open_base".to_owned()];
        let mut found = names(&of(&wanted, None));
        found.sort_unstable();
        assert_eq!(found, wanted);
    }
}
