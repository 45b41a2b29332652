//! `sigtrail detach`: removes what a dead agent left in the kernel.

use super::{ConfigFile, trouble::Trouble};
use crate::daemon;

/// Remove pinned programs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    match daemon::detach(&args.config.load()?)? {
        0 => println!("nothing was pinned"),
        1 => println!("detached"),
        count => println!("detached {count} generations"),
    }
    Ok(())
}
