//! How settings are declared, read and shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::unit::{self, Mode, Size};
use crate::document::{Data, Node, Report};

/// A setting for the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name with those of its sections, as `kernel.ring_bytes`.
    pub path: String,
    /// What it takes.
    pub ty: String,
    /// What it is when it is not set, as YAML; `None` when it must be set.
    pub default: Option<String>,
    /// What it does.
    pub doc: String,
}

/// A type that a setting may have.
pub(super) trait Setting: Sized {
    /// What it takes, for the reference.
    fn type_name() -> String;
    /// Reads a value; `name` is that of the setting, for problems.
    fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self>;
    /// The value as YAML, in a line.
    fn show(&self) -> String;
    /// The settings of a section; a single value has none and returns false.
    fn entries_below(_prefix: &str, _entries: &mut Vec<Entry>) -> bool {
        false
    }
    /// Writes the settings of a section as an example; a single value has none and returns false.
    fn example_below(_indent: &str, _text: &mut String) -> bool {
        false
    }
}

/// A struct of settings.
pub(super) trait Section: Sized {
    /// Its doc comment, a line each.
    const DOC: &'static [&'static str];
    /// Reads its settings.
    fn read_fields(fields: &mut Fields<'_>) -> Option<Self>;
    /// Adds its settings to the reference.
    fn entries(prefix: &str, entries: &mut Vec<Entry>);
    /// Writes its settings as an example.
    fn write_example(indent: &str, text: &mut String);
}

/// Declares a struct of settings: name, type, default (or `required`) and doc of each, in one place.
macro_rules! settings {
    (
        $(#[doc = $doc:literal])*
        pub struct $ty:ident { $( $(#[doc = $fdoc:literal])* $field:ident: $fty:ty [$($default:tt)+], )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $ty { $( $(#[doc = $fdoc])* pub $field: $fty, )* }

        impl $crate::config::setting::Section for $ty {
            const DOC: &'static [&'static str] = &[$($doc),*];
            fn read_fields(fields: &mut $crate::config::setting::Fields<'_>) -> Option<Self> {
                $( let $field = fields.take::<$fty>(stringify!($field), $crate::config::setting::default_of!($($default)+)); )*
                Some(Self { $( $field: $field?, )* })
            }
            fn entries(prefix: &str, entries: &mut Vec<$crate::config::setting::Entry>) {
                $( $crate::config::setting::entry::<$fty>(
                    prefix, stringify!($field), $crate::config::setting::default_of!($($default)+), &[$($fdoc),*], entries,
                ); )*
            }
            fn write_example(indent: &str, text: &mut String) {
                $( $crate::config::setting::example::<$fty>(
                    indent, stringify!($field), $crate::config::setting::default_of!($($default)+), &[$($fdoc),*], text,
                ); )*
            }
        }

        $crate::config::setting::whole!($ty { $( $field [$($default)+], )* });
    };
}
pub(super) use settings;

/// The default of a setting; `None` when it must be set.
macro_rules! default_of {
    (required) => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}
pub(super) use default_of;

/// What only a struct without required settings has: a default, and a place as a section of another one.
macro_rules! whole {
    ($ty:ident { $first:ident [required], $($rest:tt)* }) => {};
    ($ty:ident { $( $field:ident [$default:expr], )* }) => {
        impl Default for $ty {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::setting::Setting for $ty {
            fn type_name() -> String {
                "section".to_owned()
            }
            fn read(node: &$crate::document::Node, name: &str, report: &mut $crate::document::Report) -> Option<Self> {
                let mut fields = $crate::config::setting::Fields::new(node, name, report)?;
                let section = <Self as $crate::config::setting::Section>::read_fields(&mut fields);
                fields.finish();
                section
            }
            fn show(&self) -> String {
                String::new()
            }
            fn entries_below(prefix: &str, entries: &mut Vec<$crate::config::setting::Entry>) -> bool {
                <Self as $crate::config::setting::Section>::entries(prefix, entries);
                true
            }
            fn example_below(indent: &str, text: &mut String) -> bool {
                <Self as $crate::config::setting::Section>::write_example(indent, text);
                true
            }
        }
    };
}
pub(super) use whole;

/// Declares a setting that takes one of some names.
macro_rules! names {
    ( $(#[doc = $doc:literal])* pub enum $ty:ident { $( $(#[doc = $vdoc:literal])* $variant:ident = $name:literal, )* } ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $ty { $( $(#[doc = $vdoc])* $variant, )* }

        impl $ty {
            /// Its name in the config.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }
        }

        impl $crate::config::setting::Setting for $ty {
            fn type_name() -> String {
                [$($name),*].join(", ")
            }
            fn read(node: &$crate::document::Node, name: &str, report: &mut $crate::document::Report) -> Option<Self> {
                match $crate::config::setting::word(node, name, &[$($name),*], report)? {
                    $( $name => Some(Self::$variant), )*
                    _ => None,
                }
            }
            fn show(&self) -> String {
                self.name().to_owned()
            }
        }
    };
}
pub(super) use names;

/// Makes settings of types whose words are declared where they are used.
macro_rules! word_settings {
    ( $($ty:ty),* ) => { $(
        impl $crate::config::setting::Setting for $ty {
            fn type_name() -> String {
                let words: Vec<&str> = <Self as $crate::document::Word>::WORDS.iter().map(|(word, _)| *word).collect();
                words.join(", ")
            }
            fn read(node: &$crate::document::Node, name: &str, report: &mut $crate::document::Report) -> Option<Self> {
                let all = <Self as $crate::document::Word>::WORDS;
                let words: Vec<&'static str> = all.iter().map(|(word, _)| *word).collect();
                let found = $crate::config::setting::word(node, name, &words, report)?;
                all.iter().find(|(word, _)| *word == found).map(|(_, value)| *value)
            }
            fn show(&self) -> String {
                $crate::document::Word::word(*self).to_owned()
            }
        }
    )* };
}
pub(super) use word_settings;

/// The settings of a map while they are read.
pub(super) struct Fields<'a> {
    node: &'a Node,
    /// Name of the section, for problems.
    name: &'a str,
    report: &'a mut Report,
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// Begins to read a map.
    pub fn new(node: &'a Node, name: &'a str, report: &'a mut Report) -> Option<Self> {
        if !matches!(node.data, Data::Map(_)) {
            report.hint(
                node.place,
                format!("{name} must be a map, not {}", node.shape()),
                "write \"key: value\" below it",
            );
            return None;
        }
        Some(Self { node, name, report, known: BTreeSet::new() })
    }

    /// Reads a setting.
    pub fn take<T: Setting>(&mut self, key: &'static str, default: Option<T>) -> Option<T> {
        self.known.insert(key);
        if let Some(node) = self.node.find(key) {
            return T::read(node, key, self.report);
        }
        if default.is_none() {
            self.missing(key);
        }
        default
    }

    /// Reads a setting that must be one of some words and decides about the others.
    pub fn take_word(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        self.known.insert(key);
        let Some(node) = self.node.find(key) else {
            self.missing(key);
            return None;
        };
        word(node, key, words, self.report)
    }

    /// Reports all keys that were not asked for.
    pub fn finish(self) {
        let Data::Map(entries) = &self.node.data else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !self.known.contains(key.text.as_str())) {
            let what = format!("unknown key \"{}\" of {}", key.text, self.name);
            self.report.unknown(key.place, what, &key.text, self.known.iter().copied());
        }
    }

    fn missing(&mut self, key: &str) {
        self.report.add(self.node.place, format!("{} has no {key}", self.name));
    }
}

/// Adds a setting, or those of a section, to the reference.
pub(super) fn entry<T: Setting>(prefix: &str, name: &str, default: Option<T>, doc: &[&str], entries: &mut Vec<Entry>) {
    let path = format!("{prefix}{name}");
    if T::entries_below(&format!("{path}."), entries) {
        return;
    }
    let doc = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    entries.push(Entry { path, ty: T::type_name(), default: default.map(|it| it.show()), doc });
}

/// Writes a setting with its doc, or those of a section.
pub(super) fn example<T: Setting>(indent: &str, name: &str, default: Option<T>, doc: &[&str], text: &mut String) {
    if indent.is_empty() {
        text.push('\n');
    }
    comment(indent, doc, text);
    let value = default.map_or_else(|| "…".to_owned(), |it| it.show());
    text.push_str(indent);
    text.push_str(name);
    text.push(':');
    if !value.is_empty() {
        text.push(' ');
        text.push_str(&value);
    }
    text.push('\n');
    T::example_below(&format!("{indent}  "), text);
}

/// Writes a doc comment as one of YAML.
pub(super) fn comment(indent: &str, doc: &[&str], text: &mut String) {
    for line in doc {
        text.push_str(indent);
        text.push('#');
        text.push_str(line);
        text.push('\n');
    }
}

/// The items of a list that may not be there.
pub(super) fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.data) {
        Some(Data::List(nodes)) => nodes,
        _ => &[],
    }
}

/// One of some words.
pub(super) fn word(node: &Node, name: &str, words: &[&'static str], report: &mut Report) -> Option<&'static str> {
    let text = scalar(node, name, "one of its words", report)?;
    let found = words.iter().copied().find(|word| *word == text);
    if found.is_none() {
        report.unknown(node.place, format!("{name} cannot be \"{text}\""), text, words.iter().copied());
    }
    found
}

fn scalar<'n>(node: &'n Node, name: &str, wanted: &str, report: &mut Report) -> Option<&'n str> {
    let text = node.scalar();
    if text.is_none() {
        report.add(node.place, format!("{name} must be {wanted}, not {}", node.shape()));
    }
    text
}

/// Reads a single value; `wanted` and `example` say in problems what is right.
fn single<T>(
    node: &Node,
    name: &str,
    wanted: &str,
    example: &str,
    report: &mut Report,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = scalar(node, name, wanted, report)?;
    let value = read(text);
    if value.is_none() {
        report.hint(
            node.place,
            format!("{name} must be {wanted}, not \"{text}\""),
            format!("write for example {example}"),
        );
    }
    value
}

macro_rules! single {
    ($($ty:ty, $wanted:literal, $example:literal, |$text:ident| $read:expr, |$it:ident| $show:expr;)*) => {$(
        impl Setting for $ty {
            fn type_name() -> String {
                $wanted.trim_start_matches("a ").trim_start_matches("an ").to_owned()
            }
            fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self> {
                single(node, name, $wanted, $example, report, |$text| $read)
            }
            fn show(&self) -> String {
                let $it = self;
                $show
            }
        }
    )*};
}

single! {
    bool, "true or false", "true", |text| match text { "true" => Some(true), "false" => Some(false), _ => None }, |it| it.to_string();
    u32, "a number", "100", |text| text.parse().ok().filter(|_| !text.starts_with('+')), |it| it.to_string();
    Size, "a size", "8MiB", |text| Size::parse(text), |it| it.to_string();
    Duration, "a duration", "5s", |text| unit::duration(text), |it| unit::show_duration(*it);
    Mode, "permissions", "\"0640\"", |text| Mode::parse(text), |it| format!("\"{it}\"");
    String, "a text", "name", |text| (!text.is_empty()).then(|| text.to_owned()), |it| it.clone();
    PathBuf, "an absolute path", "/var/lib/sigtrail", |text| (text.starts_with('/') && !text.contains('\0')).then(|| text.into()), |it| it.display().to_string();
}

impl<T: Setting> Setting for Option<T> {
    fn type_name() -> String {
        format!("{}, or null", T::type_name())
    }

    fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self> {
        if node.is_null() { Some(None) } else { T::read(node, name, report).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "null".to_owned(), Setting::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }

    fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self> {
        let Data::List(nodes) = &node.data else {
            report.hint(node.place, format!("{name} must be a list, not {}", node.shape()), "write [] for none");
            return None;
        };
        let item = format!("{name} item");
        // all items are read before the first failure counts, so that all problems are found
        let read: Vec<_> = nodes.iter().map(|node| T::read(node, &item, report)).collect();
        read.into_iter().collect()
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Setting::show).collect::<Vec<_>>().join(", "))
    }
}

impl Setting for BTreeMap<String, String> {
    fn type_name() -> String {
        "map of texts".to_owned()
    }

    fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            report.hint(node.place, format!("{name} must be a map, not {}", node.shape()), "write {} for none");
            return None;
        };
        let read: Vec<_> = entries
            .iter()
            .map(|(key, node)| String::read(node, &key.text, report).map(|value| (key.text.clone(), value)))
            .collect();
        read.into_iter().collect()
    }

    fn show(&self) -> String {
        format!("{{{}}}", self.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "))
    }
}
