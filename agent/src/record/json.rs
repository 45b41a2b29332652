//! One record as one line of canonical JSON (RFC 8785): keys sorted, no blanks, the shortest escapes.
//!
//! Numbers of 2^53 and more are strings: a reader with doubles would take another number. Bytes that are not UTF-8 become `{"b64":"…"}`, so that nothing is lost.

mod line;

use std::net::IpAddr;

use base64ct::{Base64, Encoding};
use common::{
    Value,
    wire::{PathParts, Question, SocketAddr, items},
};

use seal::MAX_LINE;

use super::Process;
pub use line::{UNLIKE, Writer, line};

/// The JSON of a process names ancestors in at most this many bytes.
const ANCESTORS: usize = MAX_LINE / 16;

/// Writes a value as JSON; a list has to be cut, see [`list`].
fn value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::List(_) => out.extend_from_slice(b"null"),
        Value::Int(it) if it.unsigned_abs() >= 1 << 53 => quoted(value, out),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => plain(value, out),
        Value::Text(it) => text(it, out),
        Value::Addr(it) => addr(it, out),
        Value::Path(it) => path_text(it, out),
        Value::Question(it) => question(it, out),
        // names and digits of ours: nothing to escape
        Value::Name(_) | Value::Big(_) | Value::Flags(..) | Value::Octal(_) | Value::Device(_) => quoted(value, out),
    }
}

fn quoted(value: Value<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    plain(value, out);
    out.push(b'"');
}

fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a value as plain text: what its JSON string holds before escapes. Lists, addresses, questions and null have
/// none.
pub fn plain(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::List(_) | Value::Addr(_) | Value::Question(_) => {}
        Value::Bool(it) => out.extend_from_slice(if it { b"true" } else { b"false" }),
        Value::Int(it) => integer(it, out),
        Value::Uint(it) => integer(it, out),
        Value::Big(it) => integer(it, out),
        Value::Text(it) => out.extend_from_slice(it),
        Value::Name(it) => out.extend_from_slice(it.as_bytes()),
        Value::Path(it) => path(it, out),
        Value::Flags(bits, names) => flags(bits, names, out),
        Value::Octal(it) => octal(it, out),
        Value::Device(it) => {
            integer(it >> 20, out);
            out.push(b':');
            integer(it & 0xf_ffff, out);
        }
    }
}

/// At least four digits, as chmod(1) has them.
fn octal(number: u32, out: &mut Vec<u8>) {
    let digits = number.checked_ilog2().map_or(1, |log| log / 3 + 1).max(4);
    out.extend((0..digits).rev().map(|digit| b'0' + (number >> (3 * digit) & 7) as u8));
}

/// The bits of open(2)'s flags that are no bits but a number.
const O_ACCMODE: u64 = 3;

fn flags(bits: u64, names: &[(u64, &str)], out: &mut Vec<u8>) {
    let mut left = bits;
    let start = out.len();
    // composed flags (O_SYNC holds O_DSYNC, O_TMPFILE holds O_DIRECTORY) come first in the tables
    for (bit, name) in names {
        let is_read_only = *bit == 0 && bits & O_ACCMODE == 0;
        if is_read_only || bits & bit == *bit && left & bit != 0 {
            left &= !bit;
            if out.len() > start {
                out.push(b'|');
            }
            out.extend_from_slice(name.as_bytes());
        }
    }
    if left != 0 || out.len() == start {
        if out.len() > start {
            out.push(b'|');
        }
        if left == 0 {
            out.push(b'0');
        } else {
            out.extend_from_slice(format!("{left:#x}").as_bytes());
        }
    }
}

/// Puts a path together. The caller's part is joined to the resolved place; `.`, `..` and empty components of it are
/// folded, by text alone: that is what the grade "copied from user memory" means.
fn path(path: PathParts<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if path.is_detached() {
        out.extend(path.components().flatten());
        return;
    }
    for component in path.components() {
        out.push(b'/');
        out.extend_from_slice(component);
    }
    for component in path.name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = out[start..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(start + parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.len() == start {
        out.push(b'/');
    }
}

/// Writes a path as a JSON string, without a copy where nothing of it needs escapes.
fn path_text(parts: PathParts<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    path(parts, out);
    if is_plain(&out[start + 1..]) {
        out.push(b'"');
        return;
    }
    let bytes = out.split_off(start + 1);
    out.truncate(start);
    text(&bytes, out);
}

/// Writes an array of at most `room` bytes (2 at least). Returns false when not all strings fit.
fn list(list: &[u8], room: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'[');
    for (at, item) in items(list).enumerate() {
        let before = out.len();
        if at > 0 {
            out.push(b',');
        }
        text(item, out);
        if out.len() - start >= room {
            out.truncate(before);
            out.push(b']');
            return false;
        }
    }
    out.push(b']');
    true
}

/// The name of an address family.
pub fn family(addr: SocketAddr<'_>) -> Option<&'static str> {
    match addr {
        SocketAddr::Ip(IpAddr::V4(_), _) => Some("inet"),
        SocketAddr::Ip(IpAddr::V6(_), _) => Some("inet6"),
        SocketAddr::Unix(_) | SocketAddr::Abstract(_) => Some("unix"),
        SocketAddr::Other(16) => Some("netlink"),
        SocketAddr::Other(17) => Some("packet"),
        SocketAddr::Other(38) => Some("alg"),
        SocketAddr::Other(40) => Some("vsock"),
        SocketAddr::Other(_) => None,
    }
}

/// Appends the name that a question is about, as master files have it (RFC 1035 section 5.1): a dot between labels, a
/// backslash before a dot or backslash of a label, `\DDD` in decimal for what is no visible ASCII. The root is a dot.
pub fn domain(question: Question<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    for label in question.labels() {
        if out.len() > start {
            out.push(b'.');
        }
        for byte in label {
            match byte {
                b'.' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                b'!'..=b'~' => out.push(*byte),
                byte => out.extend_from_slice(format!("\\{byte:03}").as_bytes()),
            }
        }
    }
    if out.len() == start {
        out.push(b'.');
    }
}

fn question(question: Question<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"class\":");
    value(question.class(), out);
    out.extend_from_slice(b",\"id\":");
    integer(question.id, out);
    out.extend_from_slice(b",\"name\":");
    let mut name = Vec::with_capacity(64);
    domain(question, &mut name);
    text(&name, out);
    out.extend_from_slice(b",\"type\":");
    value(question.record_type(), out);
    out.push(b'}');
}

fn addr(addr: SocketAddr<'_>, out: &mut Vec<u8>) {
    let name = family(addr).unwrap_or("other");
    match addr {
        SocketAddr::Ip(ip, port) => {
            out.extend_from_slice(b"{\"family\":\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\",\"ip\":\"");
            match ip {
                IpAddr::V4(ip) => {
                    for (at, byte) in ip.octets().into_iter().enumerate() {
                        out.extend_from_slice(if at > 0 { b"." } else { b"" });
                        integer(byte, out);
                    }
                }
                IpAddr::V6(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
            }
            out.extend_from_slice(b"\",\"port\":");
            integer(port, out);
            out.push(b'}');
        }
        SocketAddr::Unix(path) => {
            out.extend_from_slice(br#"{"family":"unix","path":"#);
            text(path, out);
            out.push(b'}');
        }
        SocketAddr::Abstract(bytes) => {
            out.extend_from_slice(br#"{"abstract":"#);
            text(bytes, out);
            out.extend_from_slice(br#","family":"unix"}"#);
        }
        SocketAddr::Other(number) => {
            out.extend_from_slice(format!(r#"{{"family":"{name}","number":{number}}}"#).as_bytes());
        }
    }
}

/// Renders the parts of a process as one canonical object, see [`Process::json`]. What is not known is left out.
pub fn process(process: &Process) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"ancestors\":");
    list(&process.ancestors, ANCESTORS, &mut out);
    member(b",\"cgroup\":", process.cgroup.as_deref().map(str::as_bytes), &mut out);
    out.extend_from_slice(if process.complete { b",\"complete\":true" } else { b",\"complete\":false" });
    if let Some(container) = &process.container {
        member(b",\"container\":{\"id\":", Some(container.id.as_bytes()), &mut out);
        member(b",\"runtime\":", Some(container.runtime.as_bytes()), &mut out);
        out.push(b'}');
    }
    member(b",\"exe\":", process.exe.as_deref(), &mut out);
    member(b",\"id\":", Some(process.id.as_bytes()), &mut out);
    if let Some(parent) = &process.parent {
        out.extend_from_slice(b",\"parent\":{");
        if let Some(exe) = &parent.exe {
            member(b"\"exe\":", Some(exe), &mut out);
            out.push(b',');
        }
        member(b"\"id\":", Some(parent.id.as_bytes()), &mut out);
        out.extend_from_slice(b",\"pid\":");
        integer(parent.pid, &mut out);
        out.push(b'}');
    }
    member(b",\"unit\":", process.unit.as_deref().map(str::as_bytes), &mut out);
    out.push(b'}');
    out
}

/// Appends a key and its text, when there is one.
fn member(key: &[u8], bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(bytes) = bytes {
        out.extend_from_slice(key);
        text(bytes, out);
    }
}

/// Whether bytes are a JSON string as they are. Without an early end, so that many are looked at at once.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & byte.is_ascii() & !is_escaped(*byte))
}

const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends bytes as a JSON string with the escapes of RFC 8785, or as `{"b64":"…"}` when they are not UTF-8.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    if std::str::from_utf8(bytes).is_err() {
        out.extend_from_slice(b"{\"b64\":\"");
        out.extend_from_slice(Base64::encode_string(bytes).as_bytes());
        out.extend_from_slice(b"\"}");
        return;
    }
    out.push(b'"');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| is_escaped(*byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(b"0123456789abcdef"[usize::from(control >> 4)]);
                out.push(b"0123456789abcdef"[usize::from(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
