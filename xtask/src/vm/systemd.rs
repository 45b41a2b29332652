//! `cargo xtask vm systemd`: what an operator does with the package, in a Debian 12 with a real systemd.
//!
//! mmdebstrap makes the system once, from the suites that this host itself uses; what is booted of it stays in
//! `target/vm/systemd/`. The packages and the steps (`tests/guest/steps.sh`) come over a shared folder, and what each step
//! said goes back into it: `target/vm/systemd/share/STEP.log`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine, qemu};
use crate::{command, error::Error, rights::is_root, tree::Tree};

/// What the system has beside Debian's essential packages.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,udev,iproute2,procps,kmod,linux-image-amd64,bpftool,jq,openssl,nginx-light,curl";

/// The suite of the system.
const SUITE: &str = "bookworm";

/// What is booted.
struct Image {
    folder: PathBuf,
}

/// Runs the steps in a machine of their own; how many failed.
pub fn run(tree: &Tree, folder: &Path, package: Option<&Path>) -> Result<usize, Error> {
    let folder = folder.join("systemd");
    let share = folder.join("share");
    if share.exists() {
        fs::remove_dir_all(&share).map_err(Error::io("removing", &share))?;
    }
    fs::create_dir_all(&share).map_err(Error::io("creating", &share))?;
    let image = Image::ready(tree, folder)?;
    let package = package.map_or_else(|| newest(tree), |package| Ok(package.to_owned()))?;
    packages(&package, &share)?;
    for program in ["sigtrail-receive", "sigtrail-verify"] {
        copy(&tree.finished(program), &share.join(program))?;
    }
    copy(&tree.root.join("tests/guest/steps.sh"), &share.join("steps.sh"))?;

    let mut qemu = image.qemu();
    // a comma ends a value, two are one
    let shared = share.display().to_string().replace(',', ",,");
    qemu.arg("-virtfs").arg(format!("local,path={shared},mount_tag=host,security_model=none"));
    let tally = machine("systemd", &mut qemu, &image.folder.join("console.log"))?;
    println!("systemd: {tally}");
    Ok(tally.failed)
}

impl Image {
    /// The image of the last time, if it was made in the way of today.
    fn ready(tree: &Tree, folder: PathBuf) -> Result<Self, Error> {
        let script = tree.root.join("tests/guest/image.sh");
        let recipe = fs::read_to_string(&script).map_err(Error::io("reading", &script))?;
        let (stamp, system) = (folder.join("made"), folder.join("root.tar"));
        let way = format!("{SUITE} {PACKAGES}\n{recipe}");
        if fs::read_to_string(&stamp).is_ok_and(|last| last == way) {
            return Ok(Self { folder });
        }
        let mut debian = Command::new("mmdebstrap");
        // who is not root has the rights of a root in a user namespace (subuid(5))
        debian.args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\"", "--include", PACKAGES]);
        debian.arg(SUITE).arg(&system).args(sources());
        debian.env("INITRD", "No"); // the package of the kernel makes none: ours is smaller
        eprintln!("making a Debian with systemd (once, some minutes)");
        command::run_or("making a Debian with systemd", &mut debian, Some("mmdebstrap needs the network"))?;
        let mut make = Command::new("sh");
        if !is_root() {
            make = Command::new("mmdebstrap");
            make.args(["--unshare-helper", "sh"]);
        }
        make.arg(&script).arg(&system).arg(&folder).env("PATH", command::path_with(&[Path::new("/usr/sbin")])?);
        command::run("making an image of it", &mut make)?;
        fs::remove_file(&system).map_err(Error::io("removing", &system))?;
        // written last, so that an image that is not whole is made again
        fs::write(&stamp, way).map_err(Error::io("writing", &stamp))?;
        Ok(Self { folder })
    }

    /// A machine that boots it; what it writes to its disk is gone when it ends.
    fn qemu(&self) -> Command {
        let mut qemu = qemu("multi", 1024);
        qemu.arg("-kernel").arg(self.folder.join("vmlinuz")).arg("-initrd").arg(self.folder.join("initrd.gz"));
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off systemd.show_status=false"]);
        let disk = self.folder.join("root.img").display().to_string().replace(',', ",,");
        qemu.arg("-drive").arg(format!("file={disk},format=raw,if=virtio,snapshot=on"));
        qemu.args(["-serial", "stdio"]);
        qemu
    }
}

/// The files with this host's own suites; apt of the new system uses the same mirror.
fn sources() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = parts.filter(|path| names_suite(path)).collect();
    files.sort();
    let list = PathBuf::from("/etc/apt/sources.list");
    if names_suite(&list) {
        files.insert(0, list);
    }
    files
}

fn names_suite(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| {
        let lines = text.lines().filter(|line| line.starts_with("deb ") || line.starts_with("Suites:"));
        lines.flat_map(str::split_whitespace).any(|word| word == SUITE)
    })
}

/// The package that was made last.
fn newest(tree: &Tree) -> Result<PathBuf, Error> {
    let folder = tree.finished("package");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("sigtrail_") && name.ends_with(".deb")
    };
    let newest = files.filter(is_ours).max_by_key(|path| fs::metadata(path).and_then(|it| it.modified()).ok());
    newest.ok_or_else(|| Error::Missing {
        what: format!("there is no package sigtrail_*.deb in {}", folder.display()),
        remedy: "  cargo xtask package".into(),
    })
}

/// The package, and one of the same contents with a higher version.
fn packages(package: &Path, share: &Path) -> Result<(), Error> {
    println!("systemd: {}", package.display());
    copy(package, &share.join("first.deb"))?;
    let unpacked = share.join("unpacked");
    command::run("unpacking the package", Command::new("dpkg-deb").arg("-R").arg(package).arg(&unpacked))?;
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control).map_err(Error::io("reading", &control))?;
    fs::write(&control, higher(&text)).map_err(Error::io("writing", &control))?;
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zgzip", "-z1", "-b"]).arg(&unpacked).arg(share.join("second.deb"));
    command::run("packing it again", pack.env("LC_ALL", "C"))?;
    fs::remove_dir_all(&unpacked).map_err(Error::io("removing", &unpacked))
}

/// The control file of a package with a higher version (deb-control(5)).
fn higher(control: &str) -> String {
    let line = |line: &str| if line.starts_with("Version: ") { format!("{line}+again\n") } else { format!("{line}\n") };
    control.lines().map(line).collect()
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(drop).map_err(Error::io("copying", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_package_has_a_higher_version() {
        let control = "Package: sigtrail\nVersion: 0.1.0-1\nDescription: Version: no\n";
        assert_eq!(higher(control), "Package: sigtrail\nVersion: 0.1.0-1+again\nDescription: Version: no\n");
    }
}
