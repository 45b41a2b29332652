//! The rules of a kind as questions and steps that the kernel half asks itself (see [`common::filter::Matcher`]).
//!
//! A test of a field that lies at a fixed place of the event becomes atoms, one of a path or of the executable becomes
//! places; all others are left open: their answer is never certain. Each rule becomes as many steps as its condition has
//! alternatives, in the order of the rules. A rule with too many of them sends whatever may match it, or discards nothing.

mod answer;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    Kind, Lane,
    filter::{ATOMS, Atom, EXECUTABLE, Matcher, PATHS, PLACES, Place, STEPS, Step, outcome},
};

use super::{
    Policy,
    compile::KindRules,
    eval::{Check, Expr, Operand, Test},
};
use crate::record::{ContextField, Slot, Verdict};
use answer::{body, near, numbers, place};

/// A rule may have this many alternatives.
const ALTERNATIVES: usize = 64;
/// What the kernel half can be asked: any of the answers is a yes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Question {
    /// Each holds when all of its numbers do.
    numbers: Vec<Vec<Atom>>,
    places: Vec<Place>,
    /// There are more answers than these.
    open: bool,
}

/// A condition over questions by number.
#[derive(Clone, Debug)]
enum Formula {
    Ask(usize),
    Not(Box<Formula>),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

/// Questions that must be answered with yes (true) or no.
type Term = BTreeMap<usize, bool>;

#[derive(Debug, Default)]
struct Compiler {
    questions: Vec<Question>,
    /// Where the paths start that places are about.
    paths: Vec<usize>,
}

/// A rule in one of its alternatives.
#[derive(Debug, PartialEq)]
struct Alternative {
    term: Term,
    /// There is more to it that cannot be asked.
    partly: bool,
    /// One of [`outcome`].
    outcome: u32,
}

/// What the kernel half asks about the events of a kind; `None` when it could neither discard any by it nor prefer any.
pub(super) fn compile(policy: &Policy, kind: Kind, rules: &KindRules) -> Option<Box<Matcher>> {
    // several questions of one call are told one after the other, uses of capabilities by a hook of their own: neither
    // ends in the program that asks
    if matches!(kind, Kind::Dns | Kind::Capability) {
        return None;
    }
    // alerts of the critical lane have their place in it anyway
    let outcome_of = |verdict| match verdict {
        Verdict::Drop => outcome::DISCARD,
        Verdict::Alert | Verdict::Capture if kind.lane() == Lane::Bulk => outcome::ALERT,
        _ => outcome::SEND,
    };
    let mut compiler = Compiler::default();
    let mut steps: Vec<Alternative> = Vec::new();
    let mut otherwise = outcome_of(policy.default);
    // set when a rule may keep anything: nothing behind it can be discarded
    let mut keeps_all = false;
    for (at, expr) in &rules.rules {
        let mut outcome = outcome_of(policy.rules[*at].verdict);
        let found = compiler.alternatives(kind, expr, outcome);
        if found.iter().any(|it| it.term.is_empty() && !it.partly) {
            otherwise = outcome;
            break;
        }
        if keeps_all && outcome == outcome::DISCARD {
            outcome = outcome::SEND;
        }
        keeps_all |= found.iter().any(|it| it.term.is_empty());
        steps.extend(found.into_iter().map(|it| Alternative { outcome, ..it }));
        if steps.len() > STEPS {
            steps.truncate(STEPS);
            otherwise = outcome::SEND;
            break;
        }
    }
    if keeps_all && otherwise == outcome::DISCARD {
        otherwise = outcome::SEND;
    }
    while steps.last().is_some_and(|it| it.outcome == otherwise) {
        steps.pop();
    }
    if steps.iter().all(|it| it.outcome == outcome::SEND) && otherwise == outcome::SEND {
        return None;
    }
    Some(compiler.matcher(&steps, otherwise))
}

/// The names of fields that rules of a kind test and the kernel half cannot.
pub(super) fn left_open(kind: Kind, rules: &KindRules) -> BTreeSet<String> {
    fn walk(kind: Kind, expr: &Expr, found: &mut BTreeSet<String>) {
        match expr {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| walk(kind, part, found)),
            Expr::Not(part) => walk(kind, part, found),
            Expr::Test(test) => {
                let mut compiler = Compiler::default();
                compiler.test(kind, test);
                if compiler.questions.iter().any(|it| it.open) {
                    let (Operand::Field(slot) | Operand::Made(slot, _) | Operand::Joined(slot, _)) = test.operand;
                    found.insert(slot.name(kind));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    rules.rules.iter().for_each(|(_, expr)| walk(kind, expr, &mut found));
    found
}

/// The alternatives in which a condition is as `wanted`; `None` when there are too many.
fn terms(formula: &Formula, wanted: bool) -> Option<Vec<Term>> {
    match (formula, wanted) {
        (Formula::Ask(at), _) => Some(vec![Term::from([(*at, wanted)])]),
        (Formula::Not(part), _) => terms(part, !wanted),
        (Formula::Any(parts), true) | (Formula::All(parts), false) => {
            let mut sum = Vec::new();
            for part in parts {
                sum.extend(terms(part, wanted)?);
            }
            (sum.len() <= ALTERNATIVES).then_some(sum)
        }
        (Formula::All(parts), true) | (Formula::Any(parts), false) => {
            let mut product = vec![Term::new()];
            for part in parts {
                let part = terms(part, wanted)?;
                product = product.iter().flat_map(|one| part.iter().filter_map(|other| join(one, other))).collect();
                if product.len() > ALTERNATIVES {
                    return None;
                }
            }
            Some(product)
        }
    }
}

/// Both at once; `None` when they contradict each other.
fn join(one: &Term, other: &Term) -> Option<Term> {
    let mut both = one.clone();
    other.iter().all(|(at, wanted)| *both.entry(*at).or_insert(*wanted) == *wanted).then_some(both)
}

impl Question {
    fn open() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// The answer, if it is always the same.
    fn constant(&self) -> Option<bool> {
        let always = |joined: &Vec<Atom>| joined.iter().all(|atom| atom.mask == 0 && atom.low == 0);
        let never = self.numbers.is_empty() && self.places.is_empty() && !self.open;
        if self.numbers.iter().any(always) { Some(true) } else { never.then_some(false) }
    }

    /// Whether nothing is known about it.
    fn is_open(&self) -> bool {
        self.open && self.numbers.is_empty() && self.places.is_empty()
    }
}

impl Compiler {
    fn formula(&mut self, kind: Kind, expr: &Expr) -> Formula {
        match expr {
            Expr::All(parts) => Formula::All(parts.iter().map(|part| self.formula(kind, part)).collect()),
            Expr::Any(parts) => Formula::Any(parts.iter().map(|part| self.formula(kind, part)).collect()),
            Expr::Not(part) => Formula::Not(Box::new(self.formula(kind, part))),
            Expr::Test(test) => self.test(kind, test),
        }
    }

    /// The alternatives of a rule, without what cannot be asked: an event that may be kept is asked for less, one that is
    /// to be discarded must be known.
    fn alternatives(&mut self, kind: Kind, expr: &Expr, outcome: u32) -> Vec<Alternative> {
        let keeps = outcome != outcome::DISCARD;
        let formula = self.formula(kind, expr);
        let Some(terms) = terms(&formula, true) else {
            let whatever = Alternative { term: Term::new(), partly: true, outcome };
            return if keeps { vec![whatever] } else { Vec::new() };
        };
        let mut found = Vec::new();
        for term in terms.into_iter().filter_map(|term| self.settled(term)) {
            let all = term.len();
            let term: Term = term.into_iter().filter(|(at, _)| !self.questions[*at].is_open()).collect();
            let partly = term.len() < all;
            if keeps || !partly {
                found.push(Alternative { term, partly, outcome });
            }
        }
        found
    }

    fn test(&mut self, kind: Kind, test: &Test) -> Formula {
        let answers: Vec<_> = test.checks.iter().map(|check| self.question(kind, test.operand, check)).collect();
        let formula = if test.all {
            Formula::All(answers.into_iter().map(|it| self.ask(it)).collect())
        } else {
            let mut sum = Question::default();
            for answer in answers {
                sum.numbers.extend(answer.numbers);
                sum.places.extend(answer.places);
                sum.open |= answer.open;
            }
            self.ask(sum)
        };
        if test.negated { Formula::Not(Box::new(formula)) } else { formula }
    }

    /// A term without what is always so; `None` when it never is.
    fn settled(&self, mut term: Term) -> Option<Term> {
        let constant = |at: &usize| self.questions[*at].constant();
        if term.iter().any(|(at, wanted)| constant(at) == Some(!wanted)) {
            return None;
        }
        term.retain(|at, _| constant(at).is_none());
        Some(term)
    }

    fn ask(&mut self, question: Question) -> Formula {
        // what is left open in two tests is not the same
        let same = |it: &Question| !question.open && *it == question;
        let at = self.questions.iter().position(same).unwrap_or_else(|| {
            self.questions.push(question);
            self.questions.len() - 1
        });
        Formula::Ask(at)
    }

    /// A check of a field as a question.
    fn question(&mut self, kind: Kind, operand: Operand, check: &Check) -> Question {
        let found = match operand {
            Operand::Field(Slot::Context(ContextField::ProcessExe)) => places(check, EXECUTABLE),
            Operand::Field(slot) => {
                numbers(kind, slot, check).map(|numbers| Question { numbers, ..Question::default() })
            }
            Operand::Made(Slot::Body(at), _) => self.place(body(kind, at), check),
            Operand::Made(..) | Operand::Joined(..) => None,
        };
        found.unwrap_or_else(Question::open)
    }

    /// A check of a path that starts at an offset of the event.
    fn place(&mut self, offset: usize, check: &Check) -> Option<Question> {
        let at = self.paths.iter().position(|it| *it == offset).unwrap_or(self.paths.len());
        let question = places(check, u8::try_from(at).ok().filter(|at| usize::from(*at) < PATHS)?)?;
        if at == self.paths.len() {
            self.paths.push(offset);
        }
        Some(question)
    }

    /// Puts in what the steps ask. A question for which there is no room is left open.
    fn matcher(&self, steps: &[Alternative], otherwise: u32) -> Box<Matcher> {
        let mut matcher = Box::<Matcher>::default();
        let asked: BTreeSet<_> = steps.iter().flat_map(|it| it.term.keys().copied()).collect();
        let (mut atoms, mut places) = (Vec::new(), Vec::new());
        let mut bits = BTreeMap::new();
        for (bit, at) in asked.into_iter().enumerate().take(u64::BITS as usize) {
            let question = &self.questions[at];
            let numbers: usize = question.numbers.iter().map(Vec::len).sum();
            if atoms.len() + numbers > ATOMS || places.len() + question.places.len() > PLACES {
                matcher.open |= 1 << bit;
            } else {
                matcher.open |= u64::from(question.open) << bit;
                for joined in &question.numbers {
                    for (at, atom) in joined.iter().enumerate() {
                        let joined = u16::from(at + 1 < joined.len());
                        atoms.push(Atom { bit: bit as u16, joined, ..*atom });
                    }
                }
                places.extend(question.places.iter().map(|place| Place { bit: bit as u8, ..*place }));
            }
            bits.insert(at, bit);
        }
        let mut taken = Vec::new();
        for Alternative { term, partly, outcome } in steps {
            let mut step = Step { outcome: *outcome, partly: (*partly).into(), ..Step::default() };
            for (at, wanted) in term {
                match (bits.get(at), wanted) {
                    (Some(bit), true) => step.with |= 1 << bit,
                    (Some(bit), false) => step.without |= 1 << bit,
                    (None, _) => step.partly = 1,
                }
            }
            // with a question that finds no room: what sends asks for less, what discards is not taken
            if step.partly == 0 || *outcome != outcome::DISCARD {
                taken.push(step);
            }
        }
        matcher.otherwise = otherwise;
        matcher.asks_executable = places.iter().any(|place| place.path == EXECUTABLE).into();
        matcher.atom_count = atoms.len() as u32;
        matcher.place_count = places.len() as u32;
        let mut at = 0;
        for path in 0..PATHS {
            let of_path = places.iter().filter(|place| usize::from(place.path) == path);
            let words: BTreeSet<_> = of_path.map(near).collect();
            matcher.near[path] = [at as u32, (at + words.len()) as u32];
            for [leaf, root] in words {
                (matcher.leaves[at], matcher.roots[at]) = (leaf, root);
                at += 1;
            }
        }
        matcher.step_count = taken.len() as u32;
        matcher.atoms[..atoms.len()].copy_from_slice(&atoms);
        matcher.places[..places.len()].copy_from_slice(&places);
        matcher.steps[..taken.len()].copy_from_slice(&taken);
        for (slot, path) in matcher.paths.iter_mut().zip(&self.paths) {
            *slot = *path as u32;
        }
        matcher
    }
}

/// Whether a check of a path is answered with no for all paths that are near no place of a matcher.
pub(super) fn is_about_places(matcher: &Matcher, kind: Kind, slot: Slot, check: &Check) -> bool {
    let Slot::Body(at) = slot else { return false };
    let offset = body(kind, at) as u32;
    let path = matcher.paths.iter().position(|path| *path == offset);
    let Some(question) = path.and_then(|path| places(check, path as u8)) else { return false };
    let there = &matcher.places[..matcher.place_count as usize];
    question.places.iter().all(|place| there.iter().any(|it| Place { bit: place.bit, ..*it } == *place))
}

/// A check of a path as a question. `path`: which one, see [`Place::path`].
fn places(check: &Check, path: u8) -> Option<Question> {
    let mut places = match check {
        Check::Text(pattern) => vec![place(pattern)?],
        Check::Texts(texts) => texts.patterns().map(place).collect::<Option<_>>()?,
        _ => return None,
    };
    for place in &mut *places {
        place.path = path;
    }
    Some(Question { places, ..Question::default() })
}
