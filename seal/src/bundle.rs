//! A bundle of `sigtrail capture`: an archive (POSIX ustar) in which every byte of a head follows from a name, a size and
//! a time, so that there is one way to write it, and `tar` reads it.
//!
//! ```text
//! members ─▶ manifest.json (name, sha256, size of each) ─▶ batch.ndjson (a sealed batch, with a record that has the
//! sha256 of the manifest) ─▶ host.vkey
//! ```

/// The unit of the archive: a head is one block, and members are filled up to whole blocks with zeros.
pub const BLOCK: usize = 512;
/// Of each member: name, sha256, size.
pub const MANIFEST: &str = "manifest.json";
/// The sealed batch with the record of the capture.
pub const BATCH: &str = "batch.ndjson";
/// The key that signed it: as little to be trusted as the bundle itself.
pub const VKEY: &str = "host.vkey";
/// The names of members with events begin so.
pub const EVENTS: &str = "events/";
/// What the manifest says it is.
pub const FORMAT: &str = "sigtrail/bundle/v1";
/// The longest manifest, in bytes.
pub const MANIFEST_MAX: u64 = 8 << 20;
/// The most members, those above not counted.
pub const MEMBERS_MAX: usize = 20_000;
/// The longest name of a member.
const NAME_MAX: usize = 99;
/// Sizes and times have eleven octal digits.
const NUMBER_MAX: u64 = (1 << 33) - 1;

/// The head of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name: `process/17/maps`.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// When it was read, in seconds since 1970.
    pub time: u64,
}

impl Head {
    /// A head, if it can be written.
    pub fn new(name: &str, size: u64, time: u64) -> Option<Self> {
        (is_name(name) && size <= NUMBER_MAX && time <= NUMBER_MAX).then(|| Self { name: name.to_owned(), size, time })
    }

    /// Its block.
    pub fn write(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, format!("{:011o}\0", self.time).as_bytes());
        // the sum is taken with blanks in its own place
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// Reads a block; `None` if we would not have written it.
    pub fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let text = |from: usize, length: usize| {
            let bytes = &block[from..from + length];
            let end = bytes.iter().position(|byte| *byte == 0)?;
            std::str::from_utf8(&bytes[..end]).ok()
        };
        let number = |from| u64::from_str_radix(text(from, 12)?, 8).ok();
        let head = Self::new(text(0, 100)?, number(124)?, number(136)?)?;
        (head.write() == *block).then_some(head)
    }

    /// The zeros behind its bytes.
    pub fn padding(&self) -> usize {
        (BLOCK - (self.size % BLOCK as u64) as usize) % BLOCK
    }
}

/// Whether a member may be called so: parts of `a-z`, `0-9`, `.`, `_` and `-`, joined by `/`, none of them hidden.
pub fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(letter)
    };
    name.len() <= NAME_MAX && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_one_spelling() {
        let head = Head::new("process/17/maps", 1_000_000, 1_780_000_000).unwrap();
        let block = head.write();
        assert_eq!(Head::parse(&block), Some(head.clone()));
        for at in 0..BLOCK {
            let mut changed = block;
            changed[at] ^= 1;
            assert_ne!(Head::parse(&changed), Some(head.clone()), "{at}");
        }
        assert_eq!((head.padding(), Head::new("a", 512, 0).unwrap().padding()), (448, 0));
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        for (name, is_one) in [
            ("process/17/maps", true),
            ("events/000001.ndjson", true),
            ("../x", false),
            ("a/../b", false),
            ("/etc/passwd", false),
            ("a//b", false),
            ("a/", false),
            ("", false),
            (".hidden", false),
            ("A", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_name(name), is_one, "{name:?}");
        }
        assert!(is_name(&"a".repeat(99)) && !is_name(&"a".repeat(100)));
    }
}
