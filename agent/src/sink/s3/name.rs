//! What objects are called: `[prefix/]v1/<origin>/<yyyy>/<mm>/<dd>/<first>-<last>-<hash>.ndjson.zst`.
//!
//! The hash is of the batches as they were sealed. So the same batches always have the same name, and nobody can take a
//! name before the batches are there: the numbers alone could be guessed.

use object_store::path::Path;
use sha2::{Digest as _, Sha256};

use crate::sealed::{self, Batch};

/// Digits of the hash: 128 bits.
const HASH: usize = 32;
/// What is in the object.
const END: &str = ".ndjson.zst";

/// The name of an object with these batches of the log `origin`, which are at least one.
pub(super) fn of(prefix: &str, origin: &str, batches: &[Batch]) -> Path {
    let (first, last) =
        (batches.first().map_or(0, |batch| batch.number), batches.last().map_or(0, |batch| batch.number));
    let mut hash = Sha256::new();
    for batch in batches {
        hash.update(&batch.bytes);
    }
    let mut hash = seal::text::hex(&hash.finalize());
    hash.truncate(HASH);
    let sealed = batches.first().and_then(|batch| sealed::sealed_at(&batch.bytes)).unwrap_or(0);
    let day = jiff::Timestamp::from_second(sealed.cast_signed()).unwrap_or_default().strftime("%Y/%m/%d");
    Path::from(format!("{prefix}/v1/{origin}/{day}/{first:020}-{last:020}-{hash}{END}"))
}

/// What the name of an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The name of the log.
    pub(super) origin: String,
    /// Its first and its last batch.
    pub(super) batches: (u64, u64),
}

/// Reads a name; `None` if it is none of ours. A name without a hash, and one with `.age` behind it, are ours, too.
pub(super) fn read(prefix: &str, key: &str) -> Option<Name> {
    let key = key.strip_prefix(prefix)?.trim_start_matches('/').strip_prefix("v1/")?;
    let mut parts = key.rsplitn(5, '/');
    let file = parts.next()?;
    let day = [parts.next()?, parts.next()?, parts.next()?];
    let origin = parts.next().filter(|origin| !origin.is_empty())?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(digits(day[0], 2) && digits(day[1], 2) && digits(day[2], 4)) {
        return None;
    }
    let numbers = file.strip_suffix(".age").unwrap_or(file).strip_suffix(END)?;
    let mut numbers = numbers.split('-');
    let (first, last) = (numbers.next()?, numbers.next()?);
    let is_hash = |text: &str| text.len() == HASH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits(first, 20) || !digits(last, 20) || !numbers.next().is_none_or(is_hash) || numbers.next().is_some() {
        return None;
    }
    let batches = (first.parse().ok()?, last.parse().ok()?);
    (batches.0 <= batches.1).then(|| Name { origin: origin.to_owned(), batches })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(number: u64) -> Batch {
        let wall = "2026-05-28T20:26:40.000000000Z 2026-05-28T20:26:45.000000042Z";
        let text =
            format!("{{\"sigtrail\":\"seal/v1\",\"header\":\"v\\nbatch {number}\\nwall {wall}\\nclock x\\n\"}}\n");
        Batch { number, bytes: Bytes::from(text), frame: Bytes::new() }
    }

    #[test]
    fn a_name_is_of_its_batches_and_is_read_again() {
        let batches = [batch(7), batch(8)];
        let one = of("audit", "a.example/sigtrail", &batches).to_string();
        assert_eq!(one, of("/audit/", "a.example/sigtrail", &batches).to_string(), "slashes at its ends are no part");
        let start = "audit/v1/a.example/sigtrail/2026/05/28/00000000000000000007-00000000000000000008-";
        assert!(one.starts_with(start) && one.len() == start.len() + HASH + END.len(), "{one}");
        let name = Name { origin: "a.example/sigtrail".to_owned(), batches: (7, 8) };
        assert_eq!(read("audit", &one), Some(name.clone()));
        assert_eq!(read("audit/", &format!("{one}.age")), Some(name));
        let mut other = batches.clone();
        other[0].bytes = Bytes::from([b"{}\n", &*other[0].bytes].concat());
        assert_ne!(one, of("audit", "a.example/sigtrail", &other).to_string());
    }

    #[test]
    fn other_names_are_not_ours() {
        let whole = "v1/a/2026/05/28/00000000000000000007-00000000000000000008.ndjson.zst";
        assert!(read("", whole).is_some());
        for (from, to) in [
            ("v1/", "v2/"),
            ("/a/", "/"),
            ("05", "5"),
            ("7-", "9-"),
            ("-0", "_0"),
            (".zst", ".gz"),
            ("8.", "8-x."),
            ("7", ""),
        ] {
            assert_eq!(read("", &whole.replace(from, to)), None, "{from} {to}");
        }
        assert_eq!(read("other", whole), None);
    }
}
