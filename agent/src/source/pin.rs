//! Names in the BPF file system: what has one outlives the agent.
//!
//! ```text
//! /sys/fs/bpf/sigtrail/<instance>/<generation>/map_<name>  program_<name>  link_<name>
//! instance      one agent: a hash of its state directory
//! generation    all that is fixed when the kernel half is loaded: object, offsets, sizes, programs
//! ```
//!
//! A generation is made under the name `draft` and renamed when it is whole.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, FsType, TRACEFS_MAGIC, statfs},
};
use sha2::{Digest as _, Sha256};

/// Where the BPF file system is.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Where the tracepoints are, which programs behind perf events are attached by.
pub const TRACEFS: &str = "/sys/kernel/tracing";

/// A file system of the kernel's that may not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The BPF file system.
    Bpf,
    /// The tracepoints.
    Trace,
}

impl Special {
    fn parts(self) -> (&'static str, &'static str, FsType, &'static str) {
        match self {
            Self::Bpf => ("bpf", BPFFS, BPF_FS_MAGIC, "mode=700"),
            Self::Trace => ("tracefs", TRACEFS, TRACEFS_MAGIC, "mode=700"),
        }
    }

    /// Whether it is where it belongs.
    pub fn is_mounted(self) -> bool {
        let (_, at, magic, _) = self.parts();
        statfs(at).is_ok_and(|about| about.filesystem_type() == magic)
    }

    /// Mounts it if it is not there, as systemd does at boot.
    pub fn ensure(self) -> Result<(), String> {
        if self.is_mounted() {
            return Ok(());
        }
        let (kind, at, _, options) = self.parts();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(kind), at, Some(kind), flags, Some(options)).map_err(|error| format!("mounting {kind}: {error}"))?;
        tracing::info!(at, "{kind} was not mounted; mounted it");
        Ok(())
    }
}

/// The names of one agent.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
}

/// The name of a generation that is not whole.
const DRAFT: &str = "draft";

impl Pins {
    /// The names of the agent with this state directory.
    pub fn of(state_dir: &Path) -> Self {
        let real = fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.into());
        let hash = Sha256::digest(real.as_os_str().as_encoded_bytes());
        Self { dir: Path::new(BPFFS).join("sigtrail").join(seal::text::hex(&hash[..8])) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory. It must be ours alone: who can write to it says what our programs are.
    pub fn make(&self) -> Result<(), String> {
        Special::Bpf.ensure()?;
        let failed = |error: io::Error| format!("{}: {error}", self.dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        for dir in self.dir.ancestors().take(2) {
            let about = fs::symlink_metadata(dir).map_err(failed)?;
            if !about.is_dir() || about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o022 != 0 {
                return Err(format!("{} may be written by others", dir.display()));
            }
        }
        Ok(())
    }

    /// The generations that are whole. What is not is removed.
    pub fn generations(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            match entry?.file_name().into_string() {
                Ok(name) if name == DRAFT => self.remove(DRAFT)?,
                Ok(name) => found.push(name),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// The directory of a generation.
    pub fn generation(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Begins a generation: where its names are to be made.
    pub fn draft(&self) -> io::Result<PathBuf> {
        self.remove(DRAFT)?;
        let dir = self.dir.join(DRAFT);
        DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(dir)
    }

    /// The draft is whole.
    pub fn keep(&self, name: &str) -> io::Result<()> {
        self.remove(name)?;
        fs::rename(self.dir.join(DRAFT), self.dir.join(name))
    }

    /// Nothing comes of the draft: what has names in it must not go on without us.
    pub fn discard(&self) {
        if let Err(error) = self.remove(DRAFT) {
            tracing::warn!(%error, dir = %self.dir.join(DRAFT).display(), "programs that were not needed stay attached");
        }
    }

    /// Gives a generation another name.
    pub fn rename(&self, name: &str, other: &str) -> io::Result<()> {
        fs::rename(self.dir.join(name), self.dir.join(other))
    }

    /// Removes a generation: its programs end when nobody holds them. That it is gone already is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let dir = self.dir.join(name);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            fs::remove_file(entry?.path())?;
        }
        fs::remove_dir(dir)
    }

    /// Removes the directory if nothing is in it.
    pub fn leave(&self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            tracing::debug!(%error, "other programs of this agent have names");
        }
    }

    /// Removes all generations and the directory. Returns how many there were.
    pub fn clear(&self) -> io::Result<usize> {
        let generations = match self.generations() {
            Ok(generations) => generations,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        for name in &generations {
            self.remove(name)?;
        }
        fs::remove_dir(&self.dir)?;
        Ok(generations.len())
    }
}

/// The kinds of things that have names.
#[derive(Clone, Copy, Debug)]
pub enum Thing {
    /// A map.
    Map,
    /// A program.
    Program,
    /// What holds a program at its hook.
    Link,
}

/// The name of a thing in the directory of its generation. The file system allows no dots.
pub fn path(dir: &Path, thing: Thing, name: &str) -> PathBuf {
    let kind = match thing {
        Thing::Map => "map",
        Thing::Program => "program",
        Thing::Link => "link",
    };
    dir.join(format!("{kind}_{}", name.trim_start_matches('.')))
}
