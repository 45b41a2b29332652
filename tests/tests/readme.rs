//! The commands of README.md and of docs/verify-by-hand.md do what the pages say: each `console` block is run as it is
//! written, as root, in one directory from top to bottom.
//!
//! ```text
//! $ command           must end with 0
//! $ command # exits 2 must end with 2
//! ```
//! A here-document goes on to its end; lines of output are not compared. Blocks of another kind (`sh`, `text`) are not
//! run: they need a fresh checkout, a network or a person.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{env, fs, path::Path, process::Command};

use tests::host::{run, sigtrail, verifier};

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    run_page("README.md", &[]);
}

#[test]
fn a_batch_is_verified_by_hand() {
    run_page("docs/verify-by-hand.md", &["log.ndjson", "host.vkey"]);
}

/// Runs the commands of a page of the repository in a directory with copies of these files of `tests/vectors/`.
fn run_page(page: &str, vectors: &[&str]) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commands = commands(&fs::read_to_string(tests.with_file_name(page)).unwrap());
    assert!(!commands.is_empty(), "{page} has no console block");
    let dir = tempfile::tempdir().unwrap();
    for program in [sigtrail(), verifier()] {
        std::os::unix::fs::symlink(&program, dir.path().join(program.file_name().unwrap())).unwrap();
    }
    let path = env::join_paths([dir.path().into()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())));
    let scratch = dir.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    for name in vectors {
        fs::copy(tests.join("vectors").join(name), scratch.join(name)).unwrap();
    }
    for (text, code) in commands {
        let mut shell = Command::new("bash");
        shell.args(["-ec", &text]).current_dir(&scratch).env("PATH", path.as_ref().unwrap());
        let ran = run(&mut shell);
        assert_eq!(ran.code, Some(code), "{text}\n{}{}", ran.out, ran.err);
    }
}

/// The commands and their exit codes.
fn commands(text: &str) -> Vec<(String, i32)> {
    let mut found: Vec<(String, i32)> = Vec::new();
    let mut inside = false;
    // the end of the here-document that is open
    let mut end: Option<String> = None;
    for line in text.lines() {
        if let (Some(word), Some((text, _))) = (&end, found.last_mut()) {
            text.push('\n');
            text.push_str(line);
            if line == word {
                end = None;
            }
        } else if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let (_, code) = command.rsplit_once("# exits ").unwrap_or(("", "0"));
            found.push((command.to_owned(), code.trim().parse().unwrap()));
            end = command.split_once("<<").map(|(_, word)| word.trim_matches(['\'', '"', '-', ' ']).to_owned());
        }
    }
    assert!(end.is_none(), "a here-document does not end: {found:?}");
    found
}

#[test]
fn commands_are_found() {
    let text = "# a\n```sh\n$ no\n```\n```console\n$ one\noutput\n$ two # exits 2\n$ cat > f <<EOF\n$ in\n```\nEOF\n```\n$ no\n";
    let expected = [("one", 0), ("two # exits 2", 2), ("cat > f <<EOF\n$ in\n```\nEOF", 0)];
    assert_eq!(commands(text), expected.map(|(text, code)| (text.to_owned(), code)));
    assert_eq!(commands("no block\n"), []);
}
