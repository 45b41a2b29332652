//! A record as a line: which members, in which order.
//!
//! Most of a line is the same in the next one of the same process: the writer keeps these parts as they were written.

use std::sync::OnceLock;

use common::{Call, Field, Header, Hook, Kind, Record as _, Type, Value, filter::KINDS, wire::mark};
use seal::MAX_LINE;
use zerocopy::IntoBytes as _;

use super::{list, text, value};
use crate::record::{Context, ContextField, Derived, Judgement, Record, Slot, mismatches};

/// Room for the name of a list among the truncated fields.
const NAME: usize = 64;

/// Ids that hardly ever differ from another one, and that one: they are told when they do.
pub const UNLIKE: &[(&str, &str)] = &[
    ("suid", "euid"),
    ("fsuid", "euid"),
    ("sgid", "egid"),
    ("fsgid", "egid"),
    ("old_suid", "old_euid"),
    ("old_fsuid", "old_euid"),
    ("old_sgid", "old_egid"),
    ("old_fsgid", "old_egid"),
];

/// Fields of the header that are another in each event.
const MOVING: [&str; 4] = ["cpu", "ktime", "ret", "seq"];

/// What stands behind a key.
#[derive(Clone, Copy, Debug)]
enum Item {
    Slot(Slot),
    /// Left out when it is the same as the other.
    Unlike(Slot, Slot),
    Evidence,
    Policy,
    Process,
    Time,
}

/// A comma, a key with its quotes and a colon; and what stands behind it.
type Member = (Vec<u8>, Item);

/// Members of a line that stand together.
#[derive(Debug)]
enum Part {
    /// They follow from what [`Steady`] is about.
    Steady(Vec<Member>),
    Moving(Member),
}

/// The members of each kind in the order of RFC 8785.
fn plan(kind: Kind) -> &'static [Part] {
    static PLANS: OnceLock<Vec<Vec<Part>>> = OnceLock::new();
    let plans = PLANS.get_or_init(|| {
        // numbers of kinds have gaps
        let mut plans: Vec<_> = (0..KINDS).map(|_| Vec::new()).collect();
        for kind in Kind::ALL {
            plans[*kind as usize] = make_plan(*kind);
        }
        plans
    });
    &plans[kind as usize]
}

fn make_plan(kind: Kind) -> Vec<Part> {
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
    let told = |fields: &'static [Field], slot: fn(usize) -> Slot| {
        fields.iter().enumerate().map(move |(at, field)| {
            let other = UNLIKE.iter().find(|(name, _)| *name == field.name).map(|(_, other)| other);
            let other = other.and_then(|other| fields.iter().position(|field| field.name == *other));
            (field.name, other.map_or(Item::Slot(slot(at)), |other| Item::Unlike(slot(at), slot(other))))
        })
    };
    items.extend(told(Header::FIELDS, Slot::Header));
    items.extend(told(kind.fields(), Slot::Body));
    items.sort_by_key(|(name, _)| *name);
    let mut parts = Vec::new();
    for (name, item) in items {
        let member = (format!(",\"{name}\":").into_bytes(), item);
        match parts.last_mut() {
            Some(Part::Steady(members)) if is_steady(item) => members.push(member),
            _ if is_steady(item) => parts.push(Part::Steady(vec![member])),
            _ => parts.push(Part::Moving(member)),
        }
    }
    parts
}

/// Whether an item follows from what [`Steady`] compares.
fn is_steady(item: Item) -> bool {
    match item {
        Item::Slot(Slot::Header(at)) | Item::Unlike(Slot::Header(at), _) => !MOVING.contains(&Header::FIELDS[at].name),
        Item::Slot(Slot::Derived(it)) => matches!(it, Derived::Call | Derived::Kind | Derived::Via),
        Item::Slot(Slot::Context(it)) => {
            matches!(it, ContextField::Auser | ContextField::Euser | ContextField::Group | ContextField::User)
        }
        Item::Slot(Slot::Body(_) | Slot::BodyPart(..))
        | Item::Unlike(..)
        | Item::Evidence
        | Item::Policy
        | Item::Process
        | Item::Time => false,
    }
}

/// Lines that it remembers parts of: by kind and thread, the last one with the same remainder.
const REMEMBERED: usize = 64;

/// Writes records as lines, and remembers what may be the same in the next one.
#[derive(Debug, Default)]
pub struct Writer {
    steady: Vec<Steady>,
}

/// The steady parts of a line, and what they follow from.
#[derive(Debug, Default)]
struct Steady {
    kind: Option<(Kind, Call, Hook)>,
    header: Header,
    names: [Option<Box<str>>; 4],
    /// The parts, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Writer {
    /// Appends the line of a record, without a line feed. `time` is the wall clock time of the event, as RFC 3339. A
    /// list that would make the line longer than [`MAX_LINE`] is cut: escapes make up to six bytes of one, and whoever
    /// chooses the arguments of a program must not be able to keep it out of the log.
    pub fn line(&mut self, record: &Record<'_>, judgement: Judgement<'_>, time: &str, out: &mut Vec<u8>) {
        if self.steady.is_empty() {
            self.steady.resize_with(REMEMBERED, Steady::default);
        }
        let len = self.steady.len();
        let place = record.event.header.tid.wrapping_mul(7).wrapping_add(record.event.kind() as u32);
        let steady = &mut self.steady[place as usize % len];
        steady.follow(record);
        let start = out.len();
        let longest = members(record, judgement, time, MAX_LINE, steady, out);
        let over = (out.len() - start).saturating_sub(MAX_LINE);
        if over > 0 {
            out.truncate(start);
            members(record, judgement, time, longest.saturating_sub(over + NAME), steady, out);
        }
    }
}

/// Appends the line of one record, see [`Writer::line`].
pub fn line(record: &Record<'_>, judgement: Judgement<'_>, time: &str, out: &mut Vec<u8>) {
    Writer { steady: vec![Steady::default()] }.line(record, judgement, time, out);
}

impl Steady {
    /// Forgets the parts when they would be others for this record.
    fn follow(&mut self, record: &Record<'_>) {
        let event = &record.event;
        let header = Header { cpu: 0, ktime: 0, ret: 0, seq: 0, ..*event.header };
        let kind = Some((event.kind(), event.call, event.hook));
        let Context { user, euser, auser, group, .. } = record.context;
        let names = [user, euser, auser, group];
        let same = self.kind == kind
            && self.header.as_bytes() == header.as_bytes()
            && self.names.iter().zip(names).all(|(is, was)| is.as_deref() == was);
        if !same {
            (self.kind, self.header, self.names) = (kind, header, names.map(|name| name.map(Box::from)));
            self.bytes.clear();
            self.ends.clear();
        }
    }

    /// Appends a part, remembered or new.
    fn write(&mut self, at: usize, part: &[Member], record: &Record<'_>, out: &mut Vec<u8>) {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        if let Some(end) = self.ends.get(at) {
            out.extend_from_slice(&self.bytes[from..*end]);
            return;
        }
        let start = out.len();
        for (key, item) in part {
            if let Some(it) = told(record, *item) {
                out.extend_from_slice(key);
                value(it, out);
            }
        }
        self.bytes.extend_from_slice(&out[start..]);
        self.ends.push(self.bytes.len());
    }
}

/// Appends a record with lists of at most `room` bytes. Returns the bytes of the longest.
fn members(
    record: &Record<'_>,
    judgement: Judgement<'_>,
    time: &str,
    room: usize,
    steady: &mut Steady,
    out: &mut Vec<u8>,
) -> usize {
    let (start, mut longest, mut cut_list, mut at) = (out.len(), 0, None, 0);
    for part in plan(record.event.kind()) {
        let (key, item) = match part {
            Part::Steady(members) => {
                steady.write(at, members, record, out);
                at += 1;
                continue;
            }
            Part::Moving((key, item)) => (key, *item),
        };
        match item {
            Item::Slot(_) | Item::Unlike(..) => match told(record, item) {
                None => {}
                Some(Value::List(it)) => {
                    out.extend_from_slice(key);
                    let start = out.len();
                    if !list(it, room, out) {
                        cut_list = slot_of(item);
                    }
                    longest = longest.max(out.len() - start);
                }
                Some(it) => {
                    out.extend_from_slice(key);
                    value(it, out);
                }
            },
            Item::Evidence => {
                out.extend_from_slice(key);
                evidence(record, cut_list, out);
            }
            Item::Policy => {
                out.extend_from_slice(key);
                out.extend_from_slice(b"{\"rule\":");
                text(judgement.rule.as_bytes(), out);
                out.extend_from_slice(b",\"verdict\":\"");
                out.extend_from_slice(judgement.verdict.name().as_bytes());
                out.extend_from_slice(b"\"}");
            }
            Item::Process => {
                out.extend_from_slice(key);
                out.extend_from_slice(record.context.process.map_or(b"null", |process| &process.json));
            }
            Item::Time => {
                out.extend_from_slice(key);
                out.push(b'"');
                out.extend_from_slice(time.as_bytes());
                out.push(b'"');
            }
        }
    }
    // each member begins with a comma, the first one with the brace
    out[start] = b'{';
    out.push(b'}');
    longest
}

/// The value of a member; `None` when it is left out: without a value, but for the ids of the header that say who it
/// was (there, null says "nobody"), or the same as another.
fn told<'a>(record: &Record<'a>, item: Item) -> Option<Value<'a>> {
    match item {
        Item::Slot(slot) => {
            let value = record.value(slot);
            let always = matches!(slot, Slot::Header(at) if Header::FIELDS[at].ty == Type::Id);
            (value != Value::Null || always).then_some(value)
        }
        Item::Unlike(slot, other) => {
            let value = record.value(slot);
            (value != record.value(other)).then_some(value)
        }
        Item::Evidence | Item::Policy | Item::Process | Item::Time => None,
    }
}

fn slot_of(item: Item) -> Option<Slot> {
    if let Item::Slot(slot) = item { Some(slot) } else { None }
}

/// How good the evidence is: the hook, and the fields that were copied from the caller's memory or cut short.
fn evidence(record: &Record<'_>, cut_list: Option<Slot>, out: &mut Vec<u8>) {
    let kind = record.event.kind();
    let marked = |name: &[u8], bit: u32, out: &mut Vec<u8>| {
        let start = out.len();
        for (at, field) in kind.fields().iter().enumerate() {
            let cut_here = bit == mark::TRUNCATED && cut_list == Some(Slot::Body(at));
            let has = record.event.body_marks(at) & bit != 0;
            let absent_copy = has && bit == mark::USER && record.event.body_value(at) == Value::Null;
            if has && !absent_copy || cut_here {
                out.extend_from_slice(if out.len() == start { name } else { b"," });
                out.push(b'"');
                out.extend_from_slice(field.name.as_bytes());
                out.push(b'"');
            }
        }
        if out.len() > start {
            out.push(b']');
        }
    };
    out.extend_from_slice(b"{\"hook\":\"");
    out.extend_from_slice(record.event.hook.name().as_bytes());
    out.push(b'"');
    let start = out.len();
    for (field, _) in mismatches(record) {
        out.extend_from_slice(if out.len() == start { b",\"mismatch\":[" } else { b"," });
        text(field.as_bytes(), out);
    }
    if out.len() > start {
        out.push(b']');
    }
    let all = (0..kind.fields().len()).fold(0, |all, at| all | record.event.body_marks(at));
    if all & mark::TRUNCATED != 0 || cut_list.is_some() {
        marked(b",\"truncated\":[", mark::TRUNCATED, out);
    }
    if all & mark::USER != 0 {
        marked(b",\"user_copy\":[", mark::USER, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use common::{Event, wire::Id};
    use serde_json::Value as Json;

    use super::*;
    use crate::record::sample;

    #[test]
    fn no_two_fields_of_a_kind_have_one_name() {
        for kind in Kind::ALL {
            let members = plan(*kind).iter().flat_map(|part| match part {
                Part::Steady(members) => members.as_slice(),
                Part::Moving(member) => std::slice::from_ref(member),
            });
            let keys: Vec<_> = members.map(|(key, _)| String::from_utf8_lossy(key)).collect();
            assert!(keys.is_sorted_by(|one, after| one < after), "{kind:?}: {keys:?}");
        }
    }

    fn event(kind: Kind, header: &Header) -> Vec<u64> {
        sample::event(sample::prefix(kind), header, &[0; 512], &[])
    }

    /// Each header field in turn is another one, for two records each: what is remembered must not be told of another.
    #[test]
    fn what_is_remembered_is_what_would_be_written() {
        let mut writer = Writer::default();
        let mut check = |kind, header: &Header, user| {
            let words = event(kind, header);
            let context = Context { user, ..Context::default() };
            let record = Record { event: Event::decode(words.as_bytes()).unwrap(), context };
            let (mut is, mut expected) = (Vec::new(), Vec::new());
            writer.line(&record, Judgement::default(), "now", &mut is);
            line(&record, Judgement::default(), "now", &mut expected);
            assert_eq!(String::from_utf8_lossy(&is), String::from_utf8_lossy(&expected));
        };
        for kind in Kind::ALL {
            for byte in 0..size_of::<Header>() {
                let mut header = Header::default();
                header.as_mut_bytes()[byte] = 7;
                check(*kind, &header, None);
                check(*kind, &Header { seq: 8, ktime: 9, ret: -2, cpu: 1, ..header }, None);
                check(*kind, &header, Some("somebody"));
                check(*kind, &header, Some("else"));
            }
        }
    }

    #[test]
    fn ids_are_left_out_when_they_are_the_usual_ones() {
        let check = |header: Header, expected: &[(&str, Option<u32>)]| {
            let words = event(Kind::Unlink, &header);
            let record = Record { event: Event::decode(words.as_bytes()).unwrap(), context: Context::default() };
            let mut out = Vec::new();
            line(&record, Judgement::default(), "now", &mut out);
            let found: Json = serde_json::from_slice(&out).unwrap();
            for (name, expected) in expected {
                let found = found.get(*name).map(|it| it.as_u64().map(|it| it as u32));
                assert_eq!(found, expected.map(Some), "{name}");
            }
        };
        let all = |id| Header { euid: Id(id), suid: Id(id), fsuid: Id(id), ..Header::default() };
        let nothing = [("suid", None), ("fsuid", None), ("sgid", None), ("fsgid", None)];
        check(all(1000), &nothing);
        check(all(common::wire::UNSET), &nothing);
        check(Header { suid: Id(0), ..all(1000) }, &[("euid", Some(1000)), ("suid", Some(0)), ("fsuid", None)]);
        check(Header { fsgid: Id(5), ..all(1000) }, &[("egid", Some(0)), ("sgid", None), ("fsgid", Some(5))]);
    }
}
