//! One record as one line of canonical JSON (RFC 8785): keys sorted, no blanks, the shortest escapes.
//!
//! Numbers of 2^53 and more are strings: a reader with doubles would take another number. Bytes that are not UTF-8 become `{"b64":"…"}`, so that nothing is lost.

use std::sync::OnceLock;

use base64ct::{Base64, Encoding};
use common::{
    Header, Kind, Record as _, Type, Value,
    filter::KINDS,
    wire::{PathParts, SocketAddr, dns::labels, items, mark},
};

use seal::MAX_LINE;

use super::{ContextField, Derived, Judgement, Process, Record, Slot};

/// The JSON of a process names ancestors in at most this many bytes.
const ANCESTORS: usize = MAX_LINE / 16;

/// Room for the name of a list among the truncated fields.
const NAME: usize = 64;

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
enum Item {
    Slot(Slot),
    Evidence,
    Policy,
    Process,
    Time,
}

/// A key with its quotes and colon, and what stands behind it.
type Plan = Vec<(Vec<u8>, Item)>;

/// The keys of each kind in the order of RFC 8785.
fn plan(kind: Kind) -> &'static Plan {
    static PLANS: OnceLock<[Plan; KINDS]> = OnceLock::new();
    let plans = PLANS.get_or_init(|| {
        let mut plans = [const { Plan::new() }; KINDS];
        Kind::ALL.iter().for_each(|kind| plans[*kind as usize] = make_plan(*kind));
        plans
    });
    &plans[kind as usize]
}

fn make_plan(kind: Kind) -> Plan {
    let mut items: Vec<(&str, Item)> = vec![
        ("auser", Item::Slot(Slot::Context(ContextField::Auser))),
        ("call", Item::Slot(Slot::Derived(Derived::Call))),
        ("errno", Item::Slot(Slot::Derived(Derived::Errno))),
        ("euser", Item::Slot(Slot::Context(ContextField::Euser))),
        ("evidence", Item::Evidence),
        ("group", Item::Slot(Slot::Context(ContextField::Group))),
        ("kind", Item::Slot(Slot::Derived(Derived::Kind))),
        ("policy", Item::Policy),
        ("process", Item::Process),
        ("success", Item::Slot(Slot::Derived(Derived::Success))),
        ("time", Item::Time),
        ("user", Item::Slot(Slot::Context(ContextField::User))),
        ("via", Item::Slot(Slot::Derived(Derived::Via))),
    ];
    items.extend(Header::FIELDS.iter().enumerate().map(|(at, field)| (field.name, Item::Slot(Slot::Header(at)))));
    items.extend(kind.fields().iter().enumerate().map(|(at, field)| (field.name, Item::Slot(Slot::Body(at)))));
    items.sort_by_key(|(name, _)| *name);
    items.into_iter().map(|(name, item)| (format!("\"{name}\":").into_bytes(), item)).collect()
}

/// Appends the line of a record, without a line feed. `time` is the wall clock time of the event, as RFC 3339. A list
/// that would make the line longer than [`MAX_LINE`] is cut: escapes make up to six bytes of one, and whoever chooses
/// the arguments of a program must not be able to keep it out of the log.
pub fn line(record: &Record<'_>, judgement: Judgement<'_>, time: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let longest = members(record, judgement, time, MAX_LINE, out);
    let over = (out.len() - start).saturating_sub(MAX_LINE);
    if over > 0 {
        out.truncate(start);
        members(record, judgement, time, longest.saturating_sub(over + NAME), out);
    }
}

/// Appends a record with lists of at most `room` bytes. Returns the bytes of the longest.
fn members(record: &Record<'_>, judgement: Judgement<'_>, time: &str, room: usize, out: &mut Vec<u8>) -> usize {
    let (start, mut longest, mut cut_list) = (out.len(), 0, None);
    out.push(b'{');
    for (key, item) in plan(record.event.kind()) {
        let slot_value = match item {
            Item::Slot(slot) => record.value(*slot),
            Item::Evidence | Item::Policy | Item::Process | Item::Time => Value::Null,
        };
        if slot_value == Value::Null && matches!(item, Item::Slot(slot) if !is_always_told(*slot)) {
            continue;
        }
        if out.len() > start + 1 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        match item {
            Item::Slot(slot) => match slot_value {
                Value::List(it) => {
                    let start = out.len();
                    if !list(it, room, out) {
                        cut_list = Some(*slot);
                    }
                    longest = longest.max(out.len() - start);
                }
                it => value(it, out),
            },
            Item::Evidence => evidence(record, cut_list, out),
            Item::Policy => {
                out.extend_from_slice(b"{\"rule\":");
                text(judgement.rule.as_bytes(), out);
                out.extend_from_slice(b",\"verdict\":\"");
                out.extend_from_slice(judgement.verdict.name().as_bytes());
                out.extend_from_slice(b"\"}");
            }
            Item::Process => match record.context.process {
                Some(process) => out.extend_from_slice(&process.json),
                None => out.extend_from_slice(b"null"),
            },
            Item::Time => {
                out.push(b'"');
                out.extend_from_slice(time.as_bytes());
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
    longest
}

/// Fields without a value are left out, but for those of the header that say who it was: there, null says "nobody".
fn is_always_told(slot: Slot) -> bool {
    matches!(slot, Slot::Header(at) if Header::FIELDS[at].ty == Type::Id)
}

/// How good the evidence is: the hook, and the fields that were copied from the caller's memory or cut short.
fn evidence(record: &Record<'_>, cut_list: Option<Slot>, out: &mut Vec<u8>) {
    let kind = record.event.kind();
    let marked = |name: &[u8], bit: u32, out: &mut Vec<u8>| {
        let start = out.len();
        for (at, field) in kind.fields().iter().enumerate() {
            let cut_here = bit == mark::TRUNCATED && cut_list == Some(Slot::Body(at));
            let absent_copy = bit == mark::USER && record.event.body_marks(at) & mark::ABSENT != 0;
            if record.event.body_marks(at) & bit != 0 && !absent_copy || cut_here {
                out.extend_from_slice(if out.len() == start { name } else { b"," });
                text(field.name.as_bytes(), out);
            }
        }
        if out.len() > start {
            out.push(b']');
        }
    };
    out.extend_from_slice(b"{\"hook\":");
    text(record.event.hook.name().as_bytes(), out);
    marked(b",\"truncated\":[", mark::TRUNCATED, out);
    marked(b",\"user_copy\":[", mark::USER, out);
    out.push(b'}');
}

/// Writes a value as JSON; a list has to be cut, see [`list`].
fn value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::List(_) => out.extend_from_slice(b"null"),
        Value::Int(it) if it.unsigned_abs() >= 1 << 53 => quoted(value, out),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => plain(value, out),
        Value::Text(it) => text(it, out),
        Value::Addr(it) => addr(it, out),
        Value::Path(it) if it.name.is_empty() && !it.is_detached() => path_text(it, out),
        Value::Path(_) => {
            let mut bytes = Vec::with_capacity(256);
            plain(value, &mut bytes);
            text(&bytes, out);
        }
        Value::Domain(_) => {
            let mut bytes = Vec::with_capacity(64);
            plain(value, &mut bytes);
            text(&bytes, out);
        }
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

/// Appends a value as plain text: what its JSON string holds before escapes. Lists, addresses and null have none.
pub fn plain(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::List(_) | Value::Addr(_) => {}
        Value::Bool(it) => out.extend_from_slice(if it { b"true" } else { b"false" }),
        Value::Int(it) => integer(it, out),
        Value::Uint(it) => integer(it, out),
        Value::Big(it) => integer(it, out),
        Value::Text(it) => out.extend_from_slice(it),
        Value::Name(it) => out.extend_from_slice(it.as_bytes()),
        Value::Path(it) => path(it, out),
        Value::Domain(it) => domain(it, out),
        Value::Flags(bits, names) => flags(bits, names, out),
        Value::Octal(it) => out.extend_from_slice(format!("{it:04o}").as_bytes()),
        Value::Device(it) => {
            integer(it >> 20, out);
            out.push(b':');
            integer(it & 0xf_ffff, out);
        }
    }
}

/// The bits of open(2)'s flags that are no bits but a number.
const O_ACCMODE: u32 = 3;

fn flags(bits: u32, names: &[(u32, &str)], out: &mut Vec<u8>) {
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
        out.extend_from_slice(if left == 0 { "0".to_owned() } else { format!("{left:#x}") }.as_bytes());
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

/// Writes a domain name as RFC 1035 (5.1) and RFC 4343 (2.1) do: a dot or backslash in a label gets a backslash, what is
/// not printable three digits. The root is a dot.
fn domain(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    for label in labels(bytes) {
        if out.len() > start {
            out.push(b'.');
        }
        for byte in label {
            match byte {
                b'.' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                0x21..=0x7e => out.push(*byte),
                _ => out.extend_from_slice(format!("\\{byte:03}").as_bytes()),
            }
        }
    }
    if out.len() == start {
        out.push(b'.');
    }
}

/// Writes a resolved path as a JSON string without a copy where no component needs escapes.
fn path_text(parts: PathParts<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'"');
    path(parts, out);
    if out[start + 1..].iter().all(|byte| byte.is_ascii() && !is_escaped(*byte)) {
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
        SocketAddr::Ip(std::net::IpAddr::V4(_), _) => Some("inet"),
        SocketAddr::Ip(std::net::IpAddr::V6(_), _) => Some("inet6"),
        SocketAddr::Unix(_) | SocketAddr::Abstract(_) => Some("unix"),
        SocketAddr::Other(16) => Some("netlink"),
        SocketAddr::Other(17) => Some("packet"),
        SocketAddr::Other(38) => Some("alg"),
        SocketAddr::Other(40) => Some("vsock"),
        SocketAddr::Other(_) => None,
    }
}

fn addr(addr: SocketAddr<'_>, out: &mut Vec<u8>) {
    let name = family(addr).unwrap_or("other");
    match addr {
        SocketAddr::Ip(ip, port) => {
            out.extend_from_slice(format!(r#"{{"family":"{name}","ip":"{ip}","port":{port}}}"#).as_bytes());
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

const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends bytes as a JSON string with the escapes of RFC 8785, or as `{"b64":"…"}` when they are not UTF-8.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) {
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
