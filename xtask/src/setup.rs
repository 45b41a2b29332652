//! `cargo xtask setup`: installs what the build and the tests need. Under a second when nothing is missing.

mod foreign;

pub use foreign::all as foreign;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command,
    error::Error,
    rights::{Consent, as_root, can_ask},
    toolchain::{self, Compiler, Found, Toolchain},
    tree::Tree,
};

/// The version of bpf-linker that setup builds.
const LINKER: &str = "0.13.0";

/// How one sees that a package is there. Not asked of dpkg: what another way has installed is as good.
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// A module of python3.
    Module(&'static str),
}

/// What a verb is going to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The eBPF object.
    Object,
    /// The agent: a C compiler for zstd, and the static libc.
    Agent,
    /// The tests and `run`: a real receiver, and the programs that check us.
    Tests,
    /// `vm`: an emulator, and what an initramfs is made of.
    Vm,
}

const PACKAGES: &[(Scope, &str, Sign)] = &[
    (Scope::Object, "gcc", Sign::Program("cc")),
    (Scope::Agent, "libc6-dev", Sign::File("/usr/include/stdio.h")),
    (Scope::Agent, "make", Sign::Program("make")),
    (Scope::Tests, "git", Sign::Program("git")),
    // libFuzzer
    (Scope::Tests, "g++", Sign::Program("c++")),
    (Scope::Tests, "nginx-light", Sign::Program("nginx")),
    // without its service
    (Scope::Tests, "tinyproxy-bin", Sign::Program("tinyproxy")),
    (Scope::Tests, "haproxy", Sign::Program("haproxy")),
    (Scope::Tests, "nats-server", Sign::Program("nats-server")),
    (Scope::Tests, "strace", Sign::Program("strace")),
    (Scope::Tests, "auditd", Sign::File("/usr/sbin/auditctl")),
    (Scope::Tests, "bpftool", Sign::Program("bpftool")),
    (Scope::Tests, "openssl", Sign::Program("openssl")),
    (Scope::Tests, "curl", Sign::Program("curl")),
    // systemd-analyze looks at the unit; it needs no running systemd
    (Scope::Tests, "systemd", Sign::Program("systemd-analyze")),
    (Scope::Tests, "zstd", Sign::Program("zstd")),
    // tools/verify.py
    (Scope::Tests, "python3", Sign::Program("python3")),
    // programs from PyPI, see `foreign`
    (Scope::Tests, "python3-venv", Sign::Module("ensurepip")),
    (Scope::Tests, "age", Sign::Program("age")),
    (Scope::Tests, "e2fsprogs", Sign::File("/usr/sbin/mkfs.ext4")),
    (Scope::Tests, "iproute2", Sign::File("/usr/sbin/tc")),
    (Scope::Tests, "jq", Sign::Program("jq")),
    // draws the page of `report --html`
    (Scope::Tests, "chromium", Sign::Program("chromium")),
    // promtool; without its service
    (Scope::Tests, "prometheus", Sign::Program("promtool")),
    // packages: what checks and installs them
    (Scope::Tests, "lintian", Sign::Program("lintian")),
    (Scope::Tests, "rpm", Sign::Program("rpm")),
    (Scope::Tests, "rpmlint", Sign::Program("rpmlint")),
    (Scope::Tests, "mandoc", Sign::Program("mandoc")),
    (Scope::Vm, "qemu-system-x86", Sign::Program("qemu-system-x86_64")),
    (Scope::Vm, "busybox-static", Sign::Program("busybox")),
    (Scope::Vm, "cpio", Sign::Program("cpio")),
    (Scope::Vm, "mmdebstrap", Sign::Program("mmdebstrap")),
];

/// Debian's compiler with a built `core` for BPF, and what bpf-linker is linked with.
const COMPILER: &[&str] =
    &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "zlib1g-dev", "libzstd-dev"];

/// The packages that bring a service.
const SERVICES: &[&str] = &["nginx-light", "auditd", "haproxy", "nats-server", "prometheus"];

/// What works where apt has no such compiler (Ubuntu, Fedora …).
const ALTERNATIVE: &str = "  rustup toolchain install nightly --profile minimal --component rust-src
  cargo install cargo-binstall && cargo binstall bpf-linker
  sudo apt-get install llvm        (for llvm-objcopy; any version)
and then this command again";

/// The verb.
pub fn run(tree: &Tree, consent: Consent) -> Result<(), Error> {
    let toolchain = ensure(tree, Scope::Tests, consent)?;
    foreign(tree)?;
    let core = if toolchain.compiler.build_std { "core from source" } else { "core as installed" };
    println!(
        "eBPF compiler  {} (LLVM {}, {core})",
        toolchain.compiler.bin.join("rustc").display(),
        toolchain.compiler.llvm
    );
    println!("eBPF linker    {}", toolchain.linker.display());
    println!("nothing is missing");
    Ok(())
}

/// Installs what is missing for `scope`, and returns the toolchain of the kernel half.
pub fn ensure(tree: &Tree, scope: Scope, consent: Consent) -> Result<Toolchain, Error> {
    let mut missing: Vec<&str> = absent(PACKAGES, scope);
    let mut found = toolchain::find(tree);
    if found == Found::Nothing {
        missing.extend(COMPILER);
    } else if objcopy().is_none() {
        missing.push("llvm");
    } else if let Found::NoLinker(compiler) = &found {
        // the linker is built here, against the LLVM of that compiler
        if !llvm(compiler).join("bin/llvm-config").is_file() {
            missing.extend(COMPILER);
        }
    }
    if !missing.is_empty() {
        install(&missing, consent)?;
        let still = absent(PACKAGES, scope);
        if !still.is_empty() {
            return Err(Error::Missing {
                what: format!("installed, and yet not found: {}", still.join(" ")),
                remedy: format!("  dpkg --verify {}", still.join(" ")),
            });
        }
        found = toolchain::find(tree);
    }
    if let Found::NoLinker(compiler) = found {
        build_linker(tree, &compiler)?;
        found = toolchain::find(tree);
    }
    match found {
        Found::All(toolchain) => Ok(toolchain),
        Found::NoLinker(_) | Found::Nothing => Err(Error::Missing {
            what: "there is no compiler for the kernel half, though its packages were installed".into(),
            remedy: ALTERNATIVE.into(),
        }),
    }
}

fn absent(packages: &[(Scope, &'static str, Sign)], scope: Scope) -> Vec<&'static str> {
    let there = |sign: &Sign| match sign {
        Sign::Program(name) => command::program(name).is_some(),
        Sign::File(path) => Path::new(path).is_file(),
        Sign::Module(name) => {
            command::answer(Command::new("python3").args(["-c", &format!("import {name}")])).is_some()
        }
    };
    packages.iter().filter(|(of, _, sign)| *of <= scope && !there(sign)).map(|(_, name, _)| *name).collect()
}

/// Installs the packages of programs that are not there: `(program, package)`.
pub fn programs(needed: impl IntoIterator<Item = (&'static str, &'static str)>, consent: Consent) -> Result<(), Error> {
    let absent = needed.into_iter().filter(|(program, _)| command::program(program).is_none());
    let missing: Vec<&str> = absent.map(|(_, package)| package).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing, consent) }
}

/// llvm-objcopy of the newest LLVM that is there: it only drops sections, so any version will do.
pub fn objcopy() -> Option<PathBuf> {
    let newest = (15..40).rev();
    newest
        .map(|major| PathBuf::from(format!("/usr/lib/llvm-{major}/bin/llvm-objcopy")))
        .find(|path| path.is_file())
        .or_else(|| command::program("llvm-objcopy"))
}

fn llvm(compiler: &Compiler) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm))
}

/// Installs Debian packages without starting the services that come with them.
pub fn install(packages: &[&str], consent: Consent) -> Result<(), Error> {
    if command::program("apt-get").is_none() {
        return Err(Error::Missing {
            what: format!("this system has no apt-get, and these are missing: {}", packages.join(" ")),
            remedy: format!("  (your package manager's names for the above)\n{ALTERNATIVE}"),
        });
    }
    let list = packages.join(" ");
    eprintln!("missing: {list}");
    if !can_ask(consent) {
        let other = if packages.contains(&COMPILER[0]) {
            format!("\n\nwhere apt has no {}, type:\n{ALTERNATIVE}", COMPILER[0])
        } else {
            String::new()
        };
        return Err(Error::Missing {
            what: "packages are missing, and this is neither root nor a terminal to ask for its rights on".into(),
            remedy: format!(
                "  sudo apt-get update && sudo apt-get install --no-install-recommends {list}\n\
                 and then this command again (or this command with --yes, which uses sudo){other}"
            ),
        });
    }
    if packages.iter().any(|package| !offered(package)) {
        let mut update = Command::new("apt-get");
        update.args(["update", "--quiet=2"]);
        let doing = "updating the lists of packages";
        command::run_or(doing, &mut as_root(doing, update, consent)?, Some("apt-get needs the network"))?;
    }
    let unknown: Vec<&str> = packages.iter().copied().filter(|package| !offered(package)).collect();
    if !unknown.is_empty() {
        return Err(Error::Missing {
            what: format!("apt has no package {}", unknown.join(", ")),
            remedy: if unknown.iter().any(|package| COMPILER.contains(package)) {
                ALTERNATIVE.into()
            } else {
                format!("  (enable the suite that has {})", unknown.join(", "))
            },
        });
    }
    let doing = "installing packages";
    let remedy = "apt-get says why above; if it did not find a file, type: sudo apt-get update";
    command::run_or(doing, &mut as_root(doing, quietly(packages), consent)?, Some(remedy))
}

fn offered(package: &str) -> bool {
    let policy = command::answer(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    policy.is_some_and(|policy| policy.contains("Candidate:") && !policy.contains("Candidate: (none)"))
}

/// apt-get install. A package that brings a service is installed under a policy-rc.d (see invoke-rc.d(8)) that forbids
/// to start it: nginx must not take port 80, auditd must not enable the kernel's audit. A policy of the host's own stays.
fn quietly(packages: &[&str]) -> Command {
    const SCRIPT: &str = r#"set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get install --quiet --yes --no-remove --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
    for package; do
        case $package in
            nginx*) systemctl --quiet disable nginx ;;
            auditd | haproxy | nats-server | prometheus) systemctl --quiet disable "$package" ;;
        esac
    done
fi"#;
    let mut command = Command::new("apt-get");
    if packages.iter().any(|package| SERVICES.contains(package)) {
        command = Command::new("sh");
        command.args(["-c", SCRIPT, "install"]);
    } else {
        command.args(["install", "--quiet", "--yes", "--no-remove", "--no-install-recommends"]);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive").args(packages);
    command
}

/// Builds a tool of cargo's once, into the repository's target folder, unless it is there in this version.
pub fn tool(tree: &Tree, name: &str, version: &str) -> Result<(), Error> {
    // what cargo notes there; not every tool has a --version
    let list = fs::read_to_string(tree.finished("tools/.crates.toml"));
    let there = list.is_ok_and(|list| list.contains(&format!("\"{name} {version} (")));
    if there && tree.finished("tools/bin").join(name).is_file() {
        return Ok(());
    }
    eprintln!("building {name} {version} (once, some minutes)");
    let mut cargo = command::cargo();
    cargo.args(["install", name, "--version", version, "--locked", "--quiet", "--force"]);
    cargo.arg("--root").arg(tree.finished("tools"));
    cargo.env("CARGO_TARGET_DIR", tree.cargo_target().join("tools-build"));
    cargo.current_dir(env::temp_dir()); // away from the workspace's own configuration
    command::run_or(&format!("building {name}"), &mut cargo, Some("cargo needs the network for this step"))
}

/// Builds bpf-linker against the LLVM of the compiler, into the repository's target folder.
fn build_linker(tree: &Tree, compiler: &Compiler) -> Result<(), Error> {
    let major = compiler.llvm;
    let llvm = llvm(compiler);
    eprintln!("building bpf-linker {LINKER} against LLVM {major} (once, about a minute)");
    let mut cargo = command::cargo();
    cargo.args(["install", "bpf-linker", "--version", LINKER, "--locked", "--quiet", "--force"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{major}")]);
    cargo.arg("--root").arg(tree.finished("tools"));
    // Without LLVM_PREFIX the link fails with "unable to find library -lLLVM".
    cargo.env("LLVM_PREFIX", &llvm).env(format!("LLVM_SYS_{major}1_PREFIX"), &llvm);
    cargo.env("CARGO_TARGET_DIR", tree.cargo_target().join("tools-build"));
    let tools = tree.finished("tools/bin");
    cargo.env("PATH", command::path_with(&[&llvm.join("bin"), &tools])?);
    cargo.current_dir(env::temp_dir()); // away from the workspace's own configuration
    command::run_or("building bpf-linker", &mut cargo, Some("cargo needs the network for this step"))
}
