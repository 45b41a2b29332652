//! `sigtrail enroll`: the keys of this host's log.

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
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let mut config = args.config.load()?;
    if args.origin.is_some() {
        config.origin.clone_from(&args.origin);
    }
    print!("{}", daemon::enrol(&config)?);
    eprintln!("sigtrail: keys are in {}; keep the note above where an auditor finds it", config.state_dir.display());
    Ok(())
}
