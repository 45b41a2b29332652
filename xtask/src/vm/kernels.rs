//! Debian's kernels: found with a private apt, unpacked, kept under `target/vm/`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command, error::Error};

/// A kernel that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The newest of a series, like `6.1`.
    Series(&'static str),
    /// The newest that Debian has.
    Newest,
}

impl Kernel {
    /// All of them, oldest first.
    pub const ALL: &'static [Self] = &[Self::Series("5.10"), Self::Series("6.1"), Self::Series("6.12"), Self::Newest];
    /// Where the command line names none.
    pub const DEFAULT: Self = Self::Series("6.1");

    /// What a word of the command line stands for.
    pub fn named(name: &str) -> Option<Vec<Self>> {
        if name == "all" {
            return Some(Self::ALL.to_vec());
        }
        Self::ALL.iter().find(|kernel| kernel.to_string() == name).map(|kernel| vec![*kernel])
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series(series) => f.write_str(series),
            Self::Newest => f.write_str("newest"),
        }
    }
}

/// The suites that have them.
const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "sid"];

/// What a machine boots.
#[derive(Debug)]
pub struct Image {
    /// The file that QEMU boots.
    pub kernel: PathBuf,
    /// The overlay file system, which Debian's kernels have as a module; `None` beside a kernel that was put there by hand.
    pub overlay: Option<PathBuf>,
}

/// The files of a kernel; fetched when they are not there.
pub fn image(folder: &Path, kernel: Kernel) -> Result<Image, Error> {
    let image = folder.join(format!("{kernel}.vmlinuz"));
    let overlay = folder.join(format!("{kernel}.overlay.ko"));
    if image.is_file() {
        return Ok(Image { kernel: image, overlay: overlay.is_file().then_some(overlay) });
    }
    let apt = Apt::open(folder, &image)?;
    let stanzas = apt.ask("cache", &["show", "linux-image-amd64"])?;
    let release = newest(&stanzas, kernel).ok_or_else(|| unknown(kernel, &image))?;
    // Since 7.x the package linux-image-… is empty, and the signed image may come later than the unsigned.
    let names = apt.ask("cache", &["pkgnames", "linux-"])?;
    let split = format!("linux-binary-unsigned-{release}");
    let packages = if names.lines().any(|name| name == split) {
        vec![split, format!("linux-modules-{release}")]
    } else {
        vec![format!("linux-image-{release}")]
    };

    let unpacked = folder.join("unpacked");
    remove(&unpacked)?;
    fs::create_dir_all(&unpacked).map_err(Error::io("creating", &unpacked))?;
    eprintln!("fetching {}", packages.join(" and "));
    let mut download = apt.command("get");
    download.args(["--quiet=2", "download"]).args(&packages).current_dir(&unpacked);
    command::run("downloading a kernel", &mut download)?;
    while let Some(archive) = find(&unpacked, &|name| name.contains("_amd64.deb")) {
        command::run("unpacking a kernel", Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
        fs::remove_file(&archive).map_err(Error::io("removing", &archive))?;
    }
    let module = find(&unpacked, &|name| name.starts_with("overlay.ko")).ok_or_else(|| unknown(kernel, &image))?;
    let module = if module.extension().is_some_and(|it| it == "xz") {
        command::run("unpacking a module", Command::new("xz").arg("--decompress").arg(&module))?;
        module.with_extension("")
    } else {
        module
    };
    fs::copy(&module, &overlay).map_err(Error::io("writing", &overlay))?;
    let found = find(&unpacked, &|name| name.starts_with("vmlinuz")).ok_or_else(|| unknown(kernel, &image))?;
    fs::copy(&found, &image).map_err(Error::io("writing", &image))?;
    remove(&unpacked)?;
    Ok(Image { kernel: image, overlay: Some(overlay) })
}

fn unknown(kernel: Kernel, image: &Path) -> Error {
    Error::Missing {
        what: format!("the mirror has no image of Linux {kernel}"),
        remedy: format!("  cp SOME-VMLINUZ {}\n  (or rm -r the folder apt/ beside it, to ask again)", image.display()),
    }
}

/// An apt with lists of its own: the host's suites stay what they are, and it needs no root.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Reads the lists of all [`SUITES`] from the host's own mirror, once.
    fn open(folder: &Path, image: &Path) -> Result<Self, Error> {
        let apt = Self { folder: folder.join("apt") };
        if apt.folder.join("status").is_file() {
            return Ok(apt);
        }
        let mirror = mirror().ok_or_else(|| Error::Missing {
            what: "apt's sources on this host name no Debian mirror to fetch kernels from".into(),
            remedy: format!("  cp SOME-VMLINUZ {}", image.display()),
        })?;
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = apt.folder.join(part);
            fs::create_dir_all(&part).map_err(Error::io("creating", &part))?;
        }
        let sources = apt.folder.join("sources.list");
        fs::write(&sources, mirror.sources()).map_err(Error::io("writing", &sources))?;
        let mut update = apt.command("get");
        command::run("reading the lists of kernels", update.args(["--quiet=2", "update"]))?;
        // nothing is installed; written last, so that lists that are not whole are read again
        let status = apt.folder.join("status");
        fs::write(&status, "").map_err(Error::io("writing", &status))?;
        Ok(apt)
    }

    /// `apt-get` or `apt-cache`, on the private folder.
    fn command(&self, tool: &str) -> Command {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut apt = Command::new(format!("apt-{tool}"));
        for (name, value) in [
            ("Dir::State", at(".")),
            ("Dir::State::status", at("status")),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Acquire::Languages", "none".into()),
            ("APT::Architecture", "amd64".into()),
            ("APT::Sandbox::User", String::new()), // root's downloads: the user _apt may not write here
        ] {
            apt.arg("-o").arg(format!("{name}={value}"));
        }
        apt.env("LC_ALL", "C");
        apt
    }

    fn ask(&self, tool: &str, words: &[&str]) -> Result<String, Error> {
        command::output("looking for a kernel", self.command(tool).args(words))
    }
}

/// The release behind a version of the package linux-image-amd64, of which `stanzas` shows all versions.
fn newest(stanzas: &str, kernel: Kernel) -> Option<String> {
    let number = |version: &str| -> Option<(u32, u32)> {
        let mut numbers = version.split(['.', '-', '~']).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let candidates = stanzas.split("\n\n").filter_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let version = number(field("Version: ")?)?;
        let release = field("Depends: ")?.split([',', ' ']).find_map(|word| word.strip_prefix("linux-image-"))?;
        Some((version, release.to_owned()))
    });
    match kernel {
        Kernel::Newest => candidates.max_by_key(|(version, _)| *version),
        // apt shows the newest version first
        Kernel::Series(series) => {
            let series = number(series)?;
            candidates.into_iter().find(|(version, _)| *version == series)
        }
    }
    .map(|(_, release)| release)
}

/// Where this host has its Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    uri: String,
    /// The file with the keys, if the source names one.
    keys: Option<String>,
}

impl Mirror {
    fn sources(&self) -> String {
        let keys = self.keys.as_ref().map_or(String::new(), |keys| format!(" signed-by={keys}"));
        // the release files of old suites, and those of snapshots, are out of date
        let line = |suite: &&str| format!("deb [check-valid-until=no{keys}] {} {suite} main\n", self.uri);
        SUITES.iter().map(line).collect()
    }
}

fn mirror() -> Option<Mirror> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = parts.collect();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        if file.extension().is_some_and(|it| it == "sources") { from_stanzas(&text) } else { from_lines(&text) }
    })
}

/// Whether a source is the main archive of a Debian, by its suites.
fn is_debian<'a>(mut suites: impl Iterator<Item = &'a str>) -> bool {
    suites.any(|suite| [SUITES, &["forky", "stable", "testing", "unstable"]].concat().contains(&suite))
}

/// sources.list(5), the format of one line.
fn from_lines(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?.to_owned();
        let keys = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
        is_debian(words.take(1)).then_some(Mirror { uri, keys })
    })
}

/// sources.list(5), the format of deb822.
fn from_stanzas(text: &str) -> Option<Mirror> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let field = |name: &str| {
            stanza.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let keys = field("Signed-By").filter(|keys| keys.starts_with('/')).map(str::to_owned);
        is_debian(field("Suites")?.split_whitespace()).then_some(Mirror { uri, keys })
    })
}

/// The first file below a folder whose name is accepted.
fn find(folder: &Path, accepted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        // links lead out of the package
        let kind = entry.file_type().ok()?;
        if kind.is_file() && accepted(&entry.file_name().to_string_lossy()) {
            return Some(path);
        }
        if kind.is_dir()
            && let Some(found) = find(&path, accepted)
        {
            return Some(found);
        }
    }
    None
}

fn remove(folder: &Path) -> Result<(), Error> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(Error::io("removing", folder)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_of_a_series_is_found() {
        const STANZAS: &str = "Package: linux-image-amd64\nVersion: 7.2.13-1\n\
            Depends: linux-base-amd64 (= 7.2.13-1), linux-image-7.2.13+deb14-amd64 (= 7.2.13-1)\n\n\
            Package: linux-image-amd64\nVersion: 6.12.107-1\nDepends: linux-image-6.12.107+deb13-amd64 (= 6.12.107-1)\n\n\
            Package: linux-image-amd64\nVersion: 6.1.176-1\nDepends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)\n\n\
            Package: linux-image-amd64\nVersion: 6.1.164-1\nDepends: linux-image-6.1.0-47-amd64 (= 6.1.164-1)\n";
        let check = |kernel: Kernel, expected: Option<&str>| {
            assert_eq!(newest(STANZAS, kernel).as_deref(), expected, "{kernel}");
        };
        check(Kernel::Newest, Some("7.2.13+deb14-amd64"));
        check(Kernel::Series("6.12"), Some("6.12.107+deb13-amd64"));
        check(Kernel::Series("6.1"), Some("6.1.0-50-amd64"));
        check(Kernel::Series("5.10"), None);
    }

    #[test]
    fn the_mirror_of_the_host_is_read() {
        let check = |read: fn(&str) -> Option<Mirror>, text: &str, expected: Option<(&str, Option<&str>)>| {
            let found = read(text);
            let found = found.as_ref().map(|it| (it.uri.as_str(), it.keys.as_deref()));
            assert_eq!(found, expected, "{text}");
        };
        check(from_lines, "", None);
        check(from_lines, "# deb http://a/debian sid main", None);
        check(from_lines, "deb http://a/ubuntu noble main", None);
        check(
            from_lines,
            "deb-src http://a/debian sid main\ndeb http://b/debian bookworm main",
            Some(("http://b/debian", None)),
        );
        check(from_lines, "deb http://a/x bookworm-security main", None);
        check(
            from_lines,
            "deb [arch=amd64 signed-by=/k.gpg] http://a/debian trixie main contrib",
            Some(("http://a/debian", Some("/k.gpg"))),
        );
        check(from_stanzas, "Types: deb\nURIs: http://a/x\nSuites: bookworm-security\n", None);
        check(
            from_stanzas,
            "Types: deb\nURIs: http://s/x\nSuites: nodistro\n\nTypes: deb\n# c\nURIs: http://a/debian http://b\n\
             Suites: bookworm bookworm-updates\nSigned-By: /k.gpg\n",
            Some(("http://a/debian", Some("/k.gpg"))),
        );
    }

    #[test]
    fn all_suites_are_asked() {
        let mirror = Mirror { uri: "http://a/debian".into(), keys: Some("/k.gpg".into()) };
        let sources = mirror.sources();
        assert_eq!(sources.lines().count(), SUITES.len());
        assert!(sources.starts_with("deb [check-valid-until=no signed-by=/k.gpg] http://a/debian bullseye main\n"));
    }
}
