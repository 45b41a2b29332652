//! Reads Rust as far as the rules need it: which names follow a path.

use std::collections::BTreeSet;

/// A file of the repository: its path from the root and its text without comments.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.lines().map(code).collect::<Vec<_>>().join("\n") }
    }
}

/// A line without its comment. A `//` after an odd number of quotes is inside a text ("https://…").
fn code(line: &str) -> &str {
    let quotes = |before: &str| before.matches('"').count() - before.matches(r#"\""#).count();
    let comment = line.match_indices("//").map(|(at, _)| at).find(|at| quotes(&line[..*at]) % 2 == 0);
    comment.map_or(line, |at| &line[..at])
}

/// The text before the tests of a file, which stand at its end.
pub fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// The names that follow `root::`, in paths and in the groups of `use`: `use root::{a, b::{c, d}}` gives a and b.
pub fn heads<'a>(text: &'a str, root: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(root) {
        let inside_a_name = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        // `::root::` is a path from the top: the same root
        let from_the_top = text[..at].ends_with("::") && !text[..at.saturating_sub(2)].ends_with(char::is_alphanumeric);
        let Some(rest) = text[at + root.len()..].strip_prefix("::") else { continue };
        if !inside_a_name || from_the_top {
            match rest.strip_prefix('{') {
                Some(group) => found.extend(members(group)),
                None => {
                    found.insert(head(rest));
                }
            }
        }
    }
    found.remove("");
    found
}

/// The first names of the members of a group, up to its closing brace.
fn members(group: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(head(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

fn head(path: &str) -> &str {
    let path = path.trim_start();
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_after_a_root_are_found() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(heads(text, "crate").into_iter().collect::<Vec<_>>(), expected, "{text}");
        };
        check("use crate::a::B;", &["a"]);
        check("use crate::{a::{B, C}, d as e,\n    f,\n};", &["a", "d", "f"]);
        check("pub(crate) fn f() { crate::a::g(crate::b::H) }", &["a", "b"]);
        check("use mycrate::a; use my_crate::b; crates::c", &[]);
        check("use crate::{a", &[]);
        check("$crate::a!()", &["a"]);
        check("a::crate::b", &[]);
        check("impl ::crate::a", &["a"]);
    }

    #[test]
    fn comments_are_dropped_and_texts_kept() {
        let check = |line: &str, expected: &str| assert_eq!(code(line), expected);
        check("let a = 1; // crate::b", "let a = 1; ");
        check("/// [`crate::b`]", "");
        check(r#"let url = "https://x"; // y"#, r#"let url = "https://x"; "#);
        check(r#"let q = "\"//"; f()"#, r#"let q = "\"//"; f()"#);
    }
}
