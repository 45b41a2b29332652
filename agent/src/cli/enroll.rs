//! `sigtrail enroll`: the keys of this host's log.

use std::io::{self, Write as _};

use super::{ConfigFile, trouble::Trouble};
use crate::daemon;

/// Make keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the log; also in the configuration, as `origin`
    #[arg(long)]
    origin: Option<String>,
    /// End the log that is there and begin another one, which names the last head of the old one
    #[arg(long)]
    again: bool,
    /// Make another host key for the same log; the running agent takes it with its next batch, which both keys sign
    #[arg(long, conflicts_with_all = ["again", "origin"])]
    rotate: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let mut config = args.config.load()?;
    if args.origin.is_some() {
        config.origin.clone_from(&args.origin);
    }
    if args.rotate {
        writeln!(io::stdout(), "{}", daemon::rotate(&config)?).map_err(Trouble::Output)?;
        eprintln!("sigtrail: the key above signs from the next batch on; keep it beside the one before");
        return Ok(());
    }
    write!(io::stdout(), "{}", daemon::enrol(&config, args.again)?).map_err(Trouble::Output)?;
    eprintln!("sigtrail: keys are in {}; keep the note above where an auditor finds it", config.state_dir.display());
    Ok(())
}
