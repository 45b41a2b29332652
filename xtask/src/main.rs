//! Every command of the project: `cargo xtask VERB`. One file per verb.

mod build;
mod check;
mod command;
mod error;
mod object;
mod rights;
mod setup;
mod toolchain;
mod tree;

use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::{build::Profile, error::Error, rights::Consent, setup::Scope, tree::Tree};

const HELP: &str = "\
cargo xtask VERB [OPTIONS]

  setup                    install what the build and the tests need (asks before it uses sudo)
  build [--debug]          the eBPF object and the static programs, into target/
  build --object           the eBPF object alone
  check                    formatting, lints, layers, and the rules about files

  --yes, -y                use sudo without a question";

fn main() -> ExitCode {
    match verb(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Reads the verb and its options, and runs it.
fn verb(mut line: Parser) -> Result<(), Error> {
    let Some(Arg::Value(verb)) = line.next()? else {
        println!("{HELP}");
        return Ok(());
    };
    let tree = Tree::find()?;
    let mut consent = Consent::Ask;
    match verb.to_string_lossy().as_ref() {
        "setup" => {
            options(&mut line, &mut consent, |_, _| Ok(false))?;
            setup::run(&tree, consent)
        }
        "build" => {
            let (mut profile, mut object) = (Profile::Release, false);
            options(&mut line, &mut consent, |_, name| {
                match name {
                    "debug" => profile = Profile::Debug,
                    "object" => object = true,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            if object { build::object(&tree, consent) } else { build::run(&tree, profile, Scope::Agent, consent) }
        }
        "check" => {
            options(&mut line, &mut consent, |_, _| Ok(false))?;
            check::run(&tree, consent)
        }
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(Error::Usage(lexopt::Error::UnexpectedArgument(verb))),
    }
}

/// Reads the options of one verb. `take` gets the name of each long option and says whether it is one of its own.
fn options(
    line: &mut Parser,
    consent: &mut Consent,
    mut take: impl FnMut(&mut Parser, &str) -> Result<bool, lexopt::Error>,
) -> Result<(), Error> {
    while let Some(arg) = line.next()? {
        let name = match &arg {
            Arg::Long("yes") | Arg::Short('y') => {
                *consent = Consent::Given;
                continue;
            }
            Arg::Long(name) => (*name).to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        };
        if !take(line, &name)? {
            return Err(Error::Usage(lexopt::Error::UnexpectedOption(format!("--{name}"))));
        }
    }
    Ok(())
}
