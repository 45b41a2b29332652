//! Runs other programs, and says what was being done when one of them fails.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::error::Error;

/// Runs a command with the terminal of the caller.
pub fn run(doing: &str, command: &mut Command) -> Result<(), Error> {
    run_or(doing, command, None)
}

/// Like [`run`]; `remedy` is printed below the failure and says what to type.
pub fn run_or(doing: &str, command: &mut Command, remedy: Option<&str>) -> Result<(), Error> {
    let status = command.status().map_err(|source| start(doing, command, source))?;
    if status.success() {
        return Ok(());
    }
    let remedy = remedy.map(str::to_owned);
    Err(Error::Command { doing: doing.to_owned(), command: shown(command), status, remedy })
}

/// Runs a command and returns what it printed; its standard error stays on the terminal.
pub fn output(doing: &str, command: &mut Command) -> Result<String, Error> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|source| start(doing, command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command { doing: doing.to_owned(), command: shown(command), status: output.status, remedy: None })
}

/// What a short question printed, or nothing when the program is absent or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error of a program that could not be started.
pub fn start(doing: &str, command: &Command, source: std::io::Error) -> Error {
    Error::Start { doing: doing.to_owned(), command: shown(command), source }
}

/// A command as one would type it, with the variables that are set for it.
pub fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(value))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The cargo that builds the user half: the one that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where a program is: the folders of `PATH`, then those of root, which a user's `PATH` leaves out.
pub fn program(name: &str) -> Option<PathBuf> {
    folders().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folders programs are in.
pub fn folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).collect::<Vec<_>>().into_iter().chain(roots)
}

/// `PATH` with these folders before all others.
pub fn path_with(first: &[&Path]) -> Result<std::ffi::OsString, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = first.iter().map(|folder| folder.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|_| Error::Missing {
        what: "a folder whose name has a colon cannot be in PATH".into(),
        remedy: "  mv the repository to a folder without a colon in its name".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let check = |build: fn(&mut Command) -> &mut Command, expected: &str| {
            let mut command = Command::new("apt-get");
            assert_eq!(shown(build(&mut command)), expected);
        };
        check(|c| c.args(["install", "gcc"]), "apt-get install gcc");
        check(|c| c.args(["it's", ""]), r"apt-get 'it'\''s' ''");
        check(|c| c.env("A", "b c").env_remove("D"), "A='b c' apt-get");
    }
}
