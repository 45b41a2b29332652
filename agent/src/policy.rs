//! What becomes of an event: ordered rules over the declared fields, in the shape of Sigma's selections.
//!
//! ```yaml
//! version: 1
//! lists:
//!   system_dirs: [/etc/, /usr/bin/]
//! rules:
//!   - id: system-files
//!     title: A system file was opened for writing
//!     kinds: [open]
//!     selection: { path|startswith: $system_dirs, access: [write, read-write] }
//!     filter: { process.exe: /usr/bin/dpkg }
//!     condition: selection and not filter
//!     verdict: keep
//! default: drop
//! ```
//!
//! The first rule that matches decides. What differs from Sigma: texts are compared with their case (see [`pattern`]),
//! `bits` and `nocase` are added, there are no words without a field, `flags` values are flags that are set, and types
//! are checked when the policy is read.

mod compile;
pub mod condition;
mod eval;
mod matcher;
pub mod pattern;
mod push;
mod rule;
mod value;

use std::path::PathBuf;

use common::{Kind, filter::KINDS};
use sha2::{Digest as _, Sha256};

use crate::{
    document::{self, Problems, Report},
    record::{Judgement, Record, Verdict},
};
use compile::{Compiler, KindRules};
pub use eval::Scratch;
pub use push::Share;

/// How the ids of the agent's own rules begin, and no others: who reads the log must be able to trust them.
pub const OWN_RULES: &str = "self.";
/// The one of them about the event that the agent makes to see whether events reach its log.
pub const SELF_TEST: &str = "self.test";

/// How much a rule's match matters, in Sigma's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For correlation only.
    Informational,
    /// Notable, rarely an incident.
    Low,
    /// Worth a look.
    Medium,
    /// To be looked at at once.
    High,
    /// An incident.
    Critical,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: &'static [Self] = &[Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a rule says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name in records; unique.
    pub id: String,
    /// What it finds, in a line.
    pub title: String,
    /// What it finds, at length.
    pub description: String,
    /// What becomes of the event.
    pub verdict: Verdict,
    /// How much it matters.
    pub level: Option<Level>,
    /// The requirements and techniques it serves.
    pub tags: Vec<String>,
    /// Where to read on.
    pub references: Vec<String>,
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file cannot be read: look at its path and permissions.
    #[error("cannot read policy {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The files say something that makes no sense: mend them.
    #[error("{0}")]
    Wrong(Problems),
}

/// A policy that makes sense, ready to judge.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    /// By [`Kind`], as a number.
    kinds: Vec<KindRules>,
    default: Verdict,
    text: String,
}

impl Policy {
    /// The policy that holds when none is configured.
    pub fn default_text() -> &'static str {
        include_str!("../../policies/default.yaml")
    }

    /// Reads files, whose rules are asked in the order of the files; the built-in policy when there is none.
    pub fn load(paths: &[PathBuf]) -> Result<Self, PolicyError> {
        Self::load_behind(None, paths)
    }

    /// Reads files as [`Policy::load`] does, behind the agent's own rules, which are asked before.
    pub fn load_behind(own: Option<&str>, paths: &[PathBuf]) -> Result<Self, PolicyError> {
        let read = |path: &PathBuf| match document::read(path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(source) => Err(PolicyError::Read { path: path.clone(), source }),
        };
        let texts = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut files: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        if files.is_empty() {
            files.push(("policies/default.yaml", Self::default_text()));
        }
        Self::parse_behind(own.map(|text| ("the agent's own rules", text)), &files).map_err(PolicyError::Wrong)
    }

    /// Reads texts with the names of their files. All problems of all files are found.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, Problems> {
        Self::parse_behind(None, files)
    }

    /// Reads texts as [`Policy::parse`] does, behind the agent's own rules: they alone have ids that begin with
    /// [`OWN_RULES`].
    pub fn parse_behind(own: Option<(&str, &str)>, files: &[(&str, &str)]) -> Result<Self, Problems> {
        let mut compiler = Compiler::default();
        let mut rules: Vec<Rule> = Vec::new();
        let mut default = None;
        let mut text = String::new();
        let mut problems = Vec::new();
        for (at, (file, content)) in own.iter().chain(files).enumerate() {
            let is_own = own.is_some() && at == 0;
            let mut report = Report::new(file);
            let documents = document::parse(content, &mut report);
            if documents.is_empty() && report.is_clean() {
                report.hint(document::Place::FIRST, "the file is empty", "start with \"version: 1\"");
            }
            for document in &documents {
                let written = rule::read(document, is_own, &mut report);
                compiler.add(&written, rules.len(), &mut report);
                for rule in written.rules {
                    if rules.len() == rule::RULE_LIMIT {
                        report.add(rule.place, format!("a policy has at most {} rules", rule::RULE_LIMIT));
                        break;
                    }
                    if rules.iter().any(|it| it.id == rule.rule.id && !it.id.is_empty()) {
                        report.add(rule.place, format!("rule \"{}\" stands twice", rule.rule.id));
                    }
                    rules.push(rule.rule);
                }
                if let Some((verdict, place)) = written.default
                    && default.replace(verdict).is_some()
                {
                    report.add(place, "the default was set before; a policy has one");
                }
            }
            join(&mut text, content);
            problems.extend(report.into_problems());
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let mut kinds = vec![KindRules::default(); KINDS];
        for (kind, rules) in compiler.kinds {
            kinds[kind as usize] = rules;
        }
        Ok(Self { rules, kinds, default: default.unwrap_or_default(), text })
    }

    /// What becomes of a record. Allocates nothing once the buffers of `scratch` have grown.
    pub fn judge<'p>(&'p self, record: &Record<'_>, scratch: &mut Scratch) -> Judgement<'p> {
        let kind = self.kind(record.event.kind());
        scratch.reset(kind.cells.len());
        for (at, expr) in &kind.rules {
            if expr.holds(record, scratch) {
                let rule = &self.rules[*at];
                return Judgement { verdict: rule.verdict, rule: &rule.id };
            }
        }
        Judgement { verdict: self.default, rule: "" }
    }

    /// All rules, first match first.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What becomes of events that no rule matches.
    pub fn default_verdict(&self) -> Verdict {
        self.default
    }

    /// The text of all files, from which the same policy can be read again.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of [`Policy::text`].
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    fn kind(&self, kind: Kind) -> &KindRules {
        &self.kinds[kind as usize]
    }
}

/// Appends a file as a document of its own.
fn join(text: &mut String, content: &str) {
    if !text.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if !content.starts_with("---") {
            text.push_str("---\n");
        }
    }
    text.push_str(content);
}
