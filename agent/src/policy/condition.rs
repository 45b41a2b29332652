//! The condition of a rule: which of its selections must hold, in Sigma's grammar.
//!
//! ```text
//! or   = and  { "or" and }
//! and  = not  { "and" not }
//! not  = "not" not | "(" or ")" | ("1" | "all") "of" ("them" | prefix "*") | selection
//! ```
//! `them` leaves out selections whose name starts with `_`, as in Sigma.

/// Parentheses and `not` may be nested this deep.
const DEPTH_LIMIT: usize = 32;
/// A condition may have this many bytes.
const SIZE_LIMIT: usize = 4096;

/// A condition whose names are resolved to positions in the list of selections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A selection must hold.
    Selection(usize),
    /// All must hold.
    All(Vec<Condition>),
    /// At least one must hold.
    Any(Vec<Condition>),
    /// It must not hold.
    Not(Box<Condition>),
}

/// Why a condition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// A name that is no selection.
    #[error("no selection is named \"{name}\"")]
    Unknown {
        /// The name.
        name: String,
        /// Where it starts in the condition, in bytes.
        at: usize,
    },
    /// Something else should stand there.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should.
        expected: &'static str,
        /// What does.
        found: String,
        /// Where it starts in the condition, in bytes.
        at: usize,
    },
    /// Too many bytes.
    #[error("this is longer than {SIZE_LIMIT} bytes")]
    Long,
    /// Too many parentheses.
    #[error("this is nested too deeply")]
    Deep {
        /// Where it starts in the condition, in bytes.
        at: usize,
    },
}

impl ConditionError {
    /// Where it is in the condition, in bytes.
    pub fn at(&self) -> usize {
        match self {
            Self::Unknown { at, .. } | Self::Unexpected { at, .. } | Self::Deep { at } => *at,
            Self::Long => 0,
        }
    }
}

impl Condition {
    /// Reads a condition about selections of the given names.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, ConditionError> {
        if text.len() > SIZE_LIMIT {
            return Err(ConditionError::Long);
        }
        let mut reader = Reader { text, names, at: 0, depth: 0 };
        let condition = reader.or()?;
        match reader.word() {
            "" => Ok(condition),
            _ => Err(reader.unexpected("\"and\", \"or\" or the end")),
        }
    }

    /// Whether it says anything about a selection.
    pub fn uses(&self, selection: usize) -> bool {
        match self {
            Self::Selection(at) => *at == selection,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.uses(selection)),
            Self::Not(part) => part.uses(selection),
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    names: &'t [&'t str],
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    /// The next word or parenthesis, which stays; empty at the end.
    fn word(&mut self) -> &'t str {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
        let rest = &self.text[self.at..];
        let end = match rest.find(|it: char| it.is_whitespace() || it == '(' || it == ')') {
            Some(0) => 1,
            Some(end) => end,
            None => rest.len(),
        };
        &rest[..end]
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let is = self.word() == word;
        if is {
            self.at += word.len();
        }
        is
    }

    fn or(&mut self) -> Result<Condition, ConditionError> {
        let mut parts = vec![self.and()?];
        while self.take("or") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn and(&mut self) -> Result<Condition, ConditionError> {
        let mut parts = vec![self.not()?];
        while self.take("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self) -> Result<Condition, ConditionError> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(ConditionError::Deep { at: self.at });
        }
        let condition = match self.word() {
            "not" => {
                self.at += "not".len();
                Condition::Not(Box::new(self.not()?))
            }
            "(" => {
                self.at += 1;
                let inner = self.or()?;
                if !self.take(")") {
                    return Err(self.unexpected("\")\""));
                }
                inner
            }
            "1" => self.of("1", Condition::Any)?,
            "all" => self.of("all", Condition::All)?,
            "" | ")" | "and" | "or" | "of" | "them" => return Err(self.unexpected("the name of a selection")),
            name => {
                let found = self.names.iter().position(|it| *it == name);
                let found = found.ok_or_else(|| ConditionError::Unknown { name: name.to_owned(), at: self.at })?;
                self.at += name.len();
                Condition::Selection(found)
            }
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn of(&mut self, count: &str, join: fn(Vec<Condition>) -> Condition) -> Result<Condition, ConditionError> {
        self.at += count.len();
        if !self.take("of") {
            return Err(self.unexpected("\"of\""));
        }
        let pattern = self.word();
        let wanted: Vec<_> = match pattern.strip_suffix('*') {
            Some(prefix) => self.positions(|name| name.starts_with(prefix)),
            None if pattern == "them" => self.positions(|name| !name.starts_with('_')),
            None => return Err(self.unexpected("\"them\" or the beginning of a name and *")),
        };
        if wanted.is_empty() {
            return Err(ConditionError::Unknown { name: pattern.to_owned(), at: self.at });
        }
        self.at += pattern.len();
        Ok(join(wanted))
    }

    fn positions(&self, wanted: impl Fn(&str) -> bool) -> Vec<Condition> {
        let names = self.names.iter().enumerate();
        names.filter(|(_, name)| wanted(name)).map(|(at, _)| Condition::Selection(at)).collect()
    }

    fn unexpected(&mut self, expected: &'static str) -> ConditionError {
        let found = match self.word() {
            "" => "the end".to_owned(),
            word => format!("\"{word}\""),
        };
        ConditionError::Unexpected { expected, found, at: self.at }
    }
}

fn one_or(mut parts: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() == 1 { parts.swap_remove(0) } else { join(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match Condition::parse(text, &["a", "b", "sel_1", "sel_2", "_x"]) {
            Ok(condition) => show(&condition),
            Err(error) => format!("{}: {error}", error.at()),
        };
        assert_eq!(shown, expected, "{text}");
    }

    fn show(condition: &Condition) -> String {
        let join = |parts: &[Condition]| parts.iter().map(show).collect::<Vec<_>>().join(" ");
        match condition {
            Condition::Selection(at) => at.to_string(),
            Condition::All(parts) => format!("(and {})", join(parts)),
            Condition::Any(parts) => format!("(or {})", join(parts)),
            Condition::Not(part) => format!("(not {})", show(part)),
        }
    }

    #[test]
    fn conditions() {
        check("a", "0");
        check("a and b or not a", "(or (and 0 1) (not 0))");
        check("a and (b or not a)", "(and 0 (or 1 (not 0)))");
        check("a and(b)", "(and 0 1)");
        check("1 of them", "(or 0 1 2 3)");
        check("all of sel_* and not 1 of _*", "(and (and 2 3) (not (or 4)))");
        check("not not a", "(not (not 0))");
        check("", "0: expected the name of a selection, found the end");
        check("a b", "2: expected \"and\", \"or\" or the end, found \"b\"");
        check("(a", "2: expected \")\", found the end");
        check("a and", "5: expected the name of a selection, found the end");
        check("a or sel", "5: no selection is named \"sel\"");
        check("2 of them", "0: no selection is named \"2\"");
        check("1 of x*", "5: no selection is named \"x*\"");
        check("1 of a", "5: expected \"them\" or the beginning of a name and *, found \"a\"");
        check(&"a ".repeat(4096), "0: this is longer than 4096 bytes");
        check(&"(".repeat(40), "32: this is nested too deeply");
    }
}
