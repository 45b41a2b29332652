//! CHANGELOG.md in the words of Debian.

use std::{fs, process::Command};

use super::{Run, VERSION, deb::MAINTAINER};
use crate::{command, error::Error};

/// The longest a line may be.
const WIDTH: usize = 80;

/// What is new in this version (deb-changelog(5)): the entries of the newest section.
pub fn debian(run: &Run<'_>, package: &str) -> Result<String, Error> {
    let path = run.tree.root.join("CHANGELOG.md");
    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", &format!("--date=@{}", run.epoch)]).env("LC_ALL", "C");
    let date = command::output("writing the time of the packages", &mut date)?;
    let entries: String = newest(&text).iter().map(|entry| wrapped(entry)).collect();
    let revision = run.revision;
    Ok(format!("{package} ({VERSION}-{revision}) unstable; urgency=medium\n\n{entries}\n -- {MAINTAINER}  {date}"))
}

/// The entries of the first section that has some, each in one line.
fn newest(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("## ") && !entries.is_empty() {
            break;
        }
        if let Some(entry) = line.strip_prefix("- ") {
            entries.push(entry.to_owned());
        } else if let (Some(more), Some(entry)) = (line.strip_prefix("  "), entries.last_mut()) {
            entry.push(' ');
            entry.push_str(more);
        }
    }
    entries
}

/// An entry as a list item, broken between words.
fn wrapped(entry: &str) -> String {
    let mut lines = vec!["  *".to_owned()];
    for word in entry.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("    {word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_section_is_taken() {
        let check = |text: &str, expected: &[&str]| assert_eq!(newest(text), expected);
        check("# Changelog\n\nText.\n", &[]);
        check("## [Unreleased]\n\n### Added\n- a\n  b\n- c\n\n### Fixed\n- d\n## [0.1.0]\n- e\n", &["a b", "c", "d"]);
        check("## [Unreleased]\n\n## [0.1.0]\n- e\n", &["e"]);
    }

    #[test]
    fn lines_are_broken() {
        let check = |entry: &str, expected: &str| assert_eq!(wrapped(entry), expected);
        check("a  b", "  * a b\n");
        let word = "w".repeat(40);
        check(&format!("{word} {word}"), &format!("  * {word}\n    {word}\n"));
        check(&"w".repeat(90), &format!("  *\n    {}\n", "w".repeat(90)));
    }
}
