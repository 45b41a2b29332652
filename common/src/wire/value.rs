//! A field as its readers see it, and how each type of the wire becomes one.

use core::{
    ffi::CStr,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    Addr, Bool, Device, Dns, Id, Inode, Mode, Moment, Name16, Path, Question, Text, TextList, UNSET, User, Wide,
    family, mark,
};
use crate::names::Names;

/// A field as its readers see it: borrowed, never copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Not there.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// A number that fits into 32 bits.
    Uint(u32),
    /// A number that may not fit into the 53 bits of a JSON number, and so is written as a string.
    Big(u64),
    /// Any bytes but NUL.
    Text(&'a [u8]),
    /// One of a known set of names.
    Name(&'static str),
    /// Strings, each ended by a NUL.
    List(&'a [u8]),
    /// A path in its parts.
    Path(PathParts<'a>),
    /// The address of a socket.
    Addr(SocketAddr<'a>),
    /// What a name server is asked.
    Question(Question<'a>),
    /// Bits with names; the rest is written as a number.
    Flags(u64, Names),
    /// Written in octal, as modes are.
    Octal(u32),
    /// `dev_t`, written as `major:minor`.
    Device(u32),
}

/// A path in its parts, see [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathParts<'a> {
    components: &'a [u8],
    /// The name that the caller gave; empty when the kernel resolved all of it.
    pub name: &'a [u8],
    /// Beside an object that a security hook saw: what the caller's memory said at the end of the call.
    pub said: &'a [u8],
    /// Bits of [`mark`].
    pub marks: u32,
}

impl<'a> PathParts<'a> {
    /// The resolved components, root first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        let components = self.components.strip_suffix(b"\0").unwrap_or(self.components);
        components.rsplit(|byte| *byte == 0).filter(|component| !component.is_empty())
    }

    /// Whether the caller's memory named another entry than the one that the call was about. Only for calls that take the
    /// last component as it is: others follow symbolic links.
    pub fn differs(&self) -> bool {
        let said = self.said.rsplit(|byte| *byte == b'/').find(|component| !component.is_empty());
        let is_entry = |name: &&[u8]| *name != b"." && *name != b"..";
        said.filter(is_entry).is_some_and(|said| self.components().next_back() != Some(said))
    }

    /// Whether the path is a bare name outside of every directory tree.
    pub fn is_detached(&self) -> bool {
        self.marks & mark::DETACHED != 0
    }
}

/// The address of a socket, see [`Addr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAddr<'a> {
    /// IPv4 or IPv6 with a port.
    Ip(IpAddr, u16),
    /// A local socket by its path; empty when it has no name.
    Unix(&'a [u8]),
    /// A local socket in the abstract namespace, without the leading NUL.
    Abstract(&'a [u8]),
    /// Another address family, by number.
    Other(u16),
}

/// What a field is, for the schema, the docs and the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A signed number.
    Int,
    /// A number that fits into 32 bits.
    Uint,
    /// A number, written as a string.
    Big,
    /// A number or null.
    Id,
    /// A string, or `{"b64": …}` when it is not UTF-8; or null.
    Text,
    /// An array of texts.
    List,
    /// A text that starts with a slash (but for detached files).
    Path,
    /// An object with `family` and `ip`, `port`, or `path`, or `abstract`.
    Addr,
    /// An object with `class`, `id`, `name` and `type`; or null.
    Question,
    /// A string of names joined by `|`.
    Flags(Names),
    /// A string of octal digits; or null.
    Octal,
    /// A string `major:minor`; or null.
    Device,
    /// One of a set of names; a number without a name; or null.
    Name(Names),
}

/// A type that may stand in a body.
pub trait Wire {
    /// What it is.
    const TYPE: Type;
    /// How its readers see it.
    fn value<'a>(&'a self, tail: &'a [u8]) -> Value<'a>;
    /// Bits of [`mark`].
    fn marks(&self) -> u32 {
        0
    }
}

macro_rules! wire {
    ($($ty:ty => $variant:ident, |$self:ident, $tail:ident| $value:expr $(, marks $marks:expr)?;)*) => {$(
        impl Wire for $ty {
            const TYPE: Type = Type::$variant;
            fn value<'a>(&'a self, $tail: &'a [u8]) -> Value<'a> { let $self = self; $value }
            $( fn marks(&self) -> u32 { let $self = self; $marks } )?
        }
    )*};
}

wire! {
    u32 => Uint, |it, _tail| Value::Uint(*it);
    u64 => Big, |it, _tail| Value::Big(*it);
    i64 => Int, |it, _tail| Value::Int(*it);
    i32 => Int, |it, _tail| Value::Int(i64::from(*it));
    Wide => Big, |it, _tail| match u64::from(it.0[0]) | u64::from(it.0[1]) << 32 { u64::MAX => Value::Null, number => Value::Big(number) };
    Bool => Bool, |it, _tail| Value::Bool(it.0 != 0);
    Id => Id, |it, _tail| if it.0 == UNSET { Value::Null } else { Value::Uint(it.0) };
    Name16 => Text, |it, _tail| text(it.bytes());
    Mode => Octal, |it, _tail| if it.0 == UNSET { Value::Null } else { Value::Octal(it.0) };
    Device => Device, |it, _tail| if it.0 == UNSET { Value::Null } else { Value::Device(it.0) };
    Inode => Big, |it, _tail| match u64::from(it.0[0]) | u64::from(it.0[1]) << 32 { 0 => Value::Null, number => Value::Big(number) };
    Moment => Int, |it, _tail| if *it == Moment::NONE { Value::Null } else { Value::Int(i64::from(it.0[1].cast_signed()) << 32 | i64::from(it.0[0])) };
    Text => Text, |it, tail| present(it.marks, Value::Text(slice(tail, it.start, it.len))), marks it.marks;
    TextList => List, |it, tail| present(it.marks, Value::List(slice(tail, it.start, it.len))), marks it.marks;
    Path => Path, |it, tail| it.value(tail), marks it.marks;
    Addr => Addr, |it, tail| it.value(tail), marks it.marks;
    Dns => Question, |it, tail| Question::read(slice(tail, it.start, it.len)).map_or(Value::Null, Value::Question), marks it.marks;
}

impl<T: Wire> Wire for User<T> {
    const TYPE: Type = T::TYPE;
    fn value<'a>(&'a self, tail: &'a [u8]) -> Value<'a> {
        self.0.value(tail)
    }
    fn marks(&self) -> u32 {
        self.0.marks() | mark::USER | if self.0.value(&[]) == Value::Null { mark::ABSENT } else { 0 }
    }
}

impl Name16 {
    /// The name without what follows it.
    pub fn bytes(&self) -> &[u8] {
        until_nul(&self.0)
    }
}

impl Path {
    fn value<'a>(&'a self, tail: &'a [u8]) -> Value<'a> {
        let components = slice(tail, self.start, self.len);
        let name = until_nul(slice(tail, self.name, self.name_len));
        // a pipe has no name at all, a namespace that of no place (`d_alloc_anon` in `fs/dcache.c`)
        let is_nameless = components.is_empty() || components == b"/";
        if self.marks & mark::ABSENT != 0 || self.marks & mark::DETACHED != 0 && is_nameless {
            return Value::Null;
        }
        let (name, said) = if self.marks & mark::OBJECT != 0 { (&[][..], name) } else { (name, &[][..]) };
        Value::Path(PathParts { components, name, said, marks: self.marks })
    }
}

impl Addr {
    fn value<'a>(&'a self, tail: &'a [u8]) -> Value<'a> {
        let [a, b, c, d, ..] = self.ip;
        Value::Addr(match self.family {
            0 => return Value::Null,
            family::INET => SocketAddr::Ip(Ipv4Addr::new(a, b, c, d).into(), self.port),
            family::INET6 => SocketAddr::Ip(Ipv6Addr::from(self.ip).into(), self.port),
            family::UNIX => match slice(tail, self.start, self.len) {
                [0, name @ ..] => SocketAddr::Abstract(name),
                path => SocketAddr::Unix(until_nul(path)),
            },
            other => SocketAddr::Other(other),
        })
    }
}

/// The strings of a [`Value::List`].
pub fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = (!list.is_empty()).then(|| list.strip_suffix(b"\0").unwrap_or(list));
    whole.into_iter().flat_map(|list| list.split(|byte| *byte == 0))
}

/// The kernel may have cut the tail short: what is missing is empty, never a panic.
fn slice(tail: &[u8], start: u32, len: u32) -> &[u8] {
    let start = start as usize;
    start.checked_add(len as usize).and_then(|end| tail.get(start..end)).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    // finds it a word at a time
    CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes)
}

fn text(bytes: &[u8]) -> Value<'_> {
    if bytes.is_empty() { Value::Null } else { Value::Text(bytes) }
}

fn present(marks: u32, value: Value<'_>) -> Value<'_> {
    if marks & mark::ABSENT != 0 { Value::Null } else { value }
}
