//! The control socket: who connects gets the state of the agent as one JSON object, and the connection is closed.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, net::UnixListener};

use crate::{deliver, disk, pipeline};

/// Name of the socket in `runtime_dir`.
pub const SOCKET: &str = "control.sock";

/// The state of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The hot half.
    #[serde(flatten)]
    pub pipeline: pipeline::Status,
    /// The sinks.
    pub sinks: Vec<SinkStatus>,
}

/// The state of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// The last batch it has.
    pub delivered: Option<u64>,
    /// Batches it does not have yet.
    pub lag: u64,
    /// Batches acknowledged since the start.
    #[serde(default)]
    pub batches: u64,
    /// Their bytes before compression.
    #[serde(default)]
    pub bytes: u64,
    /// Seconds since 1970 at which the oldest batch was sealed that it does not have yet.
    #[serde(default)]
    pub oldest: Option<u64>,
    /// Sends that had to be done again.
    pub retries: u64,
    /// Batches it will never get.
    pub missed: u64,
    /// What is wrong at the moment.
    pub trouble: Option<String>,
    /// Seconds since 1970 of the last success.
    pub last_success: Option<u64>,
}

/// The sinks by name, in the order of the configuration, each with the state that its delivery keeps.
pub type Sinks = Arc<Mutex<Vec<(String, Arc<deliver::Status>)>>>;

/// Where the state is to be seen.
#[derive(Clone, Debug)]
pub struct View {
    /// The hot half.
    pub status: Arc<Mutex<pipeline::Status>>,
    /// The sinks.
    pub sinks: Sinks,
}

/// Answers until it is dropped.
pub async fn serve(path: PathBuf, view: View) -> io::Result<()> {
    let listener = listen(&path)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let answer = serde_json::to_vec(&view.now()).map_err(io::Error::other)?;
        if let Err(error) = stream.write_all(&answer).await {
            tracing::debug!(%error, "a client of the control socket went away");
        }
    }
}

/// Listens at a socket that only the user of the agent may connect to.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        disk::make_dir(dir, 0o755)?;
    }
    // one that is left from a killed agent; a living one holds the lock of the state directory
    disk::remove_if_there(path)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl View {
    /// The state at this moment.
    pub fn now(&self) -> AgentStatus {
        let pipeline = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let batches = pipeline.last_batch.map_or(0, |last| last + 1);
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = sinks.iter().map(|(name, status)| {
            let report = status.report();
            let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            SinkStatus {
                name: name.clone(),
                delivered: report.cursor,
                lag: batches.saturating_sub(report.cursor.map_or(0, |last| last + 1)),
                batches: report.batches,
                bytes: report.bytes,
                oldest: report.oldest,
                retries: report.retries,
                missed: report.missed,
                trouble: report.trouble,
                last_success: report.last_success.map(since),
            }
        });
        AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            pipeline,
            sinks: sinks.collect(),
        }
    }
}
