//! From the rules as written to expressions over the slots of each kind.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use common::{Kind, Type};

use super::{
    condition::Condition,
    eval::{Expr, Operand, Test},
    pattern::Regexes,
    rule::{Written, WrittenRule},
    value::{self, Modifiers},
};
use crate::{
    document::{Data, Key, Node, Place, Report},
    record::{Part, Slot},
};

/// All rules of a policy may have this many values together, counted once for each kind.
const VALUE_LIMIT: usize = 200_000;
/// The arguments as one text, as Sigma's `CommandLine`.
pub(super) const COMMAND_LINE: &str = "command_line";

/// The rules that look at one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct KindRules {
    /// Position of the rule in the policy, and what it asks for.
    pub rules: Vec<(usize, Expr)>,
    /// The fields whose texts are made in the scratch space, by cell.
    pub cells: Vec<Slot>,
}

/// What compiling several files has in common.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub kinds: BTreeMap<Kind, KindRules>,
    regexes: Regexes,
    values: usize,
}

impl Compiler {
    /// Compiles the rules of a file; `first` is the position of its first rule in the policy.
    pub fn add(&mut self, written: &Written<'_>, first: usize, report: &mut Report) {
        let mut used = BTreeSet::new();
        for (at, rule) in written.rules.iter().enumerate() {
            let Some(kinds) = kinds_of(rule, report) else { continue };
            let mut possible = false;
            for kind in kinds {
                let known = report.count();
                let rules = self.kinds.entry(kind).or_default();
                let mut scope = Scope {
                    kind,
                    rule: &rule.rule.id,
                    lists: &written.lists,
                    used: &mut used,
                    cells: &mut rules.cells,
                    regexes: &mut self.regexes,
                    values: &mut self.values,
                    report,
                };
                let mut expr = scope.condition(&rule.condition, &rule.selections);
                expr.sort();
                possible |= report.count() > known
                    || super::push::worlds(kind).iter().any(|world| world.certain(&expr) != Some(false));
                rules.rules.push((first + at, expr));
            }
            if !possible {
                report.add(rule.place, format!("rule \"{}\" can never match", rule.rule.id));
            }
        }
        for (name, (key, _)) in written.lists.iter().filter(|(name, _)| !used.contains(**name)) {
            report.add(key.place, format!("no rule uses list \"{name}\""));
        }
    }
}

/// The name of a field in a key such as `path|contains`.
fn field_of(key: &Key) -> &str {
    key.text.split('|').next().unwrap_or_default()
}

fn has_field(kind: Kind, name: &str) -> bool {
    Slot::find(kind, name).is_some() || (kind == Kind::Exec && name == COMMAND_LINE)
}

/// All names that stand for fields of a kind.
fn names(kind: Kind) -> Vec<Cow<'static, str>> {
    let added = (kind == Kind::Exec).then_some(Cow::Borrowed(COMMAND_LINE));
    Slot::names(kind).chain(added).collect()
}

/// The kinds for which a rule is compiled: those it names, or all that have its fields.
fn kinds_of(rule: &WrittenRule<'_>, report: &mut Report) -> Option<Vec<Kind>> {
    let id = &rule.rule.id;
    let keys: Vec<&Key> = rule.selections.iter().flat_map(|(_, node)| keys(node)).collect();
    if let Some(kinds) = &rule.kinds {
        for key in &keys {
            if let Some(kind) = kinds.iter().find(|kind| !has_field(**kind, field_of(key))) {
                let name = field_of(key);
                let known = names(*kind);
                let what = format!("rule \"{id}\": unknown field \"{name}\" of kind {}", kind.name());
                report.unknown(key.place, what, name, known.iter().map(Cow::as_ref));
            }
        }
        let clean = keys.iter().all(|key| kinds.iter().all(|kind| has_field(*kind, field_of(key))));
        return clean.then(|| kinds.clone());
    }
    let mut clean = true;
    for key in &keys {
        let name = field_of(key);
        if !Kind::ALL.iter().any(|kind| has_field(*kind, name)) {
            clean = false;
            let known: BTreeSet<_> = Kind::ALL.iter().flat_map(|kind| names(*kind)).collect();
            let what = format!("rule \"{id}\": no kind has a field \"{name}\"");
            report.unknown(key.place, what, name, known.iter().map(Cow::as_ref));
        }
    }
    let kinds: Vec<_> =
        Kind::ALL.iter().copied().filter(|kind| keys.iter().all(|key| has_field(*kind, field_of(key)))).collect();
    if clean && kinds.is_empty() {
        let fields: BTreeSet<_> = keys.iter().map(|key| field_of(key)).collect();
        let fields = fields.into_iter().collect::<Vec<_>>().join(", ");
        report.add(rule.place, format!("rule \"{id}\" can never match: no kind has all of the fields {fields}"));
    }
    (clean && !kinds.is_empty()).then_some(kinds)
}

fn keys(node: &Node) -> Vec<&Key> {
    match &node.data {
        Data::Map(entries) => entries.iter().map(|(key, _)| key).collect(),
        Data::List(nodes) => nodes.iter().flat_map(keys).collect(),
        Data::Scalar { .. } => Vec::new(),
    }
}

/// One rule while it is compiled for one kind.
struct Scope<'a> {
    kind: Kind,
    rule: &'a str,
    lists: &'a BTreeMap<&'a str, (&'a Key, &'a [Node])>,
    used: &'a mut BTreeSet<String>,
    cells: &'a mut Vec<Slot>,
    regexes: &'a mut Regexes,
    values: &'a mut usize,
    report: &'a mut Report,
}

impl Scope<'_> {
    fn condition(&mut self, condition: &Condition, selections: &[(&Key, &Node)]) -> Expr {
        match condition {
            Condition::Selection(at) => self.selection(selections[*at].1),
            Condition::All(parts) => Expr::All(parts.iter().map(|part| self.condition(part, selections)).collect()),
            Condition::Any(parts) => Expr::Any(parts.iter().map(|part| self.condition(part, selections)).collect()),
            Condition::Not(part) => Expr::Not(Box::new(self.condition(part, selections))),
        }
    }

    /// A map: all of its tests; a list of maps: any of them.
    fn selection(&mut self, node: &Node) -> Expr {
        match &node.data {
            Data::Map(entries) if entries.is_empty() => {
                self.wrong(node.place, "an empty selection matches nothing or everything");
            }
            Data::Map(entries) => {
                return Expr::All(
                    entries.iter().filter_map(|(key, node)| self.test(key, node)).map(Expr::Test).collect(),
                );
            }
            Data::List(nodes) if nodes.iter().all(|node| matches!(node.data, Data::Map(_))) => {
                return Expr::Any(nodes.iter().map(|node| self.selection(node)).collect());
            }
            Data::List(_) | Data::Scalar { .. } => {
                self.report.hint(
                    node.place,
                    format!("rule \"{}\": words without a field are not searched for", self.rule),
                    "write \"field: value\"",
                );
            }
        }
        Expr::Any(Box::default())
    }

    fn test(&mut self, key: &Key, node: &Node) -> Option<Test> {
        let mut parts = key.text.split('|');
        let field = parts.next().unwrap_or_default();
        let modifiers = match Modifiers::parse(parts) {
            Ok(modifiers) => modifiers,
            Err(error) => {
                self.report_value(key.place, &error);
                return None;
            }
        };
        let (operand, ty) = self.operand(field, modifiers)?;
        let nodes = self.values(node)?;
        if modifiers.all && nodes.len() < 2 {
            self.wrong(key.place, "\"all\" needs a list of values");
            return None;
        }
        let mut checks = Vec::new();
        let mut negated = modifiers.neq;
        for node in nodes {
            *self.values += 1;
            if *self.values > VALUE_LIMIT {
                self.wrong(node.place, "the policy has too many values");
                return None;
            }
            let target = value::Target { field, ty, operand };
            match target.check(node, modifiers, self.regexes) {
                Ok((check, turned)) => {
                    negated ^= turned;
                    checks.push(check);
                }
                Err(error) => self.report_value(node.place, &error),
            }
        }
        Some(Test { operand, checks: checks.into(), all: modifiers.all, negated })
    }

    /// Where the value of a field comes from.
    fn operand(&mut self, field: &str, modifiers: Modifiers) -> Option<(Operand, Type)> {
        if self.kind == Kind::Exec && field == COMMAND_LINE {
            let (slot, _) = Slot::find(self.kind, "argv")?;
            return Some((Operand::Joined(slot, self.cell(slot)), Type::Text));
        }
        let (slot, ty) = Slot::find(self.kind, field)?;
        Some(match (slot, ty) {
            // only whether there is a path needs no text
            (_, Type::Path) if !modifiers.is_presence() => (Operand::Made(slot, self.cell(slot)), ty),
            (Slot::BodyPart(_, Part::Name), _) => (Operand::Made(slot, self.cell(slot)), ty),
            // addresses are compared as such, not as texts
            (Slot::BodyPart(at, Part::Ip), _) => (Operand::Field(Slot::Body(at)), Type::Addr),
            _ => (Operand::Field(slot), ty),
        })
    }

    fn cell(&mut self, slot: Slot) -> usize {
        self.cells.iter().position(|it| *it == slot).unwrap_or_else(|| {
            self.cells.push(slot);
            self.cells.len() - 1
        })
    }

    /// The values of a test, with lists put in where `$name` stands.
    fn values<'n>(&mut self, node: &'n Node) -> Option<Vec<&'n Node>>
    where
        Self: 'n,
    {
        let lists = self.lists;
        let given: Vec<&'n Node> = match &node.data {
            Data::List(nodes) if nodes.is_empty() => {
                self.wrong(node.place, "an empty list matches nothing");
                return None;
            }
            Data::List(nodes) => nodes.iter().collect(),
            Data::Scalar { .. } => vec![node],
            Data::Map(_) => {
                self.wrong(node.place, "a field is tested for a value or a list of values, not for a map");
                return None;
            }
        };
        let mut values = Vec::new();
        for node in given {
            let Some(name) = node.scalar().and_then(|text| text.strip_prefix('$')) else {
                values.push(node);
                continue;
            };
            let Some((_, nodes)) = lists.get(name) else {
                let what = format!("rule \"{}\": there is no list \"{name}\"", self.rule);
                self.report.unknown(node.place, what, name, lists.keys().copied());
                return None;
            };
            self.used.insert(name.to_owned());
            values.extend(nodes.iter());
        }
        Some(values)
    }

    fn wrong(&mut self, place: Place, what: &str) {
        self.report.add(place, format!("rule \"{}\": {what}", self.rule));
    }

    fn report_value(&mut self, place: Place, error: &value::ValueError) {
        let what = format!("rule \"{}\": {error}", self.rule);
        if let value::ValueError::Unknown { name, known, .. } = error {
            return self.report.unknown(place, what, name, known.iter().copied());
        }
        match error.hint() {
            Some(hint) => self.report.hint(place, what, hint),
            None => self.report.add(place, what),
        }
    }
}
