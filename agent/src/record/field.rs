//! The fields of a record by name: the declared ones of header and body, and those that the user half adds.

use std::borrow::Cow;

use common::{
    Field, Header, Hook, Kind, Record as _, Type, Value,
    names::{RECORD_CLASSES, RECORD_TYPES},
    wire::SocketAddr,
};

use super::{Record, errno, json};

/// Where a field of a record is found, for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// A field of [`Header`], by position.
    Header(usize),
    /// A field of the body, by position.
    Body(usize),
    /// A part of an address or question in the body, as `peer.port`.
    BodyPart(usize, Part),
    /// What the user half knows.
    Context(ContextField),
    /// What follows from other fields.
    Derived(Derived),
}

/// A part of an address, or of a question to a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `inet`, `inet6`, `unix`.
    Family,
    /// The address as text.
    Ip,
    /// The port.
    Port,
    /// The path of a unix socket.
    Path,
    /// The name of a unix socket in the abstract namespace.
    Abstract,
    /// The class of the question.
    Class,
    /// The number of the question.
    Id,
    /// The name that is asked about, as text.
    Name,
    /// The type of record that is asked for.
    Type,
}

/// What the user half knows about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContextField {
    /// Name of `uid`.
    User,
    /// Name of `euid`.
    Euser,
    /// Name of `auid`.
    Auser,
    /// Name of `gid`.
    Group,
    /// See [`super::Process::id`].
    ProcessId,
    /// See [`super::Process::exe`].
    ProcessExe,
    /// See [`super::Process::ancestors`].
    ProcessAncestors,
    /// See [`super::Process::complete`].
    ProcessComplete,
    /// See [`super::Process::cgroup`].
    ProcessCgroup,
    /// See [`super::Container::id`].
    ProcessContainerId,
    /// See [`super::Container::runtime`].
    ProcessContainerRuntime,
    /// See [`super::Process::unit`].
    ProcessUnit,
    /// See [`super::Relative::id`].
    ProcessParentId,
    /// See [`super::Relative::pid`].
    ProcessParentPid,
    /// See [`super::Relative::exe`].
    ProcessParentExe,
}

/// What follows from other fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derived {
    /// Name of the error, null after a success.
    Errno,
    /// Name of the kind.
    Kind,
    /// Name of the system call; null when the hook is none.
    Call,
    /// Whether the call succeeded.
    Success,
    /// By which other way than a system call it was asked for.
    Via,
}

/// A type by its name; sets of names that are in no table have none.
macro_rules! wire_type {
    (Name) => {
        Type::Name(&[])
    };
    ($type:ident) => {
        Type::$type
    };
}

macro_rules! fields {
    ($list:ident: $variant:ident $ty:ident; $($name:literal $field:ident $type:ident $doc:literal,)*) => {
        /// Fields that are not on the wire, with their places.
        pub const $list: &[(Field, Slot)] = &[$(
            (Field { name: $name, doc: &[$doc], ty: wire_type!($type) }, Slot::$variant($ty::$field)),
        )*];
    };
}

fields! { CONTEXT: Context ContextField;
    "auser" Auser Text " Name of `auid`; null when there is none.",
    "euser" Euser Text " Name of `euid`; null when there is none.",
    "group" Group Text " Name of `gid`; null when there is none.",
    "process.ancestors" ProcessAncestors List " Programs of the ancestors, the parent first.",
    "process.cgroup" ProcessCgroup Text " Path of the control group.",
    "process.complete" ProcessComplete Bool " Whether the history of the process was seen: false when the agent came late or events were lost.",
    "process.container.id" ProcessContainerId Text " Id of the container.",
    "process.container.runtime" ProcessContainerRuntime Text " What runs the container.",
    "process.exe" ProcessExe Text " The program that the process runs.",
    "process.id" ProcessId Text " Id of the process that survives the reuse of process ids and restarts of the agent.",
    "process.parent.exe" ProcessParentExe Text " The program that the parent runs.",
    "process.parent.id" ProcessParentId Text " `process.id` of the parent.",
    "process.parent.pid" ProcessParentPid Uint " Process id of the parent.",
    "process.unit" ProcessUnit Text " systemd unit of the process.",
    "user" User Text " Name of `uid`; null when there is none.",
}

fields! { DERIVED: Derived Derived;
    "call" Call Name " The system call; null when the hook is none.",
    "errno" Errno Name " Name of the error; null after a success.",
    "kind" Kind Name " What happened.",
    "success" Success Bool " Whether the call succeeded.",
    "via" Via Name " `io_uring` for an operation of io_uring(7); null for what a system call did.",
}

/// The name of [`Derived::Via`] for operations of io_uring(7).
pub const VIA_IO_URING: &str = "io_uring";

/// The parts of fields, by the type of these.
const PARTS: &[(Type, &str, Part, Type)] = &[
    (Type::Addr, "family", Part::Family, Type::Name(&[])),
    (Type::Addr, "ip", Part::Ip, Type::Text),
    (Type::Addr, "port", Part::Port, Type::Uint),
    (Type::Addr, "path", Part::Path, Type::Text),
    (Type::Addr, "abstract", Part::Abstract, Type::Text),
    (Type::Question, "class", Part::Class, Type::Name(RECORD_CLASSES)),
    (Type::Question, "id", Part::Id, Type::Uint),
    (Type::Question, "name", Part::Name, Type::Text),
    (Type::Question, "type", Part::Type, Type::Name(RECORD_TYPES)),
];

/// The names of the parts of a field of this type.
pub fn parts(ty: Type) -> impl Iterator<Item = &'static str> {
    PARTS.iter().filter(move |(of, ..)| *of == ty).map(|(_, part, ..)| *part)
}

impl Slot {
    /// Finds a field of a kind by the name that policies use.
    pub fn find(kind: Kind, name: &str) -> Option<(Slot, Type)> {
        let declared =
            |fields: &[Field]| fields.iter().position(|field| field.name == name).map(|at| (at, fields[at].ty));
        if let Some((at, ty)) = declared(kind.fields()) {
            return Some((Slot::Body(at), ty));
        }
        if let Some((at, ty)) = declared(Header::FIELDS) {
            return Some((Slot::Header(at), ty));
        }
        if let Some((field, slot)) = CONTEXT.iter().chain(DERIVED).find(|(field, _)| field.name == name) {
            return Some((*slot, field.ty));
        }
        let (field, part) = name.split_once('.')?;
        let at = kind.fields().iter().position(|it| it.name == field)?;
        let is = |(of, name, ..): &&(Type, &str, Part, Type)| *of == kind.fields()[at].ty && *name == part;
        PARTS.iter().find(is).map(|(.., part, ty)| (Slot::BodyPart(at, *part), *ty))
    }

    /// Its name in policies. `kind`: of the event.
    pub fn name(self, kind: Kind) -> String {
        let added = |wanted: Slot| CONTEXT.iter().chain(DERIVED).find(|(_, slot)| *slot == wanted);
        match self {
            Self::Header(at) => Header::FIELDS[at].name.to_owned(),
            Self::Body(at) => kind.fields()[at].name.to_owned(),
            Self::BodyPart(at, part) => {
                let part = PARTS.iter().find(|(_, _, it, _)| *it == part).map_or("", |(_, name, ..)| name);
                format!("{}.{part}", kind.fields()[at].name)
            }
            Self::Context(_) | Self::Derived(_) => {
                added(self).map_or_else(String::new, |(field, _)| field.name.to_owned())
            }
        }
    }

    /// The names of all fields of a kind, as policies use them.
    pub fn names(kind: Kind) -> impl Iterator<Item = Cow<'static, str>> {
        let parts =
            kind.fields().iter().flat_map(|field| parts(field.ty).map(|part| format!("{}.{part}", field.name).into()));
        let whole = kind.fields().iter().chain(Header::FIELDS).map(|field| field.name);
        let added = CONTEXT.iter().chain(DERIVED).map(|(field, _)| field.name);
        whole.chain(added).map(Cow::Borrowed).chain(parts)
    }
}

impl<'a> Record<'a> {
    /// The value of a field.
    pub fn value(&self, slot: Slot) -> Value<'a> {
        match slot {
            Slot::Header(at) => self.event.header_value(at),
            Slot::Body(at) => self.event.body_value(at),
            Slot::BodyPart(at, part) => self.part(at, part),
            Slot::Context(field) => self.known(field),
            Slot::Derived(field) => self.derived(field),
        }
    }

    /// The value of a field as the text that its JSON string has before escapes, or as a number in decimal; `None`
    /// when it is null. Paths are put together in `scratch`, the rest is borrowed. Lists have no text.
    pub fn text<'s>(&'s self, slot: Slot, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
        scratch.clear();
        if let Slot::BodyPart(at, Part::Ip) = slot {
            let Value::Addr(SocketAddr::Ip(ip, _)) = self.event.body_value(at) else { return None };
            scratch.extend_from_slice(ip.to_string().as_bytes());
            return Some(scratch);
        }
        if let Slot::BodyPart(at, Part::Name) = slot {
            let Value::Question(question) = self.event.body_value(at) else { return None };
            json::domain(question, scratch);
            return Some(scratch);
        }
        match self.value(slot) {
            Value::Null | Value::List(_) | Value::Addr(_) | Value::Question(_) => return None,
            Value::Text(text) => return Some(text),
            Value::Name(name) => return Some(name.as_bytes()),
            value => json::plain(value, scratch),
        }
        Some(scratch)
    }

    fn part(&self, at: usize, wanted: Part) -> Value<'a> {
        let addr = match self.event.body_value(at) {
            Value::Addr(addr) => addr,
            Value::Question(question) => {
                return match wanted {
                    Part::Class => question.class(),
                    Part::Id => Value::Uint(question.id.into()),
                    Part::Type => question.record_type(),
                    // its text has to be made: see `Record::text`
                    _ => Value::Null,
                };
            }
            _ => return Value::Null,
        };
        match (wanted, addr) {
            (Part::Family, addr) => json::family(addr).map_or(Value::Null, Value::Name),
            (Part::Port, SocketAddr::Ip(_, port)) => Value::Uint(u32::from(port)),
            (Part::Path, SocketAddr::Unix(path)) => Value::Text(path),
            (Part::Abstract, SocketAddr::Abstract(name)) => Value::Text(name),
            // the text of an address has to be made: see `Record::text`
            _ => Value::Null,
        }
    }

    fn known(&self, field: ContextField) -> Value<'a> {
        let context = self.context;
        let text = |text: Option<&'a str>| text.map_or(Value::Null, |text| Value::Text(text.as_bytes()));
        let bytes = |bytes: Option<&'a Vec<u8>>| bytes.map_or(Value::Null, |bytes| Value::Text(bytes));
        match field {
            ContextField::User => return text(context.user),
            ContextField::Euser => return text(context.euser),
            ContextField::Auser => return text(context.auser),
            ContextField::Group => return text(context.group),
            _ => {}
        }
        let Some(process) = context.process else { return Value::Null };
        let parent = process.parent.as_ref();
        let container = process.container.as_ref();
        match field {
            ContextField::ProcessId => text(Some(&process.id)),
            ContextField::ProcessExe => bytes(process.exe.as_ref()),
            ContextField::ProcessAncestors => Value::List(&process.ancestors),
            ContextField::ProcessComplete => Value::Bool(process.complete),
            ContextField::ProcessCgroup => text(process.cgroup.as_deref()),
            ContextField::ProcessContainerId => text(container.map(|it| it.id.as_str())),
            ContextField::ProcessContainerRuntime => text(container.map(|it| it.runtime)),
            ContextField::ProcessUnit => text(process.unit.as_deref()),
            ContextField::ProcessParentId => text(parent.map(|it| it.id.as_str())),
            ContextField::ProcessParentPid => parent.map_or(Value::Null, |it| Value::Uint(it.pid)),
            ContextField::ProcessParentExe => bytes(parent.and_then(|it| it.exe.as_ref())),
            ContextField::User | ContextField::Euser | ContextField::Auser | ContextField::Group => Value::Null,
        }
    }

    fn derived(&self, field: Derived) -> Value<'a> {
        let ret = self.event.header.ret;
        match field {
            Derived::Errno => errno::name(ret).map_or(Value::Null, Value::Name),
            Derived::Kind => Value::Name(self.event.kind().name()),
            Derived::Call => match self.event.call.name() {
                "" => Value::Null,
                name => Value::Name(name),
            },
            Derived::Success => Value::Bool(!errno::is_error(ret)),
            Derived::Via => match self.event.hook {
                Hook::IoUring | Hook::IoUringSubmit => Value::Name(VIA_IO_URING),
                _ => Value::Null,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_has_a_field_twice() {
        let reserved = ["evidence", "policy", "process", "time"].map(Cow::Borrowed);
        for kind in Kind::ALL {
            let mut names: Vec<_> = Slot::names(*kind).chain(reserved.clone()).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", kind.name());
        }
    }
}
