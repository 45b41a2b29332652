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
    /// The one format that has it; all if it is not said.
    only: Option<Format>,
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
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deb => "deb",
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
            entry(Source::Program("sigtrail"), "usr/bin/sigtrail", 0o755),
            entry(Source::Program("sigtrail-verify"), "usr/bin/sigtrail-verify", 0o755),
            entry(Source::File("packaging/service"), "usr/libexec/sigtrail/service", 0o755),
            entry(Source::File("packaging/systemd/sigtrail.service"), "usr/lib/systemd/system/sigtrail.service", 0o644),
            entry(Source::File("packaging/sysusers/sigtrail.conf"), "usr/lib/sysusers.d/sigtrail.conf", 0o644),
            entry(Source::File("packaging/tmpfiles/sigtrail.conf"), "usr/lib/tmpfiles.d/sigtrail.conf", 0o644),
            // the group is the agent's: packaging/service
            entry(Source::File("packaging/sigtrail.yaml"), "etc/sigtrail/sigtrail.yaml", 0o640),
            entry(Source::All("policies", "yaml"), "usr/share/sigtrail/policies/", 0o644),
            entry(Source::File("docs/event.schema.json"), "usr/share/sigtrail/event.schema.json", 0o644),
            entry(Source::All("docs", "md"), "usr/share/doc/sigtrail/", 0o644),
            entry(Source::File("README.md"), "usr/share/doc/sigtrail/README.md", 0o644),
            entry(Source::File("packaging/copyright"), "usr/share/doc/sigtrail/copyright", 0o644),
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
            entry(Source::Program("sigtrail-receive"), "usr/bin/sigtrail-receive", 0o755),
            entry(
                Source::File("packaging/systemd/sigtrail-receive.service"),
                "usr/lib/systemd/system/sigtrail-receive.service",
                0o644,
            ),
            entry(
                Source::File("packaging/sysusers/sigtrail-receive.conf"),
                "usr/lib/sysusers.d/sigtrail-receive.conf",
                0o644,
            ),
            entry(
                Source::File("packaging/tmpfiles/sigtrail-receive.conf"),
                "usr/lib/tmpfiles.d/sigtrail-receive.conf",
                0o644,
            ),
            entry(Source::File("packaging/sigtrail-receive.default"), "etc/default/sigtrail-receive", 0o644),
            entry(Source::File("packaging/trust"), "etc/sigtrail-receive/trust", 0o644),
            entry(Source::File("docs/receiver.md"), "usr/share/doc/sigtrail-receive/receiver.md", 0o644),
            entry(Source::File("packaging/copyright"), "usr/share/doc/sigtrail-receive/copyright", 0o644),
        ],
    },
];

const fn entry(from: Source, to: &'static str, mode: u32) -> Entry {
    Entry { from, to, mode, only: None }
}

/// Puts all files of a package below `root`, as they will be below `/`, and returns their paths there, sorted.
pub fn stage(run: &Run<'_>, package: &Package, format: Format, root: &Path) -> Result<Vec<PathBuf>, Error> {
    for entry in package.files.iter().filter(|entry| entry.only.is_none_or(|only| only == format)) {
        match entry.from {
            Source::Program(name) => copy(&run.programs.join(name), &root.join(entry.to), entry.mode)?,
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
    let doc = root.join("usr/share/doc").join(package.name);
    if format == Format::Deb {
        let page = doc.join("changelog.Debian");
        write(&page, &changelog::debian(run, package.name)?)?;
        gzip(&page)?;
    }
    let mut files = Vec::new();
    walk(root, &mut files)?;
    for path in &files {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        file.set_modified(run.time()).map_err(Error::io("setting the time of", path))?;
    }
    files.iter_mut().for_each(|path| {
        if let Ok(below) = path.strip_prefix(root) {
            *path = below.to_path_buf();
        }
    });
    Ok(files)
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
