//! Values of a rule and their modifiers, checked against the type of the field.

use common::{Call, Kind, Type};

use super::{
    eval::{Check, Operand, Order},
    pattern::{Anchor, Net, NetError, Pattern, Regexes, has_wildcard},
    push,
};
use crate::{
    document::{Data, Node},
    record::{
        Derived, Part, Slot,
        field::{self, VIA_IO_URING},
    },
};

/// A regular expression may have this many bytes.
const REGEX_TEXT_LIMIT: usize = 1024;
const MODIFIERS: &[&str] = &[
    "contains",
    "startswith",
    "endswith",
    "all",
    "cased",
    "nocase",
    "re",
    "cidr",
    "lt",
    "lte",
    "gt",
    "gte",
    "neq",
    "exists",
    "bits",
];
const FAMILIES: &[&str] = &["inet", "inet6", "unix", "netlink", "packet", "alg", "vsock"];

/// How the values of a test are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modifiers {
    op: Op,
    pub all: bool,
    pub neq: bool,
    nocase: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Text(Anchor),
    Regex,
    Cidr,
    Order(Order),
    Exists,
    Bits,
}

/// What is wrong with a value or its modifiers.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("unknown {what} \"{name}\"")]
    Unknown { what: String, name: String, known: Vec<&'static str> },
    #[error("\"{first}\" and \"{second}\" do not go together")]
    Conflict { first: String, second: String },
    #[error("field \"{field}\" is {is}: \"{modifier}\" does not fit it")]
    Unfit { field: String, is: &'static str, modifier: &'static str },
    #[error("field \"{field}\" takes {is}, not \"{found}\"")]
    Mistyped { field: String, is: &'static str, found: String, hint: Option<String> },
    #[error("field \"{field}\" has several parts")]
    Whole { field: String, ty: Type },
    #[error("{0} stands where a single value should")]
    Shape(&'static str),
    #[error("\"exists\" takes true or false, not \"{0}\"")]
    Presence(String),
    #[error("there is no value here")]
    Missing,
    #[error("a regular expression that the regex crate refuses: {0}")]
    Regex(String),
    #[error("{0}")]
    Net(#[from] NetError),
}

impl ValueError {
    /// What would be right.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Mistyped { hint, .. } => hint.clone(),
            Self::Whole { field, ty } => {
                let parts: Vec<_> = field::parts(*ty).map(|part| format!("{field}.{part}")).collect();
                Some(format!("name one: {}", parts.join(", ")))
            }
            Self::Missing => Some("write null where nothing is meant".to_owned()),
            Self::Unfit {
                is: "a number or null" | "a number" | "octal digits",
                modifier: "contains" | "startswith" | "endswith" | "re",
                ..
            } => Some("numbers are compared with lt, lte, gt, gte and bits".to_owned()),
            Self::Unfit { is: "an address", .. } => Some("addresses are compared as such or with cidr".to_owned()),
            _ => None,
        }
    }
}

impl Modifiers {
    /// Reads what follows the name of a field, separated by `|`.
    pub fn parse<'k>(names: impl Iterator<Item = &'k str>) -> Result<Self, ValueError> {
        let mut modifiers = Self { op: Op::Equal, all: false, neq: false, nocase: false };
        let mut cased = false;
        let mut chosen = None;
        for name in names {
            let op = match name {
                "all" => {
                    modifiers.all = true;
                    continue;
                }
                "neq" => {
                    modifiers.neq = true;
                    continue;
                }
                "nocase" => {
                    modifiers.nocase = true;
                    continue;
                }
                // Sigma's word for what is the rule here
                "cased" => {
                    cased = true;
                    continue;
                }
                "contains" => Op::Text(Anchor::Part),
                "startswith" => Op::Text(Anchor::Start),
                "endswith" => Op::Text(Anchor::End),
                "re" => Op::Regex,
                "cidr" => Op::Cidr,
                "lt" => Op::Order(Order::Less),
                "lte" => Op::Order(Order::LessEqual),
                "gt" => Op::Order(Order::Greater),
                "gte" => Op::Order(Order::GreaterEqual),
                "exists" => Op::Exists,
                "bits" => Op::Bits,
                other => {
                    return Err(ValueError::Unknown {
                        what: "modifier".into(),
                        name: other.to_owned(),
                        known: MODIFIERS.to_vec(),
                    });
                }
            };
            if let Some(first) = chosen.replace(name) {
                return Err(ValueError::Conflict { first: first.to_owned(), second: name.to_owned() });
            }
            modifiers.op = op;
        }
        let conflict = |first: &str, second: &str| {
            Err(ValueError::Conflict { first: first.to_owned(), second: second.to_owned() })
        };
        if cased && modifiers.nocase {
            return conflict("cased", "nocase");
        }
        if modifiers.op == Op::Exists && (modifiers.all || modifiers.neq || modifiers.nocase) {
            return conflict(
                "exists",
                if modifiers.all {
                    "all"
                } else if modifiers.neq {
                    "neq"
                } else {
                    "nocase"
                },
            );
        }
        Ok(modifiers)
    }

    /// Whether only presence is asked for.
    pub fn is_presence(self) -> bool {
        self.op == Op::Exists
    }

    /// The modifier as written, for messages.
    fn name(self) -> &'static str {
        match self.op {
            Op::Equal if self.nocase => "nocase",
            Op::Equal => "neq",
            Op::Text(Anchor::Start) => "startswith",
            Op::Text(Anchor::End) => "endswith",
            Op::Text(Anchor::Part | Anchor::Whole) => "contains",
            Op::Regex => "re",
            Op::Cidr => "cidr",
            Op::Order(Order::Less) => "lt",
            Op::Order(Order::LessEqual) => "lte",
            Op::Order(Order::Greater) => "gt",
            Op::Order(Order::GreaterEqual | Order::Equal) => "gte",
            Op::Exists => "exists",
            Op::Bits => "bits",
        }
    }
}

/// The field that a value is for.
pub(super) struct Target<'a> {
    pub field: &'a str,
    pub ty: Type,
    pub operand: Operand,
}

impl Target<'_> {
    /// Compiles a value. The second part of the result tells whether the test is to be turned round.
    pub fn check(&self, node: &Node, modifiers: Modifiers, regexes: &mut Regexes) -> Result<(Check, bool), ValueError> {
        let Data::Scalar { text, plain } = &node.data else { return Err(ValueError::Shape(node.shape())) };
        if *plain && text.is_empty() {
            return Err(ValueError::Missing);
        }
        let nothing = if self.is_ip() { Check::NoIp } else { Check::Null };
        if modifiers.op == Op::Exists {
            return match text.as_str() {
                "true" => Ok((nothing, true)),
                "false" => Ok((nothing, false)),
                _ => Err(ValueError::Presence(text.clone())),
            };
        }
        if node.is_null() || (text == "unset" && self.ty == Type::Id) {
            return match modifiers.op {
                Op::Equal if !modifiers.nocase => Ok((nothing, false)),
                _ => Err(ValueError::Conflict { first: modifiers.name().to_owned(), second: text.clone() }),
            };
        }
        self.typed(text, modifiers, regexes).map(|check| (check, false))
    }

    fn typed(&self, text: &str, modifiers: Modifiers, regexes: &mut Regexes) -> Result<Check, ValueError> {
        let op = modifiers.op;
        if modifiers.nocase && !matches!(self.ty, Type::Text | Type::List | Type::Path | Type::Name(_)) {
            return Err(self.unfit(Modifiers { op: Op::Equal, ..modifiers }));
        }
        match (self.ty, op) {
            (Type::Bool, Op::Equal) => self.boolean(text).map(Check::Bool),
            (Type::Int | Type::Uint | Type::Big | Type::Id, Op::Equal) => {
                self.number(text).map(|it| Check::Number(Order::Equal, it))
            }
            (Type::Int | Type::Uint | Type::Big | Type::Id, Op::Order(order)) => {
                self.number(text).map(|it| Check::Number(order, it))
            }
            (Type::Octal, Op::Equal) => self.octal(text).map(|it| Check::Number(Order::Equal, it.into())),
            (Type::Octal, Op::Bits) => self.octal(text).map(|it| Check::Bits(it.into())),
            (Type::Uint, Op::Bits) => {
                self.number(text)?.try_into().map(Check::Bits).map_err(|_| self.mistyped(text, None))
            }
            (Type::Device, Op::Equal) => self.device(text).map(|it| Check::Number(Order::Equal, it.into())),
            (Type::Flags(_), Op::Equal) => self.flag(text).map(Check::Bits),
            (Type::Addr, Op::Equal) if self.is_ip() => Ok(Check::Net(Net::parse(text)?)),
            (Type::Addr, Op::Cidr) => Ok(Check::Net(Net::parse(text)?)),
            (Type::Addr, _) if !self.is_ip() => Err(self.whole()),
            (Type::Question, _) => Err(self.whole()),
            (Type::Name(_), Op::Equal) if !modifiers.nocase && !has_wildcard(text) => self.name(text),
            (Type::Text | Type::List | Type::Path | Type::Name(_), Op::Equal) => {
                self.text(text, Anchor::Whole, modifiers, regexes)
            }
            (Type::Text | Type::List | Type::Path | Type::Name(_), Op::Text(anchor)) => {
                self.text(text, anchor, modifiers, regexes)
            }
            (Type::Text | Type::List | Type::Path | Type::Name(_), Op::Regex) => {
                if text.len() > REGEX_TEXT_LIMIT {
                    return Err(ValueError::Regex(format!(
                        "it has {} bytes of at most {REGEX_TEXT_LIMIT}",
                        text.len()
                    )));
                }
                regexes
                    .compile(text, modifiers.nocase)
                    .map(|it| Check::Text(Pattern::Regex(it)))
                    .map_err(|error| refused(&error))
            }
            _ => Err(self.unfit(modifiers)),
        }
    }

    fn text(
        &self,
        text: &str,
        anchor: Anchor,
        modifiers: Modifiers,
        regexes: &mut Regexes,
    ) -> Result<Check, ValueError> {
        // what the kernel resolved starts with a slash, so another beginning is a mistake that would never match
        if self.ty == Type::Path && matches!(anchor, Anchor::Whole | Anchor::Start) && text.starts_with("~/") {
            let hint = format!("write \"/home/*{}\"", &text[1..]);
            return Err(self.mistyped(text, Some(hint)));
        }
        Pattern::glob(text, anchor, modifiers.nocase, regexes).map(Check::Text).map_err(|error| refused(&error))
    }

    fn is_ip(&self) -> bool {
        self.ty == Type::Addr && self.field.rsplit('.').next() == Some("ip")
    }

    fn boolean(&self, text: &str) -> Result<bool, ValueError> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.mistyped(text, None)),
        }
    }

    fn number(&self, text: &str) -> Result<i128, ValueError> {
        let (least, most) = match self.ty {
            Type::Int => (i64::MIN.into(), i64::MAX.into()),
            Type::Big => (0, u64::MAX.into()),
            _ => (0, u32::MAX.into()),
        };
        let unset = self.ty == Type::Id && matches!(text, "-1" | "4294967295");
        let hint = || unset.then(|| "write null or unset".to_owned());
        match text.parse::<i128>() {
            Ok(number) if (least..=most).contains(&number) && !unset => Ok(number),
            _ => Err(self.mistyped(text, hint())),
        }
    }

    fn octal(&self, text: &str) -> Result<u32, ValueError> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let valid = !digits.is_empty() && digits.bytes().all(|it| (b'0'..=b'7').contains(&it));
        let number = valid.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
        number.ok_or_else(|| self.mistyped(text, Some("write for example \"0600\"".to_owned())))
    }

    fn device(&self, text: &str) -> Result<u32, ValueError> {
        let parts = text
            .split_once(':')
            .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
        match parts {
            Some((major, minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(major << 20 | minor),
            _ => Err(self.mistyped(text, Some("write for example \"8:1\"".to_owned()))),
        }
    }

    fn flag(&self, text: &str) -> Result<u64, ValueError> {
        let Type::Flags(names) = self.ty else { return Err(self.mistyped(text, None)) };
        let found = names.iter().find(|(_, name)| *name == text);
        found.map(|(bit, _)| *bit).ok_or_else(|| self.unknown(text, names.iter().map(|(_, name)| *name).collect()))
    }

    fn name(&self, text: &str) -> Result<Check, ValueError> {
        let slot = match self.operand {
            Operand::Field(slot) | Operand::Made(slot, _) | Operand::Joined(slot, _) => slot,
        };
        let (mut known, numbered): (Vec<&'static str>, bool) = match (slot, self.ty) {
            (Slot::Derived(Derived::Kind), _) => (Kind::ALL.iter().map(|kind| kind.name()).collect(), false),
            (Slot::Derived(Derived::Call), _) => (Call::ALL.iter().map(|call| call.name()).collect(), false),
            (Slot::Derived(Derived::Via), _) => (vec![VIA_IO_URING], false),
            (Slot::Derived(Derived::Errno), _) => (push::errors().to_vec(), false),
            (Slot::BodyPart(_, Part::Family), _) => (FAMILIES.to_vec(), false),
            (_, Type::Name(names)) if !names.is_empty() => (names.iter().map(|(_, name)| *name).collect(), true),
            // a set that this place does not know yet: any text may be right
            _ => return Ok(Check::Text(Pattern::Is(text.as_bytes().into()))),
        };
        // two numbers may have one name
        known.dedup();
        match known.iter().find(|name| **name == text) {
            Some(name) => Ok(Check::Name(name)),
            // values without a name are written as numbers
            None if numbered && text.parse::<u32>().is_ok() => {
                Ok(Check::Number(Order::Equal, text.parse().unwrap_or_default()))
            }
            None => Err(self.unknown(text, known)),
        }
    }

    fn unknown(&self, text: &str, mut known: Vec<&'static str>) -> ValueError {
        // two numbers may bear one name
        known.dedup();
        ValueError::Unknown { what: format!("value of {}", self.field), name: text.to_owned(), known }
    }

    fn mistyped(&self, text: &str, hint: Option<String>) -> ValueError {
        ValueError::Mistyped { field: self.field.to_owned(), is: describe(self.ty), found: text.to_owned(), hint }
    }

    fn whole(&self) -> ValueError {
        ValueError::Whole { field: self.field.to_owned(), ty: self.ty }
    }

    fn unfit(&self, modifiers: Modifiers) -> ValueError {
        ValueError::Unfit { field: self.field.to_owned(), is: describe(self.ty), modifier: modifiers.name() }
    }
}

fn refused(error: &regex::Error) -> ValueError {
    // the message of the parser shows the expression on several lines; its last one says what is wrong
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    ValueError::Regex(last.strip_prefix("error: ").unwrap_or(last).to_owned())
}

fn describe(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::Int | Type::Uint | Type::Big => "a number",
        Type::Id => "a number or null",
        Type::Text => "a text",
        Type::List => "a list of texts",
        Type::Path => "an absolute path",
        Type::Addr => "an address",
        Type::Question => "a question",
        Type::Flags(_) => "a set of flags",
        Type::Octal => "octal digits",
        Type::Device => "a device as major:minor",
        Type::Name(_) => "one of a set of names",
    }
}
