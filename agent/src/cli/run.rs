//! `sigtrail run`: the agent.

use std::{convert::Infallible, env, io, io::Write as _, os::unix::process::CommandExt as _, process::Command};

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

/// The C library's allocator returns free memory at the end of its heap from this many bytes on (mallopt(3)). It would
/// raise that number by itself, and what the start needs for a moment would stay until the end.
const TRIM: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "1048576");

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let config = args.config.load()?;
    log::start(&config.log);
    // the allocator listens to the environment alone, and only when the program starts
    if env::var_os(TRIM.0).is_none()
        && let Err(error) = again()
    {
        tracing::debug!(%error, "the allocator keeps memory that is free");
    }
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

/// Starts this program again in this process.
fn again() -> io::Result<Infallible> {
    Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).env(TRIM.0, TRIM.1).exec())
}
