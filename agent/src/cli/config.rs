//! `sigtrail config`: all settings, or the check of a file.

use std::path::PathBuf;

use super::trouble::Trouble;
use crate::config::{self, Config};

/// Show or check the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file to check; without one, a file with all settings and their defaults is printed
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    match &args.check {
        Some(path) => {
            Config::load(path)?;
            println!("{}: all well", path.display());
        }
        None => print!("{}", config::example()),
    }
    Ok(())
}
