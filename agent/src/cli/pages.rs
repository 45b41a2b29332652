//! `sigtrail completions`, and man pages for packages: both from the declarations of the command line.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use seal::cli::Auditor;

use super::{Cli, trouble::Trouble};

/// Completions for one shell.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Man pages and completions, as files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory
    #[arg(long)]
    out: PathBuf,
    /// The day that the pages name, YYYY-MM-DD
    #[arg(long)]
    date: String,
}

pub(super) fn complete(args: &Completions) -> Result<(), Trouble> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sigtrail", &mut text);
    io::stdout().write_all(&text).map_err(Trouble::Output)
}

pub(super) fn write(args: &Args) -> Result<(), Trouble> {
    fs::create_dir_all(&args.out).map_err(failed("creating", &args.out))?;
    for (command, section) in [(Cli::command(), "8"), (Auditor::command(), "1")] {
        let (name, mut all) = (command.get_name().to_owned(), command.clone());
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut all, &name, &args.out).map_err(failed("writing", &args.out))?;
        }
        let mut command = command.disable_help_subcommand(true);
        command.build();
        page(&command, section, args)?;
    }
    Ok(())
}

/// The page of a command, and those of its verbs.
fn page(command: &Command, section: &str, args: &Args) -> Result<(), Trouble> {
    let man = Man::new(command.clone()).section(section).date(&args.date).manual("sigtrail");
    man.source(concat!("sigtrail ", env!("CARGO_PKG_VERSION")))
        .generate_to(&args.out)
        .map_err(failed("writing", &args.out))?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| page(verb, section, args))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
    let path = path.to_path_buf();
    move |source| Trouble::File { doing, path, source }
}
