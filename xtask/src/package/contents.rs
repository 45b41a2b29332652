//! What is in the packages: one table, and the folder that is made of it, as it will be on the host.

use std::{
    fmt,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Run, changelog, gzip};
use crate::error::Error;

/// A package: what it says of itself, and what it has.
#[derive(Debug)]
pub struct Package {
    pub name: &'static str,
    pub summary: &'static str,
    /// Lines of at most 80 characters.
    pub description: &'static str,
    pub files: &'static [Entry],
}

/// A file of a package.
#[derive(Debug)]
pub struct Entry {
    from: Source,
    /// Where it goes, below the root; a folder if it ends with a slash.
    to: &'static str,
    mode: u32,
    /// The formats that have it.
    formats: &'static [Format],
}

/// Where a file comes from.
#[derive(Debug)]
enum Source {
    /// A finished program.
    Program(&'static str),
    /// A file of the repository.
    File(&'static str),
    /// All files with this ending of a folder of the repository.
    All(&'static str, &'static str),
}

/// How a package is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Deb,
    Rpm,
    Tar,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Tar => "tar",
        })
    }
}

/// What can be installed.
pub const PACKAGES: &[Package] = &[
    Package {
        name: "sigtrail",
        summary: "host audit agent with a sealed log",
        description: "\
sigtrail records who did what on this host (programs, files, permissions,
connections) with eBPF, on the kernel's own data. Every few seconds the
records are hashed into a Merkle tree and signed with a key that is erased
afterwards, so that who becomes root later cannot rewrite the past unseen.
What was lost is counted and signed, too. Anyone with the public key can
verify the log, offline, with sigtrail-verify.",
        files: &[
            program("sigtrail"),
            program("sigtrail-verify"),
            entry(Source::File("packaging/service"), "usr/libexec/sigtrail/service", 0o755),
            file("packaging/systemd/sigtrail.service", "usr/lib/systemd/system/sigtrail.service"),
            file("packaging/sysusers/sigtrail.conf", "usr/lib/sysusers.d/sigtrail.conf"),
            file("packaging/tmpfiles/sigtrail.conf", "usr/lib/tmpfiles.d/sigtrail.conf"),
            // the group is the agent's: packaging/service
            entry(Source::File("packaging/sigtrail.yaml"), "etc/sigtrail/sigtrail.yaml", 0o640),
            entry(Source::All("policies", "yaml"), "usr/share/sigtrail/policies/", 0o644),
            file("docs/event.schema.json", "usr/share/sigtrail/event.schema.json"),
            entry(Source::All("docs", "md"), "usr/share/doc/sigtrail/", 0o644),
            file("README.md", "usr/share/doc/sigtrail/README.md"),
            file("packaging/copyright", "usr/share/doc/sigtrail/copyright").only(DEBIAN),
            file("packaging/deb/sigtrail/lintian-overrides", "usr/share/lintian/overrides/sigtrail").only(DEBIAN),
            file("LICENSE-MIT", "usr/share/licenses/sigtrail/LICENSE-MIT").only(OTHERS),
            file("LICENSE-APACHE", "usr/share/licenses/sigtrail/LICENSE-APACHE").only(OTHERS),
        ],
    },
    Package {
        name: "sigtrail-receive",
        summary: "receiver and witness for the sealed logs of sigtrail",
        description: "\
sigtrail-receive takes the logs that sigtrail agents deliver over HTTPS,
verifies each batch before it answers, keeps it, and answers with a
cosignature: its signed word, with its own time, that it has the log up to
there. It tells of forks, clones, holes and hosts that fell silent. It is
also a C2SP witness for any transparency log.",
        files: &[
            program("sigtrail-receive"),
            file("packaging/systemd/sigtrail-receive.service", "usr/lib/systemd/system/sigtrail-receive.service"),
            file("packaging/sysusers/sigtrail-receive.conf", "usr/lib/sysusers.d/sigtrail-receive.conf"),
            file("packaging/tmpfiles/sigtrail-receive.conf", "usr/lib/tmpfiles.d/sigtrail-receive.conf"),
            file("packaging/sigtrail-receive.default", "etc/default/sigtrail-receive"),
            file("packaging/trust", "etc/sigtrail-receive/trust"),
            file("docs/receiver.md", "usr/share/doc/sigtrail-receive/receiver.md"),
            file("packaging/copyright", "usr/share/doc/sigtrail-receive/copyright").only(DEBIAN),
            file("packaging/deb/sigtrail-receive/lintian-overrides", "usr/share/lintian/overrides/sigtrail-receive")
                .only(DEBIAN),
            file("LICENSE-MIT", "usr/share/licenses/sigtrail-receive/LICENSE-MIT").only(OTHERS),
            file("LICENSE-APACHE", "usr/share/licenses/sigtrail-receive/LICENSE-APACHE").only(OTHERS),
        ],
    },
];

const DEBIAN: &[Format] = &[Format::Deb];
const OTHERS: &[Format] = &[Format::Rpm, Format::Tar];

/// A finished program, in /usr/bin.
const fn program(name: &'static str) -> Entry {
    entry(Source::Program(name), "usr/bin/", 0o755)
}

/// A file of the repository that everybody may read.
const fn file(path: &'static str, to: &'static str) -> Entry {
    entry(Source::File(path), to, 0o644)
}

const fn entry(from: Source, to: &'static str, mode: u32) -> Entry {
    Entry { from, to, mode, formats: &[Format::Deb, Format::Rpm, Format::Tar] }
}

impl Entry {
    const fn only(self, formats: &'static [Format]) -> Self {
        Self { formats, ..self }
    }
}

/// Puts all files of a package below `root`, as they will be below `/`, and returns their paths there, sorted.
pub fn stage(run: &Run<'_>, package: &Package, format: Format, root: &Path) -> Result<Vec<PathBuf>, Error> {
    for entry in package.files.iter().filter(|entry| entry.formats.contains(&format)) {
        match entry.from {
            Source::Program(name) => copy(&run.programs.join(name), &root.join(entry.to).join(name), entry.mode)?,
            Source::File(path) => copy(&run.tree.root.join(path), &root.join(entry.to), entry.mode)?,
            Source::All(folder, extension) => {
                let folder = run.tree.root.join(folder);
                for path in children(&folder)? {
                    if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|it| it == extension))
                    {
                        copy(&path, &root.join(entry.to).join(name), entry.mode)?;
                    }
                }
            }
        }
    }
    pages(run, package, format, root)?;
    if format == Format::Deb {
        let page = root.join("usr/share/doc").join(package.name).join("changelog.Debian");
        write(&page, &changelog::debian(run, package.name)?)?;
        gzip(&page)?;
    }
    let mut files = Vec::new();
    walk(root, &mut files)?;
    for path in &files {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        file.set_modified(run.time()).map_err(Error::io("setting the time of", path))?;
    }
    for path in &mut files {
        if let Ok(below) = path.strip_prefix(root) {
            *path = below.to_path_buf();
        }
    }
    Ok(files)
}

/// A path as a text of TOML.
pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// Man pages and completions, as the programs have written them, where each shell and man(1) look for them.
fn pages(run: &Run<'_>, package: &Package, format: Format, root: &Path) -> Result<(), Error> {
    // Debian's zsh has a place of its own for what comes with packages
    let zsh = if format == Format::Deb { "vendor-completions" } else { "site-functions" };
    for path in children(&run.pages(package))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let to = match name.rsplit_once('.') {
            Some((command, "bash")) => format!("usr/share/bash-completion/completions/{command}"),
            Some((_, "fish")) => format!("usr/share/fish/vendor_completions.d/{name}"),
            Some((_, section)) => format!("usr/share/man/man{section}/{name}"),
            None => format!("usr/share/zsh/{zsh}/{name}"),
        };
        copy(&path, &root.join(&to), 0o644)?;
        if to.starts_with("usr/share/man/") {
            gzip(&root.join(&to))?;
        }
    }
    Ok(())
}

/// Writes a text, and the folders above it.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    make_parent(path)?;
    fs::write(path, text).map_err(Error::io("writing", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(Error::io("setting the mode of", path))
}

/// Copies a file, with the folders above it and a mode.
pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Error> {
    make_parent(to)?;
    fs::copy(from, to).map_err(Error::io("copying", from))?;
    fs::set_permissions(to, Permissions::from_mode(mode)).map_err(Error::io("setting the mode of", to))
}

fn make_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(Error::io("creating", parent))
}

/// What is in a folder, sorted.
fn children(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Io { doing: "reading", path: folder.to_path_buf(), source };
    let mut found = Vec::new();
    for child in fs::read_dir(folder).map_err(failed)? {
        found.push(child.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// All files below a folder, sorted.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for path in children(folder)? {
        if path.is_dir() { walk(&path, found)? } else { found.push(path) }
    }
    Ok(())
}
