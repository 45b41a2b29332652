//! `sigtrail config`: all settings, or the check of a file.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

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
    let mut out = io::stdout().lock();
    let shown = match &args.check {
        Some(path) => {
            Config::load(path)?;
            writeln!(out, "{}: all well", path.display())
        }
        None => write!(out, "{}", config::example()),
    };
    shown.map_err(Trouble::Output)
}
