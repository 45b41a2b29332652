//! A check of a field as numbers and paths that say yes.

use common::{
    Call, Header, Kind, Prefix, Record as _, Type,
    filter::{Atom, Near, PATTERN, Place},
    names::Names,
    wire::{Addr, UNSET, family},
};

use crate::{
    policy::{
        eval::{Check, Order},
        pattern::{Net, Pattern},
    },
    record::{Derived, Part, Slot, errno},
};

/// The kernel's own error numbers end here; those behind have no names.
const ERRNO_LIMIT: i64 = 600;
/// Where `ret` and the number of the call are in an event.
const RET: usize = size_of::<Prefix>() + std::mem::offset_of!(Header, ret);
const CALL: usize = std::mem::offset_of!(Prefix, kind);
/// The call in the eight bytes from the kind on.
const CALL_SHIFT: u32 = 16;

/// Where a field of the body starts in an event.
pub fn body(kind: Kind, at: usize) -> usize {
    size_of::<Prefix>() + size_of::<Header>() + kind.offsets()[at]
}

fn atom(offset: usize, mask: u64, low: u64, high: u64) -> Atom {
    Atom { mask, low, high, offset: offset as u32, ..Atom::default() }
}

const WORD: u64 = u32::MAX as u64;
const ALL: u64 = u64::MAX;

/// Numbers one of which holds when the check does; `None` when that cannot be told.
pub fn numbers(kind: Kind, slot: Slot, check: &Check) -> Option<Vec<Vec<Atom>>> {
    let single = |atoms: Vec<Atom>| Some(atoms.into_iter().map(|atom| vec![atom]).collect());
    match slot {
        Slot::Body(at) => field(kind.fields()[at].ty, body(kind, at), check),
        Slot::Header(at) if Header::FIELDS[at].ty == Type::Text => match check {
            Check::Text(pattern) => name16(size_of::<Prefix>() + Header::OFFSETS[at], pattern),
            _ => None,
        },
        Slot::Header(at) => field(Header::FIELDS[at].ty, size_of::<Prefix>() + Header::OFFSETS[at], check),
        Slot::BodyPart(at, Part::Port) => match check {
            Check::Number(order, wanted) => {
                let port = body(kind, at) + std::mem::offset_of!(Addr, family);
                let range = range(*order, *wanted, 0, u16::MAX.into());
                let is_ip = |family: u16| atom(port, 0xffff, family.into(), family.into());
                let number = |(low, high): (u64, u64)| atom(port, 0xffff_0000, low << 16, high << 16);
                let range: Vec<_> = range.into_iter().map(number).collect();
                let both = [family::INET, family::INET6].into_iter();
                Some(both.flat_map(|it| range.iter().map(move |range| vec![is_ip(it), *range])).collect())
            }
            _ => None,
        },
        Slot::BodyPart(..) | Slot::Context(_) | Slot::Derived(Derived::Via) => None,
        Slot::Derived(Derived::Kind) => match check {
            Check::Name(name) if *name == kind.name() => single(vec![atom(CALL, 0, 0, 0)]),
            Check::Name(_) => Some(Vec::new()),
            _ => None,
        },
        Slot::Derived(Derived::Call) => {
            let call = match check {
                Check::Name(name) => *Call::ALL.iter().find(|call| call.name() == *name)? as u64,
                Check::Null => Call::None as u64,
                _ => return None,
            };
            single(vec![atom(CALL, 0xff << CALL_SHIFT, call << CALL_SHIFT, call << CALL_SHIFT)])
        }
        Slot::Derived(Derived::Success) => match check {
            // the errors are the last 4,095 numbers
            Check::Bool(true) => single(vec![atom(RET, ALL, 0, 4096_u64.wrapping_neg())]),
            Check::Bool(false) => single(vec![atom(RET, ALL, 4095_u64.wrapping_neg(), ALL)]),
            _ => None,
        },
        Slot::Derived(Derived::Errno) => {
            let Check::Name(wanted) = check else { return None };
            let numbers = (1..ERRNO_LIMIT).filter(|number| errno::name(-number) == Some(*wanted));
            single(numbers.map(|number| atom(RET, ALL, (-number).cast_unsigned(), (-number).cast_unsigned())).collect())
        }
    }
}

/// What a field of a type must be.
fn field(ty: Type, offset: usize, check: &Check) -> Option<Vec<Vec<Atom>>> {
    let word = |low: u64, high: u64| atom(offset, WORD, low, high);
    let single = |atoms: Vec<Atom>| Some(atoms.into_iter().map(|atom| vec![atom]).collect());
    let ranges =
        |ranges: Vec<(u64, u64)>, mask| single(ranges.iter().map(|it| atom(offset, mask, it.0, it.1)).collect());
    let unset = u64::from(UNSET);
    match (ty, check) {
        (Type::Bool, Check::Bool(true)) => single(vec![word(1, WORD)]),
        (Type::Bool, Check::Bool(false)) => single(vec![word(0, 0)]),
        (Type::Uint, Check::Number(order, wanted)) => ranges(range(*order, *wanted, 0, WORD), WORD),
        (Type::Id | Type::Device | Type::Octal, Check::Number(order, wanted)) => {
            ranges(range(*order, *wanted, 0, unset - 1), WORD)
        }
        (Type::Id | Type::Device | Type::Octal, Check::Null) => single(vec![word(unset, unset)]),
        (Type::Octal, Check::Bits(bits)) => {
            let bits = *bits;
            Some(vec![vec![word(0, unset - 1), atom(offset, bits, bits, bits)]])
        }
        (Type::Uint | Type::Flags(_), Check::Bits(bits)) => {
            let bits = *bits;
            single(vec![atom(offset, bits, bits, bits)])
        }
        // an inode 0 is null; another number that may not fit is not, so zero is left to the user half
        (Type::Big, Check::Number(order, wanted)) => {
            let found = range(*order, *wanted, 0, ALL);
            if found.iter().any(|(low, _)| *low == 0) { None } else { ranges(found, ALL) }
        }
        (Type::Int, Check::Number(order, wanted)) => {
            let low = range(*order, *wanted, i64::MIN, -1);
            let high = range(*order, *wanted, 0, i64::MAX);
            ranges([low, high].concat(), ALL)
        }
        (Type::Name(names), check) => named(names, check)
            .and_then(|numbers| single(numbers.iter().map(|number| word(*number, *number)).collect())),
        (Type::Addr, Check::Net(net)) => addresses(offset, *net),
        _ => None,
    }
}

/// The numbers that a name stands for. A number without a name is told as itself.
fn named(names: Names, check: &Check) -> Option<Vec<u64>> {
    let name = |number: u64| names.iter().find(|(it, _)| *it == number).map(|(_, name)| *name);
    match check {
        Check::Name(wanted) => Some(names.iter().map(|(it, _)| *it).filter(|it| name(*it) == Some(*wanted)).collect()),
        Check::Number(Order::Equal, wanted) => {
            let number = u64::try_from(*wanted).ok()?;
            Some(if name(number).is_none() && number != 0 { vec![number] } else { Vec::new() })
        }
        _ => None,
    }
}

/// The numbers from `least` to `most` that stand in an order to the wanted one, as one range of words at most.
fn range<T: Into<i128>>(order: Order, wanted: i128, least: T, most: T) -> Vec<(u64, u64)> {
    let (least, most) = (least.into(), most.into());
    let (low, high) = match order {
        Order::Equal => (wanted, wanted),
        Order::Less => (least, wanted - 1),
        Order::LessEqual => (least, wanted),
        Order::Greater => (wanted + 1, most),
        Order::GreaterEqual => (wanted, most),
    };
    let (low, high) = (low.max(least), high.min(most));
    if low <= high { vec![(low.cast_unsigned() as u64, high.cast_unsigned() as u64)] } else { Vec::new() }
}

/// The name of a thread as two words.
fn name16(offset: usize, pattern: &Pattern) -> Option<Vec<Vec<Atom>>> {
    let (text, ended) = match pattern {
        Pattern::Is(text) => (text, 1),
        Pattern::Starts(text) => (text, 0),
        Pattern::Ends(_) | Pattern::Contains(_) | Pattern::Regex(_) => return None,
    };
    // an empty name is null; a longer one does not exist
    if text.is_empty() || text.len() + ended > 16 || text.contains(&0) {
        return None;
    }
    let (mut bytes, mut mask) = ([0; 16], [0; 16]);
    bytes[..text.len()].copy_from_slice(text);
    mask[..text.len() + ended].fill(0xff);
    let half = |at: usize| {
        let word = |from: &[u8; 16]| u64::from_ne_bytes(std::array::from_fn(|byte| from[at + byte]));
        atom(offset + at, word(&mask), word(&bytes), word(&bytes))
    };
    Some(vec![[half(0), half(8)].into_iter().filter(|atom| atom.mask != 0).collect()])
}

/// Addresses of a range, also those of IPv4 that are written as IPv6.
fn addresses(offset: usize, net: Net) -> Option<Vec<Vec<Atom>>> {
    let is = |wanted: u16| atom(offset + std::mem::offset_of!(Addr, family), 0xffff, wanted.into(), wanted.into());
    let (base, bits) = net.parts();
    let word = |bytes: &[u8], at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let same = |base: [u8; 16], mask: [u8; 16], at: usize| {
        atom(offset + at, word(&mask, at), word(&base, at), word(&base, at))
    };
    let mask = |bits: u32| u128::MAX.checked_shl(128 - bits).unwrap_or(0).to_be_bytes();
    match base {
        std::net::IpAddr::V4(base) => {
            let mut narrow = [0; 16];
            narrow[..4].copy_from_slice(&base.octets());
            let mapped = base.to_ipv6_mapped().octets();
            Some(vec![
                vec![is(family::INET), same(narrow, mask(bits), 0)],
                vec![is(family::INET6), same(mapped, mask(96 + bits), 0), same(mapped, mask(96 + bits), 8)],
            ])
        }
        // it holds addresses of IPv4, which do not count as such of IPv6
        std::net::IpAddr::V6(_) if net.holds_mapped() => None,
        std::net::IpAddr::V6(base) => {
            let base = base.octets();
            Some(vec![vec![is(family::INET6), same(base, mask(bits), 0), same(base, mask(bits), 8)]])
        }
    }
}

/// A path as the kernel half compares it: whole, or up to its last slash.
pub fn place(pattern: &Pattern) -> Option<Place> {
    let (text, whole) = match pattern {
        Pattern::Is(text) => (&**text, true),
        Pattern::Starts(text) => (&**text, false),
        Pattern::Ends(_) | Pattern::Contains(_) | Pattern::Regex(_) => return None,
    };
    let folded = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    let inner = text.strip_prefix(b"/")?;
    if text.contains(&0) {
        return None;
    }
    // the longest beginning that fits and ends with a component
    let fits = if whole && text.len() < PATTERN { text.len() } else { 0 };
    let slash = text.iter().take(PATTERN).rposition(|byte| *byte == b'/')?;
    let (kept, whole) = if fits > 0 { (text, true) } else { (&text[..=slash], false) };
    let loose = kept.len() < text.len();
    let inner = inner.get(..kept.len() - 1).unwrap_or(inner);
    let components = inner.strip_suffix(b"/").filter(|_| !whole).unwrap_or(inner);
    let mut place = Place { whole: whole.into(), loose: loose.into(), ..Place::default() };
    if !components.is_empty() {
        let parts: Vec<_> = components.split(|byte| *byte == b'/').collect();
        if !parts.iter().all(|part| folded(part)) {
            return None;
        }
        let mut leaf_first = Vec::new();
        for part in parts.iter().rev() {
            leaf_first.extend_from_slice(part);
            leaf_first.push(0);
        }
        if leaf_first.len() > PATTERN {
            return None;
        }
        place.leaf_first[PATTERN - leaf_first.len()..].copy_from_slice(&leaf_first);
        place.leaf_len = leaf_first.len() as u8;
        place.first_len = parts.first().map_or(0, |part| part.len() as u8 + 1);
    }
    place.root_first[..kept.len()].copy_from_slice(kept);
    place.root_len = kept.len() as u8 + u8::from(whole);
    Some(place)
}

/// The part of a place next to the root: as events have it, and as it is written.
pub fn near(place: &Place) -> [Near; 2] {
    const BYTES: usize = size_of::<[u64; 2]>();
    let near = |bytes: &[u8], part: std::ops::Range<usize>| {
        let mut bits = [0; BYTES];
        bits[part].fill(0xff);
        let words =
            |bytes: &[u8]| [0, 8].map(|word| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[word + byte])));
        Near { words: words(bytes), bits: words(&bits) }
    };
    let (leaf, root) = (usize::from(place.leaf_len).min(BYTES), usize::from(place.root_len).min(BYTES));
    [near(&place.leaf_first[PATTERN - BYTES..], BYTES - leaf..BYTES), near(&place.root_first, 0..root)]
}
