//! `sigtrail policy`: check what a policy says, before it does.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Subcommand;

use super::trouble::Trouble;
use crate::policy::Policy;

/// Work with policies.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check policy files; show what the kernel half will leave out
    Check {
        /// The files, in the order in which their rules are asked; none for the built-in policy
        files: Vec<PathBuf>,
    },
    /// Print the built-in policy
    Default,
}

pub(super) fn run(verb: &Verb) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    let shown = match verb {
        Verb::Check { files } => show(&mut out, &Policy::load(files)?),
        Verb::Default => write!(out, "{}", Policy::default_text()),
    };
    shown.map_err(Trouble::Output)
}

fn show(out: &mut impl Write, policy: &Policy) -> io::Result<()> {
    writeln!(out, "{} rules, all well. What the kernel half sends:", policy.rules().len())?;
    for share in policy.explain() {
        writeln!(out, "  {share}")?;
    }
    writeln!(out, "Starts, births and ends of processes are always sent: the process table lives by them.")
}
