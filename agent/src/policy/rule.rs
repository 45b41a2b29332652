//! A policy file as written: its lists and rules, checked as far as that goes without the fields of a kind.

use std::collections::BTreeMap;

use common::Kind;

use super::{Level, OWN_RULES, Rule, condition::Condition};
use crate::{
    document::{Data, Key, Node, Place, Report},
    record::Verdict,
};

/// A policy may have this many rules.
pub(super) const RULE_LIMIT: usize = 1000;
const FILE_KEYS: &[&str] = &["version", "lists", "rules", "default"];
/// Keys of a rule that are no selections.
const RULE_KEYS: &[&str] =
    &["id", "title", "description", "kinds", "condition", "verdict", "level", "tags", "references"];
const VERDICTS: &[Verdict] = &[Verdict::Drop, Verdict::Keep, Verdict::Alert, Verdict::Capture];

/// A file.
pub(super) struct Written<'n> {
    pub lists: BTreeMap<&'n str, (&'n Key, &'n [Node])>,
    pub rules: Vec<WrittenRule<'n>>,
    pub default: Option<(Verdict, Place)>,
}

/// A rule.
pub(super) struct WrittenRule<'n> {
    pub rule: Rule,
    pub place: Place,
    /// The kinds it names; `None` for all that have its fields.
    pub kinds: Option<Vec<Kind>>,
    pub selections: Vec<(&'n Key, &'n Node)>,
    pub condition: Condition,
}

/// Reads a document. What cannot be read is reported and left out. `is_own`: of the agent itself.
pub(super) fn read<'n>(document: &'n Node, is_own: bool, report: &mut Report) -> Written<'n> {
    let mut written = Written { lists: BTreeMap::new(), rules: Vec::new(), default: None };
    let Data::Map(entries) = &document.data else {
        report.hint(
            document.place,
            format!("a policy is a map, not {}", document.shape()),
            "start with \"version: 1\"",
        );
        return written;
    };
    if document.find("version").is_none() {
        report.hint(document.place, "the policy has no version", "write \"version: 1\"");
    }
    for (key, node) in entries {
        match key.text.as_str() {
            "version" if node.scalar() == Some("1") => {}
            "version" => report.hint(node.place, "this version is not known", "write \"version: 1\""),
            "lists" => lists(node, &mut written, report),
            "rules" => {
                let Some(nodes) = list(node, "rules", report) else { continue };
                for node in nodes.iter().take(RULE_LIMIT) {
                    written.rules.extend(rule(node, is_own, report));
                }
                if let Some(node) = nodes.get(RULE_LIMIT) {
                    report.add(node.place, format!("a policy has at most {RULE_LIMIT} rules"));
                }
            }
            "default" => {
                let verdict = verdict(node, report);
                if verdict == Some(Verdict::Capture) {
                    report.hint(node.place, "the default cannot be capture", "write a rule that says of what");
                }
                written.default = verdict.map(|verdict| (verdict, node.place));
            }
            other => report.unknown(
                key.place,
                format!("unknown key \"{other}\" of a policy"),
                other,
                FILE_KEYS.iter().copied(),
            ),
        }
    }
    written
}

fn lists<'n>(node: &'n Node, written: &mut Written<'n>, report: &mut Report) {
    let Data::Map(entries) = &node.data else {
        return report.hint(
            node.place,
            format!("lists must be a map, not {}", node.shape()),
            "write \"name: [value, value]\"",
        );
    };
    for (key, node) in entries {
        if !is_name(&key.text) {
            report.hint(key.place, format!("\"{}\" cannot name a list", key.text), "use a-z, 0-9, _, - and .");
        } else if let Some(nodes) = list(node, &key.text, report) {
            for node in nodes.iter().filter(|node| node.scalar().is_some_and(|text| text.starts_with('$'))) {
                report.hint(node.place, "a list cannot hold another list", "name both in the rule: [$one, $other]");
            }
            written.lists.insert(&key.text, (key, nodes));
        }
    }
}

fn list<'n>(node: &'n Node, name: &str, report: &mut Report) -> Option<&'n [Node]> {
    match &node.data {
        Data::List(nodes) if nodes.is_empty() => report.add(node.place, format!("{name} is empty")),
        Data::List(nodes) => return Some(nodes),
        Data::Scalar { .. } | Data::Map(_) => {
            report.add(node.place, format!("{name} must be a list, not {}", node.shape()));
        }
    }
    None
}

fn rule<'n>(node: &'n Node, is_own: bool, report: &mut Report) -> Option<WrittenRule<'n>> {
    let Data::Map(entries) = &node.data else {
        report.add(node.place, format!("a rule must be a map, not {}", node.shape()));
        return None;
    };
    let id = id(node, is_own, report);
    let named = format!("rule \"{}\"", id.as_deref().unwrap_or("?"));
    let mut rule = Rule { id: id.unwrap_or_default(), ..Rule::default() };
    let mut kinds = None;
    let mut selections = Vec::new();
    for (key, node) in entries {
        match key.text.as_str() {
            "id" | "condition" | "verdict" => {}
            "title" => rule.title = text(key, node, report),
            "description" => rule.description = text(key, node, report),
            "kinds" => kinds = self::kinds(node, &named, report),
            "level" => rule.level = level(node, report),
            "tags" => rule.tags = texts(key, node, report),
            "references" => rule.references = texts(key, node, report),
            other => match node.data {
                Data::Map(_) | Data::List(_) if is_name(other) => selections.push((key, node)),
                Data::Map(_) | Data::List(_) => {
                    report.hint(
                        key.place,
                        format!("{named}: \"{other}\" cannot name a selection"),
                        "use a-z, 0-9, _, - and .",
                    );
                }
                Data::Scalar { .. } if node.is_null() => {
                    report.add(key.place, format!("{named}: there is nothing below \"{other}\""));
                }
                Data::Scalar { .. } => {
                    report.unknown(
                        key.place,
                        format!("{named}: unknown key \"{other}\""),
                        other,
                        RULE_KEYS.iter().copied(),
                    );
                }
            },
        }
    }
    match node.find("verdict") {
        Some(node) => rule.verdict = verdict(node, report).unwrap_or_default(),
        None => {
            report.hint(
                node.place,
                format!("{named} has no verdict"),
                "write \"verdict: keep\", \"drop\" or \"alert\"",
            );
        }
    }
    if let (Some(level), Verdict::Drop) = (node.find("level"), rule.verdict)
        && node.find("verdict").is_some_and(|it| it.scalar() == Some("drop"))
    {
        report.add(level.place, format!("{named}: an event that is dropped has no level"));
    }
    let condition = condition(node, &selections, &named, report)?;
    Some(WrittenRule { rule, place: node.place, kinds, selections, condition })
}

fn id(node: &Node, is_own: bool, report: &mut Report) -> Option<String> {
    let Some(id) = node.find("id") else {
        report.hint(node.place, "a rule has no id", "write \"id: some-name\"");
        return None;
    };
    let valid = |it: &&str| {
        (1..=64).contains(&it.len())
            && it.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
    };
    let text = id.scalar().filter(valid);
    match text {
        None => report.hint(id.place, "this cannot be the id of a rule", "use up to 64 of a-z, 0-9, . and -"),
        Some(text) if text.starts_with(OWN_RULES) && !is_own => report.hint(
            id.place,
            format!("rule \"{text}\": an id that begins with \"{OWN_RULES}\" is for the rules of the agent itself"),
            "begin it with another word",
        ),
        Some(_) => {}
    }
    text.map(str::to_owned)
}

fn condition(node: &Node, selections: &[(&Key, &Node)], named: &str, report: &mut Report) -> Option<Condition> {
    let Some(written) = node.find("condition") else {
        match selections {
            [_] => return Some(Condition::Selection(0)),
            [] => report.hint(node.place, format!("{named} selects nothing"), "write \"selection: { field: value }\""),
            _ => report.hint(
                node.place,
                format!("{named} has several selections and no condition"),
                "write for example \"condition: 1 of them\"",
            ),
        }
        return None;
    };
    let Some(text) = written.scalar() else {
        report.add(written.place, format!("{named}: a condition is a text, not {}", written.shape()));
        return None;
    };
    let known: Vec<_> = selections.iter().map(|(key, _)| key.text.as_str()).collect();
    match Condition::parse(text, &known) {
        Ok(condition) => {
            for (at, (key, _)) in selections.iter().enumerate().filter(|(at, _)| !condition.uses(*at)) {
                report.add(key.place, format!("{named}: the condition does not use selection \"{}\"", known[at]));
            }
            Some(condition)
        }
        Err(error) => {
            // a text that was folded from several lines has its problem at its beginning
            let mut place = written.place;
            let quote = usize::from(matches!(written.data, Data::Scalar { plain: false, .. }));
            if place.len == text.len() + 2 * quote {
                place.column += text[..error.at()].chars().count() + quote;
                place.offset += error.at() + quote;
                place.len = 0;
            }
            let what = format!("{named}: {error}");
            match &error {
                super::condition::ConditionError::Unknown { name, .. } => {
                    report.unknown(place, what, name, known.iter().copied());
                }
                _ => report.add(place, what),
            }
            None
        }
    }
}

fn kinds(node: &Node, named: &str, report: &mut Report) -> Option<Vec<Kind>> {
    let nodes = list(node, "kinds", report)?;
    let mut kinds = Vec::new();
    for node in nodes {
        let name = node.scalar().unwrap_or_default();
        match Kind::from_name(name) {
            Some(kind) if kinds.contains(&kind) => report.add(node.place, format!("{named}: kind {name} stands twice")),
            Some(kind) => kinds.push(kind),
            None => {
                let known = Kind::ALL.iter().map(|kind| kind.name());
                report.unknown(node.place, format!("{named}: unknown kind \"{name}\""), name, known);
            }
        }
    }
    // none that is known: that is said already, and the rest of the rule can be checked for all kinds
    (!kinds.is_empty()).then_some(kinds)
}

fn verdict(node: &Node, report: &mut Report) -> Option<Verdict> {
    let name = node.scalar().unwrap_or_default();
    let found = VERDICTS.iter().copied().find(|verdict| verdict.name() == name);
    if found.is_none() {
        report.unknown(
            node.place,
            format!("unknown verdict \"{name}\""),
            name,
            VERDICTS.iter().map(|verdict| verdict.name()),
        );
    }
    found
}

fn level(node: &Node, report: &mut Report) -> Option<Level> {
    let name = node.scalar().unwrap_or_default();
    let found = Level::ALL.iter().copied().find(|level| level.name() == name);
    if found.is_none() {
        report.unknown(
            node.place,
            format!("unknown level \"{name}\""),
            name,
            Level::ALL.iter().map(|level| level.name()),
        );
    }
    found
}

fn text(key: &Key, node: &Node, report: &mut Report) -> String {
    let text = node.scalar();
    if text.is_none() {
        report.add(node.place, format!("{} must be a text, not {}", key.text, node.shape()));
    }
    text.unwrap_or_default().trim().to_owned()
}

fn texts(key: &Key, node: &Node, report: &mut Report) -> Vec<String> {
    list(node, &key.text, report).into_iter().flatten().map(|node| text(key, node, report)).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-.".contains(&it))
}
