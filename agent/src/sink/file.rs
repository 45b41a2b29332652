//! Files on this host: `audit.ndjson`, rotated at batch borders to `audit-<first>-<last>.ndjson[.zst][.age]`. The seals
//! of what is encrypted, or gone, are in `audit-<first>-<last>.seals[.zst]`.
//!
//! All work on the disk is done on tokio's blocking threads: a slow disk slows this sink only.

mod archive;
mod keep;
mod twin;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Limit, Outcome};
use crate::{disk, sealed::Batch};
pub use keep::recipient;
use writer::Writer;

/// The active file.
const ACTIVE: &str = "audit.ndjson";

/// Niceness of the work on rotated files (nice(2)): it has time.
const IDLE: i32 = 19;

/// A file sink as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// Directory of the files; made with mode 0750 when it is missing.
    pub dir: PathBuf,
    /// The active file is rotated when it has this many bytes.
    pub rotate_bytes: u64,
    /// The active file is rotated when it is this many seconds old.
    pub rotate_seconds: u64,
    /// Compress rotated files with zstd; the original goes only after the copy was read back and compared.
    pub compress: bool,
    /// Permissions of the files.
    pub mode: u32,
    /// Group of the files. Default: the group of the agent.
    pub group: Option<String>,
    /// age recipients (`age1…`) that rotated files are encrypted to; their seals stay readable. Default: not encrypted.
    pub recipients: Vec<String>,
    /// Keep at most this many rotated files; of others, only the seals. Default: all.
    pub keep_files: Option<usize>,
    /// Keep at most this many bytes of rotated files. Default: all.
    pub keep_bytes: Option<u64>,
    /// Keep rotated files at most this long after their last line was written. Default: for ever.
    pub keep_age: Option<Duration>,
    /// Remove rotated files while fewer bytes than these are free on the file system.
    pub min_free: u64,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/log/sigtrail"),
            rotate_bytes: 64 << 20,
            rotate_seconds: 86_400,
            compress: true,
            mode: 0o640,
            group: None,
            recipients: Vec::new(),
            keep_files: None,
            keep_bytes: None,
            keep_age: None,
            min_free: 0,
        }
    }
}

/// What a file sink can fail at. All of it may pass: the batches stay in the spool.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configured group does not exist.
    #[error("no group `{0}` in /etc/group")]
    Group(String),
    /// No recipient of age.
    #[error("`{0}` is no X25519 recipient of age: it is `age1…`, as age-keygen prints it")]
    Recipient(String),
    /// A task ended before its work did.
    #[error("writing was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl FileError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_full(source))
    }
}

/// Files on this host.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    config: FileConfig,
    /// `None`: to be opened by the next send.
    writer: Option<Writer>,
    tidying: Option<JoinHandle<()>>,
    /// Something was rotated while the background work ran: it has to look again.
    untidy: bool,
}

impl FileSink {
    /// A file sink; its files are opened by the first send.
    pub fn new(name: String, config: FileConfig) -> Self {
        Self { name, config, writer: None, tidying: None, untidy: false }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much to give it at once.
    pub fn limit(&self) -> Limit {
        Limit { batches: writer::REMEMBERED, bytes: 4 << 20 }
    }

    /// Opens the active file anew at the next send: after logrotate moved it.
    pub fn reopen(&mut self) {
        self.writer = None;
    }

    /// Appends the batches; durable when delivered.
    pub async fn send(&mut self, batches: &[Batch]) -> Outcome {
        match self.append(batches.to_vec()).await {
            Ok(note) => Outcome::Delivered { note, receipt: None },
            Err(error) => Outcome::Retry { after: None, why: error.to_string() },
        }
    }

    async fn append(&mut self, batches: Vec<Batch>) -> Result<Option<String>, FileError> {
        let (config, writer) = (self.config.clone(), self.writer.take());
        let opened = writer.is_none();
        // When this future is dropped the write goes on to its end; the next send opens the file and sees what it did.
        let work = move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => Writer::open(config)?,
            };
            let done = writer.append(&batches)?;
            Ok::<_, FileError>((writer, done))
        };
        let (writer, done) = match spawn_blocking(work).await? {
            Ok(done) => done,
            Err(error) => {
                // there may be something that is not to be kept
                if error.is_full() {
                    self.tidy();
                }
                return Err(error);
            }
        };
        self.writer = Some(writer);
        self.untidy |= done.rotated || done.short || opened;
        if self.untidy {
            self.tidy();
        }
        Ok(done.note)
    }

    /// Compresses and removes rotated files in the background, one run at a time.
    fn tidy(&mut self) {
        if self.tidying.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.untidy = false;
        let config = self.config.clone();
        self.tidying = Some(spawn_blocking(move || {
            // a thread of its own, because niceness stays with a thread
            let work = move || {
                if let Err(error) = rustix::process::nice(IDLE) {
                    tracing::debug!(%error, "tidying up with ordinary priority");
                }
                archive::tidy(&config)
            };
            match std::thread::Builder::new().name("tidy".into()).spawn(work).map(std::thread::JoinHandle::join) {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(%error, "rotated files are not tidied up"),
                Ok(Err(_)) => tracing::error!("tidying up ended by a bug"),
                Err(error) => tracing::warn!(%error, "rotated files are not tidied up"),
            }
        }));
    }

    /// Waits until the background work on rotated files is done.
    pub async fn tidied(&mut self) -> Result<(), FileError> {
        match self.tidying.take() {
            Some(running) => Ok(running.await?),
            None => Ok(()),
        }
    }
}
