//! What a guest has in place of a disk: our init, the agent, the test binary, a shell.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::kernels::Kernel;
use crate::{command, error::Error, setup, tree::Tree};

/// The initramfs, and the program that reads what came of it.
pub struct Initramfs {
    /// The packed file.
    pub file: PathBuf,
    /// Makes the page of all results.
    pub report: PathBuf,
    folder: PathBuf,
}

/// Programs that tests run, from this host; a guest says of a test which it lacks. All others are applets of busybox.
const PROGRAMS: &[&str] = &["bash", "setpriv", "strace", "auditd", "auditctl"];

impl Initramfs {
    /// Builds the tests, and packs them with the finished programs.
    pub fn build(tree: &Tree, folder: &Path) -> Result<Self, Error> {
        let mut cargo = command::cargo();
        cargo.current_dir(&tree.root).args(["test", "--no-run", "--package", "tests", "--test", "kernel"]);
        let built = command::output("building the tests", cargo.arg("--message-format=json-render-diagnostics"))?;
        let built = executables(&built);
        let of = |name: &str| {
            built.iter().find(|path| is_named(path, name)).ok_or_else(|| Error::Missing {
                what: format!("cargo has built no {name}"),
                remedy: "  cargo test --no-run --package tests --test kernel".into(),
            })
        };

        let root = folder.join("initramfs");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(Error::io("removing", &root))?;
        }
        for name in ["bin", "dev", "proc", "root", "sys", "tmp", "run"] {
            let name = root.join(name);
            fs::create_dir_all(&name).map_err(Error::io("creating", &name))?;
        }
        put(of("vm-init")?, &root, "init")?;
        put(of("kernel")?, &root, "kernel")?;
        put(&tree.agent(), &root, "sigtrail")?;
        put(&tree.finished("sigtrail-verify"), &root, "sigtrail-verify")?;
        let shell = command::program("busybox").unwrap_or_else(|| "busybox".into());
        put(&shell, &root, "bin/busybox")?;
        let applets = command::output("listing busybox", Command::new(&shell).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox" && !PROGRAMS.contains(applet)) {
            let link = root.join("bin").join(applet);
            symlink("busybox", &link).map_err(Error::io("linking", &link))?;
        }
        for name in PROGRAMS {
            if let Some(program) = command::program(name) {
                put(&program, &root, &format!("bin/{name}"))?;
            }
        }
        for (source, name) in [("act.c", "act"), ("nothing.c", "nothing"), ("race.c", "race"), ("uring.c", "uring")] {
            compile(&tree.root.join("tests/tests/kernel").join(source), &root.join(name))?;
        }
        let file = folder.join("initramfs.gz");
        pack(&root, &file)?;
        Ok(Self { file, report: of("vm-page")?.clone(), folder: root })
    }

    /// The packed file with a module for one kernel at its end: several archives behind each other are one to a kernel.
    pub fn with(&self, module: &Path, kernel: Kernel) -> Result<PathBuf, Error> {
        let file = self.of(kernel);
        let folder = self.file.with_file_name(format!("{kernel}.modules"));
        fs::create_dir_all(&folder).map_err(Error::io("creating", &folder))?;
        fs::copy(module, folder.join("overlay.ko")).map_err(Error::io("copying", module))?;
        pack(&folder, &file)?;
        fs::remove_dir_all(&folder).map_err(Error::io("removing", &folder))?;
        let mut whole = fs::read(&self.file).map_err(Error::io("reading", &self.file))?;
        whole.extend(fs::read(&file).map_err(Error::io("reading", &file))?);
        fs::write(&file, whole).map_err(Error::io("writing", &file))?;
        Ok(file)
    }

    fn of(&self, kernel: Kernel) -> PathBuf {
        self.file.with_file_name(format!("{kernel}.initramfs.gz"))
    }

    /// Removes it, packed and not.
    pub fn remove(self) -> Result<(), Error> {
        for file in Kernel::ALL.iter().map(|kernel| self.of(*kernel)).filter(|file| file.is_file()) {
            fs::remove_file(&file).map_err(Error::io("removing", &file))?;
        }
        fs::remove_dir_all(&self.folder).map_err(Error::io("removing", &self.folder))?;
        fs::remove_file(&self.file).map_err(Error::io("removing", &self.file))
    }
}

/// Copies a program without its debug sections, and the shared libraries that it names: the tests are the very ones
/// that `cargo test` runs here, and need no second build.
fn put(program: &Path, root: &Path, name: &str) -> Result<(), Error> {
    let mut copy = Command::new(setup::objcopy().unwrap_or_else(|| "objcopy".into()));
    command::run("stripping a program", copy.arg("--strip-all").arg(program).arg(root.join(name)))?;
    // ldd fails for a static program
    let named = command::answer(Command::new("ldd").arg(program)).unwrap_or_default();
    for library in libraries(&named) {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        let folder = to.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        fs::copy(&library, &to).map_err(Error::io("copying", &library))?;
    }
    Ok(())
}

/// The way the tests compile their C programs on the host.
fn compile(source: &Path, to: &Path) -> Result<(), Error> {
    let mut cc = Command::new("cc");
    cc.args(["-static", "-nostdlib", "-ffreestanding", "-no-pie", "-O1", "-fno-builtin", "-fno-stack-protector"]);
    command::run("compiling a program of the tests", cc.arg(source).arg("-o").arg(to))
}

fn pack(root: &Path, file: &Path) -> Result<(), Error> {
    const SCRIPT: &str = "find . | cpio --create --format=newc --owner=0:0 --quiet | gzip -1 >\"$1\"";
    let mut pack = Command::new("sh");
    command::run("packing the initramfs", pack.args(["-c", SCRIPT, "pack"]).arg(file).current_dir(root))
}

/// The programs among cargo's messages (`compiler-artifact`, one JSON object a line).
fn executables(messages: &str) -> Vec<PathBuf> {
    let programs = messages.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| path.into())
    });
    programs.collect()
}

/// Whether a program has this name, or the name and the hash that cargo gives to tests.
fn is_named(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let hash = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    file == name || hash.is_some_and(|hash| hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()))
}

/// The files that ldd(1) prints: `name => /path (address)`, or `/path (address)` for the loader.
fn libraries(printed: &str) -> Vec<PathBuf> {
    let files = printed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    files.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(libraries(text), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check("\tstatically linked\n", &[]);
        check(
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n",
            &["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"],
        );
        check("\tlibx.so => not found\n", &[]);
    }

    #[test]
    fn a_program_is_found_by_its_name() {
        let check = |path: &str, name: &str, expected: bool| assert_eq!(is_named(Path::new(path), name), expected);
        check("/t/debug/vm-init", "vm-init", true);
        check("/t/debug/deps/kernel-02ab02ab02ab02ab", "kernel", true);
        check("/t/debug/kernel-support", "kernel", false);
        check("/t/debug/vm-page", "vm", false);
    }

    #[test]
    fn programs_are_read_from_the_messages_of_cargo() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(executables(text), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check(r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#, &[]);
        check(
            "{\"reason\":\"x\",\"executable\":\"/t/kernel-0f\",\"fresh\":true}\n{\"executable\":\"/t/vm-init\"}\n",
            &["/t/kernel-0f", "/t/vm-init"],
        );
    }
}
