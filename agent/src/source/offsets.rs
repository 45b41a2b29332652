//! Offsets of struct members in the running kernel, from its BTF (`Documentation/bpf/btf.rst`).

use std::collections::{HashMap, HashSet};

use common::layout::{Layout, MEMBERS, MISSING};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use super::object::CAST;

/// Why a BTF blob could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OffsetsError {
    /// It is no BTF, or one of another byte order.
    #[error("the kernel's type information does not start with the BTF magic")]
    NoBtf,
    /// It ends early or points outside of itself.
    #[error("the kernel's type information is damaged near byte {0}")]
    Damaged(usize),
}

/// Kinds of types (`BTF_KIND_*`).
mod kind {
    pub const INT: u8 = 1;
    pub const ARRAY: u8 = 3;
    pub const STRUCT: u8 = 4;
    pub const UNION: u8 = 5;
    pub const ENUM: u8 = 6;
    pub const TYPEDEF: u8 = 8;
    pub const VOLATILE: u8 = 9;
    pub const CONST: u8 = 10;
    pub const RESTRICT: u8 = 11;
    pub const FUNC: u8 = 12;
    pub const FUNC_PROTO: u8 = 13;
    pub const VAR: u8 = 14;
    pub const DATASEC: u8 = 15;
    pub const DECL_TAG: u8 = 17;
    pub const ENUM64: u8 = 19;
}

/// What the names of enums begin with in [`MEMBERS`], and those of tracepoints here and in the kernel.
const ENUM: &str = "enum ";
const TRACEPOINT: &str = "btf_trace_";

/// The types of a kernel.
pub struct Types<'a> {
    bytes: &'a [u8],
    strings: usize,
    /// Where each type starts, by id; type 0 is void.
    starts: Vec<u32>,
    named: HashMap<(u8, &'a [u8]), u32>,
}

impl<'a> Types<'a> {
    /// Reads the types of a blob as `/sys/kernel/btf/vmlinux` gives it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, OffsetsError> {
        let word = |at: usize| word(bytes, at);
        if bytes.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()) {
            return Err(OffsetsError::NoBtf);
        }
        // struct btf_header { u16 magic; u8 version, flags; u32 hdr_len, type_off, type_len, str_off, str_len; }
        let header = word(4)? as usize;
        let first = header + word(8)? as usize;
        let end = first + word(12)? as usize;
        let mut types = Self { bytes, strings: header + word(16)? as usize, starts: vec![0], named: HashMap::new() };
        let names = || MEMBERS.iter().flat_map(|(name, _)| name.split('|')).filter(|it| !it.is_empty());
        let wanted: HashSet<&[u8]> = names().map(str::as_bytes).collect();
        let values: HashSet<&[u8]> = names().filter_map(|it| it.strip_prefix(ENUM)).map(str::as_bytes).collect();
        let mut at = first;
        while at < end {
            let info = word(at + 4)?;
            let (kind, count) = ((info >> 24 & 0x1f) as u8, (info & 0xffff) as usize);
            let id = types.starts.len() as u32;
            types.starts.push(at as u32);
            // only what can be asked for: a kernel has 150,000 types
            if matches!(kind, kind::STRUCT | kind::FUNC | kind::TYPEDEF) || kind == kind::ENUM && count > 0 {
                // an enum is known by its first value: many have no name
                let name = types.string(word(if kind == kind::ENUM { at + 12 } else { at })?)?;
                let asked = match kind {
                    kind::STRUCT => wanted.contains(name),
                    kind::ENUM => values.contains(name),
                    kind::FUNC => name == CAST.as_bytes(),
                    _ => name.starts_with(TRACEPOINT.as_bytes()),
                };
                if asked {
                    types.named.entry((kind, name)).or_insert(id);
                }
            }
            at += 12
                + match kind {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
                    kind::ENUM | kind::FUNC_PROTO => 8 * count,
                    _ => 0,
                };
        }
        Ok(types)
    }

    /// The id of the kernel function [`CAST`], for calls from programs.
    pub fn cast(&self) -> Option<u32> {
        self.named.get(&(kind::FUNC, CAST.as_bytes())).copied()
    }

    /// Whether a tracepoint can be attached to with typed arguments.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.named.contains_key(&(kind::TYPEDEF, format!("{TRACEPOINT}{name}").as_bytes()))
    }

    /// Fills in all offsets. The second part names the members that this kernel lacks.
    pub fn layout(&self) -> Result<(Layout, Vec<String>), OffsetsError> {
        let mut words = [MISSING; MEMBERS.len()];
        let mut missing = Vec::new();
        for (word, (name, path)) in words.iter_mut().zip(MEMBERS) {
            let found = if path.is_empty() { self.structure(name) } else { self.offset(name, path)? };
            match found {
                Some(found) => *word = found,
                None if path.is_empty() => *word = 0,
                // some kernels have none
                None if path.ends_with('|') || name.ends_with('|') => {}
                None => missing.push(format!("{name}.{path}")),
            }
        }
        let layout = Layout::read_from_bytes(words.as_bytes()).unwrap_or_default();
        Ok((layout, missing))
    }

    /// The id of the first that this kernel has of some types.
    fn structure(&self, names: &str) -> Option<u32> {
        names.split('|').filter(|it| !it.is_empty()).find_map(|name| {
            let key = match name.strip_prefix(ENUM) {
                Some(first) => (kind::ENUM, first.as_bytes()),
                None if name.starts_with(TRACEPOINT) => (kind::TYPEDEF, name.as_bytes()),
                None => (kind::STRUCT, name.as_bytes()),
            };
            self.named.get(&key).copied()
        })
    }

    fn offset(&self, structure: &str, path: &str) -> Result<Option<u32>, OffsetsError> {
        let Some(start) = self.structure(structure) else { return Ok(None) };
        if structure.starts_with(ENUM) {
            return self.enumerator(start, path.trim_end_matches('|').as_bytes());
        }
        if structure.starts_with(TRACEPOINT) {
            return self.arguments(start).map(Some);
        }
        if path == "()" {
            return word(self.bytes, self.start(start)? + 8).map(Some);
        }
        'names: for path in path.split('|').filter(|it| !it.is_empty()) {
            let (mut id, mut offset) = (start, 0);
            for member in path.split('.') {
                let Some((at, ty)) = self.member(id, member.as_bytes(), 0)? else { continue 'names };
                offset += at;
                id = ty;
            }
            return Ok(Some(offset));
        }
        Ok(None)
    }

    /// Byte offset and type of a member; anonymous structs and unions are looked through.
    fn member(&self, id: u32, name: &[u8], depth: usize) -> Result<Option<(u32, u32)>, OffsetsError> {
        let at = self.start(id)?;
        if depth > 32 {
            return Err(OffsetsError::Damaged(at));
        }
        let info = word(self.bytes, at + 4)?;
        match (info >> 24 & 0x1f) as u8 {
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT => {
                return self.member(word(self.bytes, at + 8)?, name, depth + 1);
            }
            kind::STRUCT | kind::UNION => {}
            _ => return Ok(None),
        }
        let bit_fields = info >> 31 != 0;
        for member in 0..(info & 0xffff) as usize {
            let member = at + 12 + 12 * member;
            let bits = word(self.bytes, member + 8)?;
            let byte = if bit_fields { bits & 0xff_ffff } else { bits } / 8;
            let ty = word(self.bytes, member + 4)?;
            let found = self.string(word(self.bytes, member)?)?;
            if found == name {
                return Ok(Some((byte, ty)));
            }
            if found.is_empty()
                && let Some((inner, ty)) = self.member(ty, name, depth + 1)?
            {
                return Ok(Some((byte + inner, ty)));
            }
        }
        Ok(None)
    }

    fn start(&self, id: u32) -> Result<usize, OffsetsError> {
        self.starts.get(id as usize).map(|at| *at as usize).ok_or(OffsetsError::Damaged(id as usize))
    }

    /// The value of an enumerator.
    fn enumerator(&self, id: u32, name: &[u8]) -> Result<Option<u32>, OffsetsError> {
        let at = self.start(id)?;
        for value in 0..(word(self.bytes, at + 4)? & 0xffff) as usize {
            let value = at + 12 + 8 * value;
            if self.string(word(self.bytes, value)?)? == name {
                return word(self.bytes, value + 4).map(Some);
            }
        }
        Ok(None)
    }

    /// The number of arguments of a tracepoint: its type names a pointer to a function.
    fn arguments(&self, id: u32) -> Result<u32, OffsetsError> {
        let pointer = self.start(word(self.bytes, self.start(id)? + 8)?)?;
        let function = self.start(word(self.bytes, pointer + 8)?)?;
        word(self.bytes, function + 4).map(|info| info & 0xffff)
    }

    fn string(&self, at: u32) -> Result<&'a [u8], OffsetsError> {
        let at = self.strings + at as usize;
        let rest = self.bytes.get(at..).ok_or(OffsetsError::Damaged(at))?;
        let end = memchr::memchr(0, rest).ok_or(OffsetsError::Damaged(at))?;
        Ok(&rest[..end])
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, OffsetsError> {
    let word = at.checked_add(4).and_then(|end| bytes.get(at..end)).and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(OffsetsError::Damaged(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        let types = Types::read(&bytes).unwrap();
        let (layout, missing) = types.layout().unwrap();
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(layout.dentry.parent % 8, 0);
        assert!(types.has_tracepoint("sys_exit"));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let whole = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        assert_eq!(Types::read(b"ELF").err(), Some(OffsetsError::NoBtf));
        for len in (0..4096).chain((4096..whole.len()).step_by(99_991)) {
            assert!(Types::read(&whole[..len]).is_err(), "cut to {len}");
        }
    }
}
