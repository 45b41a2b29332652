//! The rights of root: never taken in silence.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use crate::{
    command::{program, shown},
    error::Error,
};

/// Whether sudo may be used without a question (`--yes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Ask,
    Given,
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // /proc/self belongs to the effective user (proc(5)); std has no geteuid.
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether [`as_root`] has a way to become root, if only by a question.
pub fn can_ask(consent: Consent) -> bool {
    is_root() || program("sudo").is_some() && (consent == Consent::Given || io::stdin().is_terminal())
}

/// The same command with the rights of root: unchanged for root, through sudo after a question otherwise.
/// Without a terminal to ask on, the error says what to type.
pub fn as_root(why: &str, command: Command, consent: Consent) -> Result<Command, Error> {
    if is_root() {
        return Ok(command);
    }
    if program("sudo").is_none() {
        return Err(Error::Missing {
            what: format!("root is needed, and there is no sudo: {why}"),
            remedy: format!("  this command again as root; it runs:\n  {}", shown(&command)),
        });
    }
    let sudo = through_sudo(&command);
    if consent == Consent::Ask && !asked(why, &shown(&sudo))? {
        return Err(Error::Missing {
            what: format!("root is needed: {why}"),
            remedy: format!("  this command again with --yes; it runs:\n  {}", shown(&sudo)),
        });
    }
    Ok(sudo)
}

/// Shows the exact command and waits for a yes; without a terminal the answer is no.
fn asked(why: &str, typed: &str) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("root is needed: {why}\n  {typed}\nrun it? [y/N] ");
    io::stderr().flush().map_err(Error::io("asking on", "standard error"))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Error::io("reading the answer from", "standard input"))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// sudo drops the environment, so the variables of the command travel as arguments of env(1).
fn through_sudo(command: &Command) -> Command {
    let mut sudo = Command::new("sudo");
    let variables: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
    if !variables.is_empty() {
        sudo.arg("env");
    }
    for (name, value) in variables {
        let mut pair = name.to_owned();
        pair.push("=");
        pair.push(value);
        sudo.arg(pair);
    }
    sudo.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        sudo.current_dir(folder);
    }
    sudo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_keeps_the_variables_and_the_words() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let mut command = Command::new("apt-get");
            command.envs(variables.iter().copied()).args(["install", "a b"]);
            assert_eq!(shown(&through_sudo(&command)), expected);
        };
        check(&[], "sudo apt-get install 'a b'");
        check(&[("FRONTEND", "none")], "sudo env FRONTEND=none apt-get install 'a b'");
    }
}
