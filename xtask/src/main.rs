//! Every command of the project: `cargo xtask VERB`. One file per verb.

mod bench;
mod build;
mod check;
mod command;
mod error;
mod fuzz;
mod generate;
mod mutants;
mod object;
mod package;
mod receiver;
mod rights;
mod run;
mod setup;
mod test;
mod toolchain;
mod tree;
mod vm;

use std::{env, ffi::OsString, process::ExitCode};

use lexopt::{Arg, Parser, ValueExt as _};

use crate::{
    bench::{Micro, Part},
    build::Profile,
    error::Error,
    generate::Mode,
    rights::Consent,
    setup::Scope,
    test::Length,
    tree::Tree,
};

const HELP: &str = "\
cargo xtask VERB [OPTIONS]

  setup                    install what the build and the tests need (asks before it uses sudo)
  build [--debug]          the eBPF object and the static programs, into target/
  build --object           the eBPF object alone
  run [--for 10s] [--config FILE] [-- ARGS]
                           the agent on this host's real events, to a file and to nginx; then the proof (root)
  test [--long]            everything CI runs: set-up, build, rules, all tests (root for those of the kernel)
  generate [--check]       the pages of docs/ that the agent writes itself
  check                    formatting, lints, layers, and the rules about files
  bench [--paired] [--floor] [--program] [--latency] [--workload NAMES] [--peer NAMES] [--rounds N] [--anew]
                           what the agent costs, beside auditd and bpftrace, on this machine: all of it, or a part,
                           which is added to the results that are there; writes docs/performance.md (root)
  bench --replay           what one event costs in the hot half, stage by stage, by recorded events
  bench --seal             what sealing costs beside a plain SHA-256, with its bars
  bench --report           docs/performance.md again, from the results that are there

  fuzz [TARGET]… [--for 60s]
                           libFuzzer on the parsers of foreign bytes, a second each if you do not say how long
  mutants [FILE]… [--shard 0/8]
                           changes the seal crate piece by piece; its tests must notice, but for seal/mutants.txt (an hour)
  package [--programs DIR] [--revision N] [--fast]
                           what people install, into target/package/; of finished programs if you say where they are
  package --twice          builds and packs in two folders, and compares the bytes
  vm [5.10|6.1|6.12|newest|all]… [--test PART] [--keep] [--shell]
                           the kernel tests on Debian's kernels, in virtual machines; writes docs/kernel-support.md
  vm systemd [--package FILE]
                           the package in a Debian with a real systemd: install, upgrade, kill, blind, purge

  --yes, -y                use sudo without a question";

fn main() -> ExitCode {
    let mut words: Vec<OsString> = env::args_os().skip(1).collect();
    // what follows `--` is for the agent
    let more = match words.iter().position(|word| word == "--") {
        Some(at) => words.split_off(at).split_off(1),
        None => Vec::new(),
    };
    match verb(Parser::from_args(words), more) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Reads the verb and its options, and runs it.
fn verb(mut line: Parser, more: Vec<OsString>) -> Result<(), Error> {
    let Some(Arg::Value(verb)) = line.next()? else {
        println!("{HELP}");
        return Ok(());
    };
    if let Some(word) = more.first().filter(|_| verb != "run") {
        return Err(lexopt::Error::UnexpectedArgument(word.clone()).into());
    }
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
        "run" => {
            let mut run = run::Options::default();
            options(&mut line, &mut consent, |line, name| {
                match name {
                    "for" => {
                        run.seconds =
                            Some(line.value()?.parse_with(|text| run::seconds(text).ok_or("not a time, like 10s"))?);
                    }
                    "config" => run.config = Some(line.value()?.into()),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            run.more = more;
            run::run(&tree, &run, consent)
        }
        "bench" => {
            let mut bench = bench::Options::default();
            options(&mut line, &mut consent, |line, name| {
                match name {
                    "workload" => {
                        bench.workload = line.value()?.string()?;
                        bench.parts.push(Part::Paired);
                    }
                    "peer" => bench.peer = line.value()?.string()?,
                    "rounds" => bench.rounds = line.value()?.parse()?,
                    "replay" => bench.micro = Some(Micro::Replay),
                    "seal" => bench.micro = Some(Micro::Seal),
                    "report" => bench.report = true,
                    "anew" => bench.anew = true,
                    other => match Part::from_name(other) {
                        Some(part) => bench.parts.push(part),
                        None => return Ok(false),
                    },
                }
                Ok(true)
            })?;
            bench.parts.dedup();
            bench::run(&tree, &bench, consent)
        }
        "check" => {
            options(&mut line, &mut consent, |_, _| Ok(false))?;
            check::run(&tree, consent)
        }
        "generate" => {
            let mut pages = Mode::Write;
            options(&mut line, &mut consent, |_, name| {
                pages = Mode::Check;
                Ok(name == "check")
            })?;
            generate::run(&tree, pages, consent)
        }
        "test" => {
            let mut length = Length::Short;
            options(&mut line, &mut consent, |_, name| {
                length = Length::Long;
                Ok(name == "long")
            })?;
            test::run(&tree, length, consent)
        }
        "fuzz" => {
            let mut fuzz = fuzz::Options::default();
            while let Some(arg) = line.next()? {
                match arg {
                    Arg::Long("for") => {
                        fuzz.seconds =
                            Some(line.value()?.parse_with(|text| run::seconds(text).ok_or("not a time, like 10s"))?);
                    }
                    Arg::Long("yes") | Arg::Short('y') => consent = Consent::Given,
                    Arg::Value(name) => fuzz.targets.push(name.string()?),
                    Arg::Long(_) | Arg::Short(_) => return Err(arg.unexpected().into()),
                }
            }
            fuzz::run(&tree, &fuzz, consent)
        }
        "mutants" => {
            let mut mutants = mutants::Options::default();
            while let Some(arg) = line.next()? {
                match arg {
                    Arg::Long("shard") => mutants.shard = Some(line.value()?.string()?),
                    Arg::Value(file) => mutants.files.push(file.string()?),
                    Arg::Long(_) | Arg::Short(_) => return Err(arg.unexpected().into()),
                }
            }
            mutants::run(&tree, &mutants)
        }
        "package" => {
            let mut package = package::Options::default();
            options(&mut line, &mut consent, |line, name| {
                match name {
                    "twice" => package.twice = true,
                    "fast" => package.fast = true,
                    "programs" => package.programs = Some(line.value()?.into()),
                    "revision" => package.revision = line.value()?.parse()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            package::run(&tree, &package, consent)
        }
        "vm" => {
            let options = vm::Options::read(&mut line, &mut consent)?;
            vm::run(&tree, &options, consent)
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
