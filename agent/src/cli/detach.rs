//! `sigtrail detach`: removes what a dead agent left in the kernel.

use std::io::{self, Write as _};

use super::{ConfigFile, trouble::Trouble};
use crate::daemon;

/// Remove pinned programs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let count = daemon::detach(&args.config.load()?)?;
    let mut out = io::stdout().lock();
    let shown = match count {
        0 => writeln!(out, "nothing was pinned"),
        1 => writeln!(out, "detached"),
        count => writeln!(out, "detached {count} generations"),
    };
    shown.map_err(Trouble::Output)
}
