//! Rules as they are run: slots resolved, values compiled, cheap tests first.

use std::cmp::Ordering;

use common::{
    Value,
    wire::{SocketAddr, items},
};

use super::pattern::{Net, Pattern};
use crate::record::{Record, Slot};

/// What a rule asks of a record of one kind.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    All(Box<[Expr]>),
    Any(Box<[Expr]>),
    Not(Box<Expr>),
    Test(Test),
}

/// A field and what its value may be.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub operand: Operand,
    pub checks: Box<[Check]>,
    /// All checks must hold; else one is enough.
    pub all: bool,
    /// The test is turned round.
    pub negated: bool,
}

/// Where the value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Borrowed from the record.
    Field(Slot),
    /// Put together in a cell of the scratch space.
    Made(Slot, usize),
    /// A list joined with spaces in a cell of the scratch space.
    Joined(Slot, usize),
}

/// What a value may be.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Null,
    Bool(bool),
    Number(Order, i128),
    /// All of these bits are set.
    Bits(u64),
    Name(&'static str),
    /// Of a list: one of the texts.
    Text(Pattern),
    /// The same for many patterns at once.
    Texts(Texts),
    /// An address in the range.
    Net(Net),
    /// Not an internet address.
    NoIp,
}

/// Whole texts and beginnings of texts. A text is mostly none of them, and its first bytes tell.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    headed: Box<[Headed]>,
    /// A bit for each second byte that a text of them may have; paths all have the same first one.
    seconds: [u64; 4],
}

/// A pattern, and which of a text's first eight bytes must be what.
#[derive(Clone, Debug)]
struct Headed {
    mask: u64,
    head: u64,
    pattern: Pattern,
}

impl Texts {
    /// Takes the patterns that have a fixed beginning out of some checks of which one is enough.
    fn gather(checks: Vec<Check>) -> Vec<Check> {
        let (headed, mut others): (Vec<_>, Vec<_>) =
            checks.into_iter().partition(|check| matches!(check, Check::Text(Pattern::Is(_) | Pattern::Starts(_))));
        if headed.len() < 2 {
            others.splice(0..0, headed);
            return others;
        }
        let patterns = headed.into_iter().filter_map(|check| match check {
            Check::Text(pattern @ (Pattern::Is(_) | Pattern::Starts(_))) => Some(Headed::new(pattern)),
            _ => None,
        });
        others.insert(0, Check::Texts(Self::new(patterns.collect())));
        others
    }

    fn new(headed: Box<[Headed]>) -> Self {
        let mut seconds = [0; 4];
        for it in &headed {
            match it.second() {
                Some(byte) => seconds[usize::from(byte / 64)] |= 1 << (byte % 64),
                None => seconds = [u64::MAX; 4],
            }
        }
        Self { headed, seconds }
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.headed.iter().map(|it| &it.pattern)
    }

    fn matches(&self, text: &[u8]) -> bool {
        if let Some(second) = text.get(1)
            && self.seconds[usize::from(second / 64)] >> (second % 64) & 1 == 0
        {
            return false;
        }
        let head = head(text);
        self.headed.iter().any(|it| head & it.mask == it.head && it.pattern.matches(text))
    }
}

impl Headed {
    fn new(pattern: Pattern) -> Self {
        let bytes = match &pattern {
            Pattern::Is(it) | Pattern::Starts(it) => &it[..it.len().min(size_of::<u64>())],
            Pattern::Ends(_) | Pattern::Contains(_) | Pattern::Regex(_) => &[],
        };
        Self { mask: head(&[0xff; size_of::<u64>()][..bytes.len()]), head: head(bytes), pattern }
    }

    /// What the second byte of a text must be.
    fn second(&self) -> Option<u8> {
        let [_, mask, ..] = self.mask.to_le_bytes();
        let [_, second, ..] = self.head.to_le_bytes();
        (mask != 0).then_some(second)
    }
}

/// The first eight bytes of a text as one number; what is not there is 0.
fn head(text: &[u8]) -> u64 {
    let mut head = [0; size_of::<u64>()];
    match text.first_chunk() {
        Some(first) => head = *first,
        None => head[..text.len()].copy_from_slice(text),
    }
    u64::from_le_bytes(head)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Buffers for texts that have to be put together; keep one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    cells: Vec<Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    text: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    Null,
    Text,
}

impl Scratch {
    /// Forgets the texts of the record before.
    pub(super) fn reset(&mut self, cells: usize) {
        if self.cells.len() < cells {
            self.cells.resize_with(cells, Cell::default);
        }
        for cell in &mut self.cells[..cells] {
            cell.state = State::Empty;
        }
    }

    /// The text of a cell, made at most once per record.
    fn text(&mut self, cell: usize, make: impl FnOnce(&mut Vec<u8>) -> bool) -> Value<'_> {
        let cell = &mut self.cells[cell];
        if cell.state == State::Empty {
            cell.state = if make(&mut cell.text) { State::Text } else { State::Null };
        }
        if cell.state == State::Text { Value::Text(&cell.text) } else { Value::Null }
    }
}

impl Expr {
    /// Whether a record is what the rule asks for.
    pub fn holds(&self, record: &Record<'_>, scratch: &mut Scratch) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(record, scratch)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(record, scratch)),
            Self::Not(part) => !part.holds(record, scratch),
            Self::Test(test) => test.holds(record, scratch),
        }
    }

    /// Whether it holds when only some answers are known; `None` when that depends on the others (Kleene's logic).
    pub fn certain(&self, known: &dyn Fn(Slot, &Check) -> Option<bool>) -> Option<bool> {
        match self {
            Self::All(parts) => decide(parts, false, |part| part.certain(known)),
            Self::Any(parts) => decide(parts, true, |part| part.certain(known)),
            Self::Not(part) => part.certain(known).map(|it| !it),
            Self::Test(test) => match test.operand {
                Operand::Field(slot) | Operand::Made(slot, _) => {
                    let found = decide(&test.checks, !test.all, |check| known(slot, check));
                    found.map(|it| it != test.negated)
                }
                Operand::Joined(..) => None,
            },
        }
    }

    /// Puts cheap tests first, and many texts together; nothing else changes, since tests have no effects.
    pub fn sort(&mut self) -> u32 {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                let mut sorted: Vec<_> =
                    std::mem::take(parts).into_vec().into_iter().map(|mut part| (part.sort(), part)).collect();
                sorted.sort_by_key(|(cost, _)| *cost);
                let cost = sorted.iter().fold(0, |sum: u32, (cost, _)| sum.saturating_add(*cost));
                *parts = sorted.into_iter().map(|(_, part)| part).collect();
                cost
            }
            Self::Not(part) => part.sort(),
            Self::Test(test) => {
                if !test.all {
                    test.checks = Texts::gather(std::mem::take(&mut test.checks).into_vec()).into();
                }
                test.cost()
            }
        }
    }
}

/// The first part that gives the deciding answer decides; else one unknown answer makes all unknown.
fn decide<T>(parts: &[T], deciding: bool, answer: impl Fn(&T) -> Option<bool>) -> Option<bool> {
    let mut result = Some(!deciding);
    for part in parts {
        match answer(part) {
            Some(it) if it == deciding => return Some(deciding),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Test {
    fn holds(&self, record: &Record<'_>, scratch: &mut Scratch) -> bool {
        let value = match self.operand {
            Operand::Field(slot) => record.value(slot),
            Operand::Made(slot, cell) => scratch.text(cell, |text| record.text(slot, text).is_some()),
            Operand::Joined(slot, cell) => scratch.text(cell, |text| join(record.value(slot), text)),
        };
        self.accepts(value)
    }

    fn accepts(&self, value: Value<'_>) -> bool {
        let found = if self.all {
            self.checks.iter().all(|check| check.accepts(value))
        } else {
            self.checks.iter().any(|check| check.accepts(value))
        };
        found != self.negated
    }

    fn cost(&self) -> u32 {
        let fetch = match self.operand {
            Operand::Field(_) => 1,
            Operand::Made(..) => 16,
            Operand::Joined(..) => 32,
        };
        let checks = self.checks.iter().map(|check| match check {
            Check::Text(Pattern::Regex(_)) => 64,
            Check::Text(_) => 4,
            _ => 1,
        });
        checks.fold(fetch, u32::saturating_add)
    }
}

impl Check {
    pub fn accepts(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Null, value) => value == Value::Null,
            (Self::Bool(wanted), Value::Bool(it)) => it == *wanted,
            (Self::Name(wanted), Value::Name(it)) => it == *wanted,
            (Self::Text(pattern), Value::Text(text)) => pattern.matches(text),
            (Self::Text(pattern), Value::Name(name)) => pattern.matches(name.as_bytes()),
            (Self::Text(pattern), Value::List(list)) => items(list).any(|item| pattern.matches(item)),
            (Self::Texts(texts), Value::Text(text)) => texts.matches(text),
            (Self::Texts(texts), Value::Name(name)) => texts.matches(name.as_bytes()),
            (Self::Texts(texts), Value::List(list)) => items(list).any(|item| texts.matches(item)),
            (Self::Bits(wanted), Value::Octal(it) | Value::Uint(it)) => u64::from(it) & wanted == *wanted,
            (Self::Bits(wanted), Value::Flags(it, _)) => it & wanted == *wanted,
            (Self::Net(net), Value::Addr(SocketAddr::Ip(address, _))) => net.contains(address),
            (Self::NoIp, value) => !matches!(value, Value::Addr(SocketAddr::Ip(..))),
            (Self::Number(order, wanted), value) => number(value).is_some_and(|it| order.accepts(it.cmp(wanted))),
            _ => false,
        }
    }
}

impl Order {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterEqual => ordering.is_ge(),
        }
    }
}

fn number(value: Value<'_>) -> Option<i128> {
    match value {
        Value::Int(it) => Some(it.into()),
        Value::Uint(it) | Value::Octal(it) | Value::Device(it) => Some(it.into()),
        Value::Big(it) => Some(it.into()),
        _ => None,
    }
}

fn join(value: Value<'_>, text: &mut Vec<u8>) -> bool {
    text.clear();
    let Value::List(list) = value else { return false };
    for (at, item) in items(list).enumerate() {
        if at > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(item);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns and texts short, long and alike: together they say what each says alone.
    #[test]
    fn many_patterns_say_what_each_of_them_says() {
        let words =
            ["", "/", "/e", "/etc", "/etc/", "/etc/pas", "/etc/passwd", "/etc/passwd-", "/etc/pass", "/usr/lib/x", "a"];
        let texts = words.iter().map(|it| it.as_bytes()).chain([&b"/e\0"[..], b"/etc\0\0\0\0", b"\xff/etc"]);
        for text in texts {
            for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other))) {
                let alone = || {
                    let bytes = |it: &str| it.as_bytes().into();
                    vec![Check::Text(Pattern::Is(bytes(one))), Check::Text(Pattern::Starts(bytes(other)))]
                };
                let together = Texts::gather(alone());
                assert!(matches!(together[..], [Check::Texts(_)]));
                let expected = alone().iter().any(|check| check.accepts(Value::Text(text)));
                assert_eq!(together[0].accepts(Value::Text(text)), expected, "{one:?} {other:?} {text:?}");
            }
        }
    }
}
