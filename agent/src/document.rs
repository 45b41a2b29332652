//! YAML documents as trees that know their places: what the config and the policy are read from.
//!
//! Stricter than YAML 1.2: no anchors, aliases, tags and directives, no key twice, bounded size and depth. Scalars stay
//! text: what `0600` or `no` means is decided by the field that it is given to, not by the looks of it.

use std::{fmt, fs::File, io::Read as _, path::Path};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

/// A file may have this many bytes.
pub const SIZE_LIMIT: usize = 1 << 20;
/// A tree may be this deep.
const DEPTH_LIMIT: usize = 16;
/// A map may have this many keys.
const KEY_LIMIT: usize = 4096;
/// This many problems of a file are kept; nobody reads more.
const PROBLEM_LIMIT: usize = 100;
/// Names further apart than this are not taken for misspellings of each other.
const FAR: usize = 3;

/// A type whose values are words in a file.
pub trait Word: Copy + PartialEq + 'static {
    /// All values, each with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// Its word.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Declares an enum whose values are words in a file: values and words stand in one place.
macro_rules! words {
    ( $(#[$meta:meta])* pub enum $ty:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal, )* } ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $ty { $( $(#[$vmeta])* $variant, )* }

        impl $crate::document::Word for $ty {
            const WORDS: &'static [(&'static str, Self)] = &[$( ($word, Self::$variant), )*];
        }
    };
}
pub(crate) use words;

/// Where something stands in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Starts at 1.
    pub line: usize,
    /// In characters, starts at 1.
    pub column: usize,
    /// In bytes, starts at 0.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

impl Place {
    /// The beginning of a file.
    pub const FIRST: Self = Self { line: 1, column: 1, offset: 0, len: 0 };
}

/// What is wrong at one place of a file, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}{}", Hint(hint.as_deref()), line = place.line, column = place.column)]
pub struct Problem {
    /// The file as it was named to us.
    pub file: String,
    /// The place.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What would be right, where that is known.
    pub hint: Option<String>,
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// All that is wrong with some files, in the order of their places. One line each when displayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers the problems of one file.
#[derive(Debug)]
pub struct Report {
    file: String,
    problems: Vec<Problem>,
}

impl Report {
    /// An empty report on a file.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Vec::new() }
    }

    /// Notes a problem, once: a rule is compiled for many kinds.
    pub fn add(&mut self, place: Place, what: impl Into<String>) {
        self.push(place, what.into(), None);
    }

    /// Notes a problem with what would be right.
    pub fn hint(&mut self, place: Place, what: impl Into<String>, hint: impl Into<String>) {
        self.push(place, what.into(), Some(hint.into()));
    }

    /// Notes that a name is none of the known ones, with the nearest of them or, when they are few, all.
    pub fn unknown<'n>(
        &mut self,
        place: Place,
        what: impl Into<String>,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let hint = match nearest(name, known.clone()) {
            Some(near) => Some(format!("did you mean \"{near}\"?")),
            None if known.clone().nth(12).is_none() => Some(format!("known: {}", known.collect::<Vec<_>>().join(", "))),
            None => None,
        };
        self.push(place, what.into(), hint);
    }

    /// Whether nothing was noted.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many problems were noted.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// All that was noted, in the order of the file.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.place.offset);
        self.problems
    }

    fn push(&mut self, place: Place, what: String, hint: Option<String>) {
        if self.problems.len() < PROBLEM_LIMIT
            && self.problems.iter().all(|problem| problem.place.offset != place.offset || problem.what != what)
        {
            self.problems.push(Problem { file: self.file.clone(), place, what, hint });
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place; of a list or a map: its beginning.
    pub place: Place,
    /// What it is.
    pub data: Data,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Any single value.
    Scalar {
        /// As written, escapes resolved.
        text: String,
        /// It has no quotes, so that `null`, `true` and numbers mean what they say.
        plain: bool,
    },
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{a: b}`, in the order of the file; no key stands twice.
    Map(Vec<(Key, Node)>),
}

/// The key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written.
    pub text: String,
    /// Its place.
    pub place: Place,
}

impl Node {
    /// A map without keys.
    pub fn empty_map() -> Self {
        Self { place: Place::FIRST, data: Data::Map(Vec::new()) }
    }

    /// Whether it is `null`, `~` or nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// The text of a single value.
    pub fn scalar(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } if !self.is_null() => Some(text),
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// The value of a key, when this is a map that has it.
    pub fn find(&self, key: &str) -> Option<&Node> {
        let Data::Map(entries) = &self.data else { return None };
        entries.iter().find(|(it, _)| it.text == key).map(|(_, node)| node)
    }

    /// What it is, for messages.
    pub fn shape(&self) -> &'static str {
        match &self.data {
            Data::Scalar { .. } if self.is_null() => "nothing",
            Data::Scalar { .. } => "a single value",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

/// Reads a file, but not much more of it than [`parse`] takes: one byte is enough for it to say that it is too large.
pub fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SIZE_LIMIT as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the documents of a text, which `---` separates. Problems go to the report; after a syntax error, what came
/// before is not returned, since half a file is not what its writer meant.
pub fn parse(text: &str, report: &mut Report) -> Vec<Node> {
    if text.len() > SIZE_LIMIT {
        report.add(Place::FIRST, format!("the file has {} bytes; at most {SIZE_LIMIT} are read", text.len()));
        return Vec::new();
    }
    let mut options = Options::default();
    options.strict_indentation = true;
    options.disallow_directives = true;
    options.set_emit_comments(false);
    let mut builder = Builder { parser: Parser::new_from_str_with_options(text, options), report };
    builder.stream().unwrap_or_else(|stop| {
        if let Stop::Syntax(error) = stop {
            let marker = error.marker();
            let offset = marker.byte_offset().unwrap_or(text.len()).min(text.len());
            let place = Place { line: marker.line(), column: marker.col() + 1, offset, len: 0 };
            let what = if offset >= text.trim_end().len() { "the file ends too early: " } else { "this is not YAML: " };
            report.add(place, format!("{what}{}", error.info()));
        }
        Vec::new()
    })
}

struct Builder<'t, 'r> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    report: &'r mut Report,
}

/// Why reading stopped.
enum Stop {
    Syntax(ScanError),
    /// Already reported.
    Reported,
}

impl<'t> Builder<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(error)) => Err(Stop::Syntax(error)),
            None => Err(Stop::Reported),
        }
    }

    fn stream(&mut self) -> Result<Vec<Node>, Stop> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, place) => documents.push(self.node(event, place, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Stop> {
        if depth > DEPTH_LIMIT {
            return Err(self.refuse(place, "this is nested too deeply"));
        }
        if let Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) = &event
            && (*anchor != 0 || tag.is_some())
        {
            return Err(self.refuse(place, "anchors (&) and tags (!) are not allowed here"));
        }
        let data = match event {
            // the parser has "~" where nothing stands
            Event::Scalar(_, ScalarStyle::Plain, ..) if place.len == 0 => {
                Data::Scalar { text: String::new(), plain: true }
            }
            Event::Scalar(text, style, ..) => {
                Data::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Data::List(items),
                        (event, place) => items.push(self.node(event, place, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(Key, Node)> = Vec::new();
                loop {
                    let (event, place) = self.next()?;
                    if event == Event::MappingEnd {
                        break Data::Map(entries);
                    }
                    if entries.len() == KEY_LIMIT {
                        return Err(self.refuse(place, "this map has too many keys"));
                    }
                    let Data::Scalar { text, .. } = self.node(event, place, depth + 1)?.data else {
                        return Err(self.refuse(place, "a key must be a single value"));
                    };
                    let (event, value_place) = self.next()?;
                    let value = self.node(event, value_place, depth + 1)?;
                    match entries.iter().find(|(key, _)| key.text == text) {
                        Some((first, _)) => self
                            .report
                            .add(place, format!("\"{text}\" stands twice; first in line {}", first.place.line)),
                        None => entries.push((Key { text, place }, value)),
                    }
                }
            }
            _ => return Err(self.refuse(place, "aliases (*) are not allowed here")),
        };
        Ok(Node { place, data })
    }

    fn refuse(&mut self, place: Place, what: &str) -> Stop {
        self.report.add(place, what);
        Stop::Reported
    }
}

fn place(span: &Span) -> Place {
    let offset = span.start.byte_offset().unwrap_or_default();
    let end = span.end.byte_offset().unwrap_or_default();
    Place { line: span.start.line(), column: span.start.col() + 1, offset, len: end.saturating_sub(offset) }
}

/// The known name that is most like the given one, when any is like it: it holds it, or few letters differ.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let limit = FAR.min(name.chars().count().div_ceil(2));
    let distance = |it: &str| if name.len() > 2 && it.contains(name) { 1 } else { strsim::osa_distance(name, it) };
    let near = known.map(|it| (distance(it), it)).filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}
