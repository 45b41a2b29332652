//! `cargo xtask package`: what people install, from the finished programs. All of it is in `target/package/`.

mod changelog;
mod contents;
mod deb;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use crate::{
    build::{self, Profile},
    command,
    error::Error,
    rights::Consent,
    setup::Scope,
    tree::Tree,
};
use contents::{Format, PACKAGES, Package};

/// The version of everything that is packed.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is asked for on the command line.
#[derive(Debug)]
pub struct Options {
    /// Where the finished programs are; they are built when nobody says.
    pub programs: Option<PathBuf>,
    /// Counts packages of the same version (Debian's revision, the release of an RPM).
    pub revision: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { programs: None, revision: 1 }
    }
}

/// What all packages of one run have in common.
#[derive(Debug)]
struct Run<'a> {
    tree: &'a Tree,
    /// The folder of the programs.
    programs: PathBuf,
    /// The folder of what is made.
    out: PathBuf,
    revision: u32,
    /// The time of everything that is packed, in seconds since 1970, so that the same contents make the same bytes.
    epoch: u64,
}

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    if options.programs.is_none() {
        build::run(tree, Profile::Release, Scope::Agent, consent)?;
    }
    deb::ensure(tree)?;
    let programs = options.programs.clone().unwrap_or_else(|| tree.finished(""));
    let out = tree.finished("package");
    fs::create_dir_all(&out).map_err(Error::io("creating", &out))?;
    let run = Run { tree, programs, out, revision: options.revision, epoch: epoch(tree)? };
    for package in PACKAGES {
        println!("{}", deb::make(&run, package)?.display());
    }
    Ok(())
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org), or else the time of the last commit.
fn epoch(tree: &Tree) -> Result<u64, Error> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.arg("-C").arg(&tree.root).args(["log", "-1", "--format=%ct"]);
            command::output("asking git for the time of the last commit", &mut git)?
        }
    };
    text.trim().parse().map_err(|_| Error::Missing {
        what: format!("the time of the packages is no number of seconds: {text:?}"),
        remedy: "  export SOURCE_DATE_EPOCH=$(date +%s)".into(),
    })
}

impl Run<'_> {
    /// A new folder for what one format of a package is made of.
    fn place(&self, package: &Package, format: Format) -> Result<PathBuf, Error> {
        let dir = self.out.join("work").join(format!("{}.{format}", package.name));
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(Error::io("removing", &dir))?;
        }
        fs::create_dir_all(&dir).map_err(Error::io("creating", &dir))?;
        Ok(dir)
    }

    /// The time of all files.
    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.epoch)
    }
}

/// Packs a text as gzip does it, without name and time.
fn gzip(path: &Path) -> Result<(), Error> {
    command::run("packing a page", Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(path))
}
