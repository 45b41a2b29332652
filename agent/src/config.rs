//! The config: the file as written → settings that make sense.
//!
//! Each setting is declared once, below: its name, type, default and doc make the struct, the reader, the reference
//! ([`reference`]) and the example file ([`example`]).

mod capture;
mod check;
mod nats;
mod setting;
mod unit;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::document::{self, Node, Place, Problems, Report};
pub use crate::{
    sink::http::{Encoding, Preset},
    view::View,
};
pub use capture::{Capture, Recorder};
pub use nats::NatsSink;
pub use setting::Entry;
use setting::{Fields, Section as _, Setting, names, settings, word_settings};
pub use unit::{Mode, Size, duration};

word_settings!(Encoding, Preset, View);

names! {
    /// How an acknowledged event is kept from a power failure.
    pub enum Sync {
        /// A batch is on disk before it counts as sealed.
        Seal = "seal",
        /// The system writes when it likes; a power failure may lose the last seconds.
        Never = "never",
    }
}

names! {
    /// What happens when the spool is full.
    pub enum WhenFull {
        /// The oldest events go, their seals stay: what is missing can be proved.
        DropOldestPayload = "drop_oldest_payload",
        /// What is there stays; new events that are only kept are counted as lost, the critical ones last.
        DropNewest = "drop_newest",
        /// Nothing goes; new events are counted as lost.
        Stop = "stop",
    }
}

names! {
    /// Whether the programs in the kernel outlive the agent.
    pub enum Pin {
        /// If it is possible.
        Auto = "auto",
        /// The agent does not start if it is not.
        Yes = "yes",
        /// They end with it.
        No = "no",
    }
}

names! {
    /// How much the agent says about itself.
    pub enum LogLevel {
        /// Failures only.
        Error = "error",
        /// And what may become one.
        Warn = "warn",
        /// And what it starts and stops.
        Info = "info",
        /// And what it decides.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

names! {
    /// How the agent's own messages look.
    pub enum LogFormat {
        /// A line for people.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
}

settings! {
    /// All settings of the agent.
    pub struct Config {
        /// Where the agent keeps its spool, its keys and what its sinks have acknowledged.
        state_dir: PathBuf ["/var/lib/sigtrail".into()],
        /// Where the agent puts its control socket, `control.sock`.
        runtime_dir: PathBuf ["/run/sigtrail".into()],
        /// The name under which this host seals its log; null for the one that was made when the host was enrolled,
        /// `<hostname>/sigtrail`.
        origin: Option<String> [None],
        /// Policy files, whose rules are asked in the order of the list. Empty for the built-in policy.
        policy: Vec<PathBuf> [Vec::new()],
        /// The way of the events out of the kernel.
        kernel: Kernel [Kernel::default()],
        /// When events become a sealed batch: whichever comes first.
        seal: Seal [Seal::default()],
        /// The events on disk, until all sinks have them.
        spool: Spool [Spool::default()],
        /// Where the log is delivered to.
        sinks: Vec<Sink> [Vec::new()],
        /// The last events in memory, also those that the policy drops: docs/capture.md.
        recorder: Recorder [Recorder::default()],
        /// Who may capture what, and at what cost: docs/capture.md.
        capture: Capture [Capture::default()],
        /// What the agent counts: for Prometheus, at `/metrics`.
        metrics: Metrics [Metrics::default()],
        /// What the agent says about itself.
        log: Log [Log::default()],
    }
}

settings! {
    /// The way of the events out of the kernel.
    pub struct Kernel {
        /// Size of the ring buffer of files and network; a power of two. That of everything else has half of it.
        ring_bytes: Size [Size(8 << 20)],
        /// Events that may wait in memory when more come than can be worked on, in bytes. When those of files and network
        /// take half of it, or keep the agent at work for half a second without an end, they are summarised.
        backlog_bytes: Size [Size(32 << 20)],
        /// An event wakes the reader, which then takes what comes in 8 ms together. It looks into the ring buffers at
        /// least this often, in milliseconds; 1 to 1000.
        poll_ms: u32 [100],
        /// Events of files and network that one control group may make in a second before they are summarised; 0 for any
        /// number.
        cgroup_events_per_second: u32 [0],
        /// Whether the kernel half leaves out what the policy drops for certain. Without it all events of this host come
        /// to the user half, at a high cost, and the records are the same.
        push_down: bool [true],
        /// Variables of the environment whose values are told of each program that starts; 16 names at most, of 31 bytes
        /// each. Of other variables nothing leaves the kernel. Values may be secrets: name only what an auditor may read.
        environment: Vec<String> [["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"].map(str::to_owned).into()],
        /// Whether the programs in the kernel go on when the agent is killed or restarted, so that its next run misses
        /// nothing: `auto`, `yes` or `no`.
        pin: Pin [Pin::Auto],
    }
}

settings! {
    /// When events become a sealed batch.
    pub struct Seal {
        /// Age of the oldest event.
        max_age: Duration [Duration::from_secs(4)],
        /// Number of events.
        max_events: u32 [8192],
        /// Bytes of the events.
        max_bytes: Size [Size(2 << 20)],
        /// A batch is sealed at least this often, empty if need be, so that silence is seen.
        heartbeat: Duration [Duration::from_mins(1)],
    }
}

settings! {
    /// The events on disk.
    pub struct Spool {
        /// A segment is closed at this size.
        segment_bytes: Size [Size(64 << 20)],
        /// A segment is closed at this age.
        segment_age: Duration [Duration::from_hours(1)],
        /// Bytes that the spool may take.
        max_bytes: Size [Size(4 << 30)],
        /// Bytes that stay free on the file system.
        min_free: Size [Size(1 << 30)],
        /// When an event is safe: `seal` or `never`.
        sync: Sync [Sync::Seal],
        /// What happens when the spool is full: `drop_oldest_payload`, `drop_newest` or `stop` (sinks.md).
        when_full: WhenFull [WhenFull::DropOldestPayload],
    }
}

settings! {
    /// What the agent counts. It is always at `metrics.sock` in `runtime_dir`, for the user of the agent.
    pub struct Metrics {
        /// An address of this host where anybody on it may read them too, for example `127.0.0.1:9473`; null for none.
        listen: Option<String> [None],
    }
}

settings! {
    /// What the agent says about itself, on standard error.
    pub struct Log {
        /// How much: `error`, `warn`, `info`, `debug` or `trace`.
        level: LogLevel [LogLevel::Info],
        /// `text` or `json`.
        format: LogFormat [LogFormat::Text],
        /// Whether the kernel half speaks, too.
        kernel: bool [false],
    }
}

settings! {
    /// Writes the log to files of this host.
    pub struct FileSink {
        /// Its name in messages and metrics; unique. Renaming a sink starts it from the beginning.
        name: String [required],
        /// The directory of the files.
        dir: PathBuf [required],
        /// A file is closed at this size.
        rotate_bytes: Size [Size(64 << 20)],
        /// A file is closed at this age.
        rotate_age: Duration [Duration::from_hours(24)],
        /// Closed files are compressed.
        compress: bool [true],
        /// Permissions of the files, in octal.
        mode: Mode [Mode(0o640)],
        /// Group of the files; null for that of the agent.
        group: Option<String> [None],
        /// Who can read closed files: age recipients (`age1…`); empty for everybody who may open them. Seals stay readable.
        recipients: Vec<String> [Vec::new()],
        /// Number of closed files that are kept; null for all. Of the others, the seals are kept.
        keep_files: Option<u32> [None],
        /// Bytes of closed files that are kept; null for all. Of the others, the seals are kept.
        keep_bytes: Option<Size> [None],
        /// How long closed files are kept after their last event; null for ever. Of the others, the seals are kept.
        keep_age: Option<Duration> [None],
        /// Bytes that stay free on the file system: when there are fewer, the oldest closed files go, but for their seals.
        min_free: Size [Size(0)],
        /// A batch that waits longer than this for the sink is told in the log (`agent.sink`); 0s for any time.
        max_lag: Duration [Duration::from_hours(1)],
        /// Whether the spool waits for this sink before it gives up events.
        required: bool [true],
    }
}

settings! {
    /// Sends the log over HTTP.
    pub struct HttpSink {
        /// Its name in messages and metrics; unique. Renaming a sink starts it from the beginning.
        name: String [required],
        /// Where batches are sent to, with POST; `https`, or `http` to this host.
        url: String [required],
        /// What kind of receiver there is (docs/sinks.md): `http` gets the sealed batches, the others their events.
        preset: Preset [Preset::Http],
        /// The words of the events for a preset that sends events.
        view: View [View::Sigtrail],
        /// The table of `clickhouse`, with its database where that is not the default: `audit.sigtrail`.
        table: String ["sigtrail".into()],
        /// Whether a batch counts as delivered when the indexer of `splunk_hec` has it. Without, its collector is believed.
        acks: bool [true],
        /// After this time without a word of the indexer a batch is sent again.
        ack_timeout: Duration [Duration::from_mins(5)],
        /// Allows `http` to other hosts: everybody on the way can read and change the log.
        allow_plain: bool [false],
        /// How bodies are packed: `zstd`, `gzip` or `identity`. Presets that know no zstd get gzip in its place.
        encoding: Encoding [Encoding::Zstd],
        /// A file with a bearer token (RFC 6750), or the token of the preset; read again for every request.
        token_file: Option<PathBuf> [None],
        /// A file with `name:password` for basic authentication (RFC 7617); read again for every request.
        basic_file: Option<PathBuf> [None],
        /// The proxy to use, `http` or `https`; null for the one in `HTTPS_PROXY` or `HTTP_PROXY`, less what `NO_PROXY`
        /// names. Receivers with `https` are reached through a tunnel: the proxy does not see the log.
        proxy: Option<String> [None],
        /// A file with `name:password` for `proxy`. To a proxy with `http` it travels in the clear.
        proxy_basic_file: Option<PathBuf> [None],
        /// A file with the certificates that are trusted, in PEM; null for those of the system.
        ca_file: Option<PathBuf> [None],
        /// A file with our certificate, in PEM; with `key_file`.
        cert_file: Option<PathBuf> [None],
        /// A file with the key of our certificate, in PEM; with `cert_file`.
        key_file: Option<PathBuf> [None],
        /// Further header fields. They are no place for secrets: this file is readable for more than the agent.
        headers: BTreeMap<String, String> [BTreeMap::new()],
        /// A connection and its TLS handshake may take this long.
        connect_timeout: Duration [Duration::from_secs(10)],
        /// A request may take this long.
        timeout: Duration [Duration::from_secs(30)],
        /// A connection is kept this long without a request.
        idle_timeout: Duration [Duration::from_secs(90)],
        /// The receiver's host may leave bytes unacknowledged this long (TCP_USER_TIMEOUT), then the connection is given
        /// up; half of it after the last word it is asked whether it is there (keepalive).
        peer_timeout: Duration [Duration::from_secs(30)],
        /// A body may have this many bytes before it is packed.
        max_body_bytes: Size [Size(4 << 20)],
        /// A batch that waits longer than this for the sink is told in the log (`agent.sink`); 0s for any time.
        max_lag: Duration [Duration::from_hours(1)],
        /// Whether the spool waits for this sink before it gives up events.
        required: bool [true],
    }
}

settings! {
    /// Keeps the log as objects of a bucket (S3); with Object Lock, nobody can delete them.
    pub struct S3Sink {
        /// Its name in messages and metrics; unique. Renaming a sink starts it from the beginning.
        name: String [required],
        /// The bucket. How long nothing in it can be deleted is its own setting (default retention).
        bucket: String [required],
        /// The names of objects begin with this, and then `/v1/`; null for nothing before `v1/`.
        prefix: Option<String> [None],
        /// The region of the bucket.
        region: String ["us-east-1".to_owned()],
        /// The server, `https`, or `http` to this host; null for that of AWS in the region.
        endpoint: Option<String> [None],
        /// Whether the bucket is in the path of the url and not in its host, as most servers other than AWS want it.
        path_style: bool [false],
        /// A file with credentials as AWS tools have it; read again for every request. Null for what the environment of
        /// the agent says: `AWS_ACCESS_KEY_ID` and the like, or the instance metadata of the cloud.
        credentials_file: Option<PathBuf> [None],
        /// The section of that file.
        profile: String ["default".to_owned()],
        /// A file with the certificates that are trusted, in PEM; null for those of the system.
        ca_file: Option<PathBuf> [None],
        /// A request may take this long.
        timeout: Duration [Duration::from_mins(1)],
        /// An object may have this many bytes before it is packed; a single batch may have more.
        max_object_bytes: Size [Size(4 << 20)],
        /// A batch that waits longer than this for the sink is told in the log (`agent.sink`); 0s for any time.
        max_lag: Duration [Duration::from_hours(1)],
        /// Whether the spool waits for this sink before it gives up events.
        required: bool [true],
    }
}

/// Where the log is delivered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// `type: file`
    File(FileSink),
    /// `type: http`
    Http(HttpSink),
    /// `type: nats`
    Nats(NatsSink),
    /// `type: s3`
    S3(S3Sink),
}

const SINK_TYPES: &[&str] = &["file", "http", "nats", "s3"];

impl Sink {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::File(sink) => &sink.name,
            Self::Http(sink) => &sink.name,
            Self::Nats(sink) => &sink.name,
            Self::S3(sink) => &sink.name,
        }
    }
}

impl Setting for Sink {
    fn type_name() -> String {
        "sink".to_owned()
    }

    fn read(node: &Node, name: &str, report: &mut Report) -> Option<Self> {
        let mut fields = Fields::new(node, name, report)?;
        let sink = match fields.take_word("type", SINK_TYPES)? {
            "file" => FileSink::read_fields(&mut fields).map(Self::File),
            "nats" => NatsSink::read_fields(&mut fields).map(Self::Nats),
            "s3" => S3Sink::read_fields(&mut fields).map(Self::S3),
            _ => HttpSink::read_fields(&mut fields).map(Self::Http),
        };
        fields.finish();
        match &sink {
            Some(Self::Http(sink)) => sink.check(node, report),
            Some(Self::File(sink)) => sink.check(node, report),
            Some(Self::Nats(sink)) => sink.check(node, report),
            Some(Self::S3(sink)) => sink.check(node, report),
            None => {}
        }
        sink
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read: look at its path and permissions.
    #[error("cannot read config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that makes no sense: mend it.
    #[error("{0}")]
    Wrong(Problems),
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = document::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text).map_err(ConfigError::Wrong)
    }

    /// Reads a text; `file` names it in problems, all of which are found. An empty text is a problem, too: it looks
    /// like a file that was not written to its end.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut report = Report::new(file);
        let mut documents = document::parse(text, &mut report).into_iter();
        let document = documents.next().unwrap_or_else(|| {
            if report.is_clean() {
                report.hint(Place::FIRST, "the file is empty", "write {} for all defaults");
            }
            Node::empty_map()
        });
        if let Some(second) = documents.next() {
            report.add(second.place, "a config is one document");
        }
        let config = Self::read(&document, "the config", &mut report).filter(|_| report.is_clean());
        if let Some(config) = &config {
            config.check(&document, &mut report);
        }
        match config {
            Some(config) if report.is_clean() => Ok(config),
            _ => Err(Problems(report.into_problems())),
        }
    }
}

/// All settings with their types, defaults and docs, in the order of the example.
pub fn reference() -> Vec<Entry> {
    let mut entries = Vec::new();
    Config::entries("", &mut entries);
    FileSink::entries("sinks[type: file].", &mut entries);
    HttpSink::entries("sinks[type: http].", &mut entries);
    NatsSink::entries("sinks[type: nats].", &mut entries);
    S3Sink::entries("sinks[type: s3].", &mut entries);
    entries
}

/// A config file with all settings at their defaults; sinks, which have none, as comments.
pub fn example() -> String {
    let mut text = String::from("# The config of sigtrail. Every setting is shown with its default.\n");
    Config::write_example("", &mut text);
    let mut sinks = String::new();
    for (name, doc, write) in [
        ("file", FileSink::DOC, FileSink::write_example as fn(&str, &mut String)),
        ("http", HttpSink::DOC, HttpSink::write_example),
        ("nats", NatsSink::DOC, NatsSink::write_example),
        ("s3", S3Sink::DOC, S3Sink::write_example),
    ] {
        setting::comment("  ", doc, &mut sinks);
        sinks.extend(["  - type: ", name, "\n"]);
        write("    ", &mut sinks);
    }
    let sinks: String =
        sinks.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect();
    text.replacen("sinks: []\n", &format!("sinks: []\n# sinks:\n{sinks}"), 1)
}
