//! `sigtrail run`: the agent.

use std::io::Write as _;

use super::{ConfigFile, log, paint::Paint, print::Printer, trouble::Trouble};
use crate::daemon;

/// Collect, seal and deliver.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Also print each record as a line
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let config = args.config.load()?;
    log::start(&config.log);
    let show = args.print.then(|| -> daemon::Show {
        let mut printer = Printer::new(Paint::stdout());
        let mut gone = false;
        Box::new(move |record, judgement, time| {
            let line = printer.line(record, judgement, time);
            if !gone && let Err(error) = std::io::stdout().write_all(line.as_bytes()) {
                tracing::warn!(%error, "nobody reads the lines any more; going on without them");
                gone = true;
            }
        })
    });
    Ok(daemon::run(&config, args.config.config.as_deref(), show)?)
}
