//! Where things are in the repository.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The repository this command works on.
#[derive(Debug)]
pub struct Tree {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    cargo_target: PathBuf,
}

impl Tree {
    /// The workspace this program was started from.
    pub fn find() -> Result<Self, Error> {
        let started = env::current_dir().map_err(Error::io("finding", "the current folder"))?;
        // cargo run sets CARGO_MANIFEST_DIR; a binary that outlived its checkout must not use the path it was built in.
        let from = env::var_os("CARGO_MANIFEST_DIR").map_or(started, PathBuf::from);
        let root = from.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root = root.map(Path::to_path_buf).ok_or_else(|| Error::Missing {
            what: format!("no sigtrail workspace at or above {}", from.display()),
            remedy: "  cd into the repository".into(),
        })?;
        let cargo_target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, cargo_target })
    }

    /// The folder of finished files. Always in the workspace, whatever `CARGO_TARGET_DIR` says: a build script
    /// and a test have to find them without a question.
    pub fn finished(&self, name: &str) -> PathBuf {
        self.root.join("target").join(name)
    }

    /// The folder cargo builds in.
    pub fn cargo_target(&self) -> &Path {
        &self.cargo_target
    }

    /// The eBPF object that the agent takes in; agent/build.rs names the same path.
    pub fn object(&self) -> PathBuf {
        self.finished("bpf/sigtrail.bpf.o")
    }

    /// The agent.
    pub fn agent(&self) -> PathBuf {
        self.finished("sigtrail")
    }
}
