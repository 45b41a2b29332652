//! `cargo xtask package`: what people install, from the finished programs. All of it is in `target/package/`.

mod changelog;
mod contents;
mod deb;
mod rpm;
mod tarball;
mod twice;

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
    /// Builds in two folders, and compares what comes out.
    pub twice: bool,
    /// Packs in seconds and not in half a minute; what comes out is a quarter larger.
    pub fast: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { programs: None, revision: 1, twice: false, fast: false }
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
    fast: bool,
    /// The time of everything that is packed, in seconds since 1970, so that the same contents make the same bytes.
    epoch: u64,
}

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    if options.twice {
        return twice::run(tree, options);
    }
    if options.programs.is_none() {
        build::run(tree, Profile::Release, Scope::Agent, consent)?;
    }
    let programs = match &options.programs {
        Some(folder) => env::current_dir().map_err(Error::io("finding", "the current folder"))?.join(folder),
        None => tree.finished(""),
    };
    let made = pack(tree, programs, tree.finished("package"), options)?;
    for path in &made {
        println!("{}", path.display());
    }
    Ok(())
}

/// Packs the finished programs twice: the bytes must be the same.
pub fn run_checked(tree: &Tree) -> Result<(), Error> {
    let again = tree.finished("package-again");
    let options = Options { fast: true, ..Options::default() };
    let first = pack(tree, tree.finished(""), tree.finished("package"), &options)?;
    let second = pack(tree, tree.finished(""), again.clone(), &options)?;
    for (first, second) in first.iter().zip(&second) {
        same(first, second)?;
    }
    fs::remove_dir_all(&again).map_err(Error::io("removing", &again))
}

fn same(first: &Path, second: &Path) -> Result<(), Error> {
    let read = |path: &Path| fs::read(path).map_err(Error::io("reading", path));
    if read(first)? == read(second)? {
        return Ok(());
    }
    Err(Error::Artifact { path: second.to_path_buf(), defect: "has other bytes than the first time" })
}

/// Makes all packages of the programs in a folder, and returns their paths.
fn pack(tree: &Tree, programs: PathBuf, out: PathBuf, options: &Options) -> Result<Vec<PathBuf>, Error> {
    deb::ensure(tree)?;
    rpm::ensure(tree)?;
    anew(&out)?;
    let run = Run { tree, programs, out, revision: options.revision, fast: options.fast, epoch: epoch(tree)? };
    let mut made = Vec::new();
    for package in PACKAGES {
        run.write_pages(package)?;
        made.push(deb::make(&run, package)?);
        made.push(rpm::make(&run, package)?);
    }
    made.push(tarball::make(&run)?);
    made.push(tarball::sums(&run, &made)?);
    Ok(made)
}

/// An empty folder.
fn anew(dir: &Path) -> Result<(), Error> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(Error::io("removing", dir))?;
    }
    fs::create_dir_all(dir).map_err(Error::io("creating", dir))
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org), or else the time of the last commit.
fn epoch(tree: &Tree) -> Result<u64, Error> {
    let text = if let Ok(text) = env::var("SOURCE_DATE_EPOCH") {
        text
    } else {
        let mut git = Command::new("git");
        git.arg("-C").arg(&tree.root).args(["log", "-1", "--format=%ct"]);
        command::output("asking git for the time of the last commit", &mut git)?
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
        anew(&dir)?;
        Ok(dir)
    }

    /// The folder of man pages and completions of a package.
    fn pages(&self, package: &Package) -> PathBuf {
        self.out.join("work").join(format!("{}.pages", package.name))
    }

    /// Lets the program of a package write its man pages and completions.
    fn write_pages(&self, package: &Package) -> Result<(), Error> {
        let mut date = Command::new("date");
        date.args(["--utc", "--iso-8601", &format!("--date=@{}", self.epoch)]);
        let date = command::output("writing the day of the packages", &mut date)?;
        let mut program = Command::new(self.programs.join(package.name));
        match package.name {
            "sigtrail" => program.args(["pages", "--date", date.trim(), "--out"]).arg(self.pages(package)),
            _ => program.arg("pages").arg(self.pages(package)).arg(date.trim()),
        };
        command::run("writing man pages and completions", &mut program)
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
