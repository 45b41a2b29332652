//! `cargo xtask vm [KERNEL]…`: the kernel tests on other kernels, each in a machine of its own.
//!
//! QEMU without acceleration boots Debian's kernel with an initramfs that has our own init, the agent and the test
//! binary. The guest says on its first serial line what it does (`vm: pass files::open 1.2`), and writes all it found
//! to its second one, which is `target/vm/KERNEL.json`; of some tests only, `target/vm/KERNEL.part.json`.
//!
//! `cargo xtask vm systemd` is another guest: a Debian, for the package and its service.

mod initramfs;
mod kernels;
mod systemd;

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use lexopt::{Arg, Parser, ValueExt as _};

use self::{
    initramfs::Initramfs,
    kernels::{Image, Kernel},
};
use crate::{
    build::{self, Profile},
    command,
    error::Error,
    package,
    rights::Consent,
    setup::Scope,
    tree::Tree,
};

/// Seconds after which a machine is ended: a guest that hangs says nothing.
const LIMIT: u32 = 3600;

/// What the command line asked for.
#[derive(Debug, Default)]
pub struct Options {
    kernels: Vec<Kernel>,
    /// The package, in a Debian with systemd.
    systemd: bool,
    /// The package for it; nothing is built then.
    package: Option<PathBuf>,
    /// Only the tests whose name has this in it.
    test: Option<String>,
    /// The initramfs stays.
    keep: bool,
    /// A shell in place of the tests.
    shell: bool,
}

impl Options {
    /// All tests on all kernels, and the package.
    pub fn all() -> Self {
        Self { kernels: Kernel::ALL.to_vec(), systemd: true, ..Self::default() }
    }

    /// Reads the rest of the command line.
    pub fn read(line: &mut Parser, consent: &mut Consent) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        while let Some(arg) = line.next()? {
            match arg {
                Arg::Value(name) if name == "systemd" => options.systemd = true,
                Arg::Value(name) => {
                    let named =
                        name.parse_with(|name| Kernel::named(name).ok_or("5.10, 6.1, 6.12, newest, all or systemd"))?;
                    options.kernels.extend(named);
                }
                Arg::Long("test") => {
                    let test = line.value()?.string()?;
                    // it travels on the command line of a kernel
                    if !test.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                        return Err("a part of a test's name, like files::open".into());
                    }
                    options.test = Some(test);
                }
                Arg::Long("package") => {
                    options.package = Some(line.value()?.into());
                    options.systemd = true;
                }
                Arg::Long("keep") => options.keep = true,
                Arg::Long("shell") => options.shell = true,
                Arg::Long("yes") | Arg::Short('y') => *consent = Consent::Given,
                _ => return Err(arg.unexpected()),
            }
        }
        if options.kernels.is_empty() && !options.systemd {
            options.kernels.push(Kernel::DEFAULT);
        }
        Ok(options)
    }
}

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    if options.package.is_none() {
        build::run(tree, Profile::Release, Scope::Vm, consent)?;
        if options.systemd {
            package(tree, consent)?;
        }
    }
    run_built(tree, options)
}

/// Packs the finished programs.
pub fn package(tree: &Tree, consent: Consent) -> Result<(), Error> {
    let options = package::Options { programs: Some(tree.finished("")), ..package::Options::default() };
    package::run(tree, &options, consent)
}

/// The verb, with programs and packages that are there already.
pub fn run_built(tree: &Tree, options: &Options) -> Result<(), Error> {
    let folder = tree.finished("vm");
    fs::create_dir_all(&folder).map_err(Error::io("creating", &folder))?;
    // one that does not come to its end does not hide the result of the other
    let kernels = if options.kernels.is_empty() { Ok(0) } else { kernel_tests(tree, &folder, options) };
    let systemd = if options.systemd { systemd::run(tree, &folder, options.package.as_deref()) } else { Ok(0) };
    match kernels? + systemd? {
        0 => Ok(()),
        failed => Err(Error::Tests(failed)),
    }
}

/// The kernel tests on the kernels that were asked for; how many failed.
fn kernel_tests(tree: &Tree, folder: &Path, options: &Options) -> Result<usize, Error> {
    let initramfs = Initramfs::build(tree, folder)?;
    let mut images = Vec::new();
    for kernel in &options.kernels {
        images.push((*kernel, kernels::image(folder, *kernel)?));
    }
    let mut failed = 0;
    for (kernel, tally) in side_by_side(&images, |kernel, image| boot(folder, kernel, image, &initramfs, options)) {
        let tally = tally?;
        if !options.shell {
            println!("{kernel}: {tally}");
        }
        failed += tally.failed;
    }
    if options.test.is_none() && !options.shell {
        page(tree, folder, &initramfs)?;
    }
    if !options.keep {
        initramfs.remove()?;
    }
    Ok(failed)
}

/// Runs a machine for each image, as many at a time as there are CPUs: each keeps one busy.
fn side_by_side<I: Sync, T: Send>(
    images: &[(Kernel, I)],
    machine: impl Fn(Kernel, &I) -> T + Sync,
) -> Vec<(Kernel, T)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((kernel, image)) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*kernel, machine(*kernel, image)));
        }
        done
    };
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus.min(images.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic))).collect::<Vec<_>>()
    });
    done.sort_by_key(|(kernel, _)| images.iter().position(|(it, _)| it == kernel));
    done
}

/// What a guest said of its tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Whether the guest came to its end.
    ended: bool,
}

impl Tally {
    /// Adds a line of the guest: `vm: pass files::open 1.2`. Returns whether it is one to show.
    fn add(&mut self, line: &str) -> bool {
        let Some(said) = line.strip_prefix("vm: ") else { return false };
        match said.split(' ').next() {
            Some("pass") => self.passed += 1,
            Some("fail") => self.failed += 1,
            Some("skip") => self.skipped += 1,
            Some("end") => self.ended = true,
            Some(_) | None => {}
        }
        true
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Runs one machine to its end. All it said is in `target/vm/KERNEL.log`.
fn boot(
    folder: &Path,
    kernel: Kernel,
    image: &Image,
    initramfs: &Initramfs,
    options: &Options,
) -> Result<Tally, Error> {
    let initrd = match &image.overlay {
        Some(module) => initramfs.with(module, kernel)?,
        None => initramfs.file.clone(),
    };
    let results =
        if options.test.is_some() { folder.join(format!("{kernel}.part.json")) } else { whole(folder, kernel) };
    let log = folder.join(format!("{kernel}.log"));
    let mut qemu = qemu("single", 2048);
    qemu.arg("-kernel").arg(&image.kernel);
    qemu.arg("-initrd").arg(&initrd).arg("-append").arg(words(kernel, options));
    if options.shell {
        qemu.args(["-serial", "mon:stdio", "-serial", "null"]);
        return command::run("running a virtual machine", &mut qemu).map(|()| Tally::default());
    }
    // a comma ends a file name, two are one
    qemu.args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", results.display().to_string().replace(',', ",,")));
    machine(&kernel.to_string(), &mut qemu, &log)
}

/// An emulated machine with this many MB: TCG, because this must also run where there is no KVM, as in a virtual machine.
fn qemu(threads: &str, memory: u32) -> Command {
    let mut qemu = Command::new("timeout");
    qemu.args(["--foreground", &LIMIT.to_string(), "qemu-system-x86_64", "-accel"])
        .arg(format!("tcg,thread={threads}"));
    qemu.args(["-cpu", "max,la57=off", "-smp", "2", "-m", &memory.to_string()]);
    qemu.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    qemu
}

/// Runs a machine to its end, and counts what it says on its console; all it said is in the file `log`.
fn machine(name: &str, qemu: &mut Command, log: &Path) -> Result<Tally, Error> {
    println!("{name}: {}", command::shown(qemu));
    let mut tally = Tally::default();
    let mut kept = fs::File::create(log).map_err(Error::io("writing", log))?;
    let mut machine = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| command::start("starting a virtual machine", qemu, source))?;
    if let Some(output) = machine.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(Error::io("reading the output of", "qemu"))?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if tally.add(line) {
                println!("{name}: {line}");
            }
            writeln!(kept, "{line}").map_err(Error::io("writing", log))?;
        }
    }
    let status = machine.wait().map_err(Error::io("waiting for", "qemu"))?;
    if status.success() && tally.ended {
        return Ok(tally);
    }
    Err(Error::Missing {
        what: format!("the machine {name} ended ({status}) before its tests did"),
        remedy: format!("  tail -n 40 {}", log.display()),
    })
}

/// The command line of a kernel. Debian's 5.10 has BPF LSM, and leaves it out of the list of those that are on. On a
/// busy host a kernel does not see its timer in time, and panics if it looks (`no_timer_check`).
fn words(kernel: Kernel, options: &Options) -> String {
    let mut words = "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off".to_owned();
    if kernel == Kernel::Series("5.10") {
        words += " lsm=lockdown,yama,apparmor,bpf";
    }
    if let Some(test) = &options.test {
        words += " vm.test=";
        words += test;
    }
    if options.shell {
        words += " vm.shell";
    }
    words
}

/// What a kernel's last whole run found; empty when that run did not come to its end.
fn whole(folder: &Path, kernel: Kernel) -> PathBuf {
    folder.join(format!("{kernel}.json"))
}

/// Writes docs/kernel-support.md from what the guests found, once there is a whole run of each kernel.
fn page(tree: &Tree, folder: &Path, initramfs: &Initramfs) -> Result<(), Error> {
    let files: Vec<PathBuf> = Kernel::ALL.iter().map(|kernel| whole(folder, *kernel)).collect();
    if let Some(missing) = files.iter().find(|file| fs::metadata(file).map_or(true, |it| it.len() == 0)) {
        println!("docs/kernel-support.md stays as it is: there is no {}", missing.display());
        return Ok(());
    }
    let mut report = Command::new(&initramfs.report);
    let text = command::output("making the page", report.args(files))?;
    let page = tree.root.join("docs/kernel-support.md");
    fs::write(&page, text).map_err(Error::io("writing", &page))?;
    println!("written: {}", page.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let check = |line: &[&str], expected: &str| {
            let mut consent = Consent::Ask;
            let read = Options::read(&mut Parser::from_args(line), &mut consent);
            let shown = read.map(|options| {
                let kernels: Vec<String> = options.kernels.iter().map(ToString::to_string).collect();
                format!("{} | {}", kernels.join(" "), words(Kernel::Newest, &options).split_once("=off").unwrap().1)
            });
            assert_eq!(shown.unwrap_or_else(|error| error.to_string()), expected, "{line:?}");
        };
        check(&[], "6.1 | ");
        check(&["5.10", "newest"], "5.10 newest | ");
        check(&["systemd"], " | ");
        check(&["all"], "5.10 6.1 6.12 newest | ");
        check(&["6.12", "--test", "files::open"], "6.12 |  vm.test=files::open");
        check(&["--shell", "--keep", "-y"], "6.1 |  vm.shell");
        check(&["4.19"], "cannot parse argument \"4.19\": 5.10, 6.1, 6.12, newest, all or systemd");
        check(&["--test", "a b"], "a part of a test's name, like files::open");
        check(&["--tests"], "invalid option '--tests'");
    }

    #[test]
    fn machines_answer_in_the_order_of_their_kernels() {
        let images: Vec<_> = Kernel::ALL.iter().map(|kernel| (*kernel, kernel.to_string())).collect();
        let answers = side_by_side(&images, |_, image| image.clone());
        let answers: Vec<_> = answers.iter().map(|(kernel, answer)| (kernel.to_string(), answer.as_str())).collect();
        assert_eq!(
            answers,
            [("5.10", "5.10"), ("6.1", "6.1"), ("6.12", "6.12"), ("newest", "newest")].map(|(a, b)| (a.to_owned(), b))
        );
    }

    #[test]
    fn the_lines_of_a_guest_are_counted() {
        let check = |lines: &[&str], shown: usize, expected: &str, ended: bool| {
            let mut tally = Tally::default();
            assert_eq!(lines.iter().filter(|line| tally.add(line)).count(), shown);
            assert_eq!((tally.to_string().as_str(), tally.ended), (expected, ended));
        };
        check(&[], 0, "0 passed, 0 failed, 0 skipped", false);
        check(&["[    1.0] vm: pass a", "pass b"], 0, "0 passed, 0 failed, 0 skipped", false);
        check(
            &["vm: boot 6.1", "vm: pass files::open 1.2", "vm: fail a 3", "vm: skip b: no strace", "vm: end"],
            5,
            "1 passed, 1 failed, 1 skipped",
            true,
        );
    }
}
