//! `sigtrail policy`: check what a policy says, before it does.

use std::path::PathBuf;

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
    match verb {
        Verb::Check { files } => {
            let policy = Policy::load(files)?;
            println!("{} rules, all well. What the kernel half sends:", policy.rules().len());
            for share in policy.explain() {
                println!("  {share}");
            }
            println!("Starts, births and ends of processes are always sent: the process table lives by them.");
        }
        Verb::Default => print!("{}", Policy::default_text()),
    }
    Ok(())
}
