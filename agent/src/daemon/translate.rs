//! The configuration in the words of each part.

use std::{path::PathBuf, time::Duration};

use common::Kind;

use super::{DaemonError, capture};
use crate::{
    batch::Limits,
    capture::{Detail, recorder},
    config::{self, Config},
    pipeline::{Log, LogOptions},
    policy::Policy,
    sink::{
        self, Sink, SinkError,
        file::FileConfig,
        http::{HttpConfig, Secret},
        nats::NatsConfig,
    },
    source::{Options, Stay, Wanted, pin::Pins},
    spool,
};

/// What the settings say of the kernel half. It ends with us.
pub(super) fn options(config: &Config, policy: &Policy) -> Options {
    Options {
        family: None,
        speaks: config.log.kernel,
        backlog_bytes: config.kernel.backlog_bytes.0 as usize,
        ring_bytes: config.kernel.ring_bytes.0 as u32,
        environment: config.kernel.environment.clone(),
        wanted: wanted(config, policy),
        stay: None,
    }
}

/// What the policy leaves to the kernel half.
pub(super) fn wanted(config: &Config, policy: &Policy) -> Wanted {
    if !config.kernel.push_down {
        return Wanted::all();
    }
    let wanted = Wanted { classes: policy.wanted(), calls: policy.calls(), matchers: policy.matchers() };
    let recorder = &config.recorder;
    let whole: Vec<_> = match recorder.enabled {
        false => Vec::new(),
        true if recorder.kinds.is_empty() => return Wanted::all(),
        true => recorder.kinds.iter().filter_map(|name| Kind::from_name(name)).collect(),
    };
    wanted.with_whole(&whole).with_processes()
}

/// What the settings say of the recorder.
pub(super) fn recorder(config: &Config) -> recorder::Options {
    let config::Recorder { enabled, bytes, age, .. } = config.recorder;
    recorder::Options { always: enabled, bytes: bytes.0 as usize, age }
}

/// What the settings say of captures.
pub(super) fn captures(config: &Config) -> capture::Settings {
    let capture = &config.capture;
    let details = |names: &[String]| names.iter().filter_map(|name| Detail::from_name(name)).collect();
    capture::Settings {
        dir: capture.dir.clone().unwrap_or_else(|| config.state_dir.join("captures")),
        group: capture.group.clone(),
        group_may: details(&capture.group_may),
        recipients: capture.recipients.clone(),
        before: capture.before,
        during: capture.during,
        with: details(&capture.with),
        max_time: capture.max_time,
        max_bytes: capture.max_bytes.0,
        memory_bytes: capture.memory_bytes.0,
        read_rate: capture.read_rate.0,
        keep: capture.keep as usize,
        rule_every: capture.rule_every,
        state_dir: config.state_dir.clone(),
        spool: spool_dir(config),
    }
}

/// How the kernel half outlives the agent, if it shall.
pub(super) fn stay(config: &Config, log: &Log, boot: &str) -> Option<Stay> {
    let must = match config.kernel.pin {
        config::Pin::No => return None,
        config::Pin::Auto => false,
        config::Pin::Yes => true,
    };
    Some(Stay {
        pins: Pins::of(&config.state_dir),
        journal: config.runtime_dir.clone(),
        boot: boot.to_owned(),
        last_batch: log.last(),
        must,
    })
}

pub(super) fn spool_dir(config: &Config) -> PathBuf {
    config.state_dir.join("spool")
}

pub(super) fn log_options(config: &Config) -> LogOptions {
    let spool = spool::Options {
        segment_bytes: config.spool.segment_bytes.0,
        segment_age: config.spool.segment_age,
        max_bytes: config.spool.max_bytes.0,
        min_free: config.spool.min_free.0,
        sync: match config.spool.sync {
            config::Sync::Seal => spool::Sync::Seal,
            config::Sync::Never => spool::Sync::Never,
        },
        when_full: match config.spool.when_full {
            config::WhenFull::DropOldestPayload => spool::WhenFull::DropOldest,
            config::WhenFull::DropNewest => spool::WhenFull::DropNewest,
            config::WhenFull::Stop => spool::WhenFull::Stop,
        },
        ..spool::Options::new(spool_dir(config))
    };
    let limits = Limits {
        age: config.seal.max_age,
        alert_age: Duration::from_millis(10),
        lines: u64::from(config.seal.max_events),
        bytes: config.seal.max_bytes.0,
        heartbeat: config.seal.heartbeat,
    };
    LogOptions { state_dir: config.state_dir.clone(), spool, limits }
}

pub(super) fn sinks(config: &Config, origin: &str) -> Result<Vec<Sink>, DaemonError> {
    let named = |written: &config::Sink| {
        made(written, origin).map_err(|source| DaemonError::Sink { name: written.name().to_owned(), source })
    };
    config.sinks.iter().map(named).collect()
}

fn made(written: &config::Sink, origin: &str) -> Result<Sink, SinkError> {
    Ok(match written {
        config::Sink::File(file) => Sink::File(Box::new(sink::FileSink::new(
            file.name.clone(),
            FileConfig {
                dir: file.dir.clone(),
                rotate_bytes: file.rotate_bytes.0,
                rotate_seconds: file.rotate_age.as_secs(),
                compress: file.compress,
                mode: file.mode.0,
                group: file.group.clone(),
                recipients: file.recipients.clone(),
                keep_files: file.keep_files.map(|files| files as usize),
                keep_bytes: file.keep_bytes.map(|bytes| bytes.0),
                keep_age: file.keep_age,
                min_free: file.min_free.0,
            },
        ))),
        config::Sink::Http(http) => {
            let headers = http.headers.iter().map(|(name, value)| (name.clone(), Secret(value.clone())));
            let settings = HttpConfig {
                url: http.url.clone(),
                preset: http.preset,
                view: http.view,
                table: http.table.clone(),
                acks: http.acks,
                ack_timeout: http.ack_timeout,
                headers: headers.collect(),
                token_file: http.token_file.clone(),
                basic_file: http.basic_file.clone(),
                proxy: http.proxy.clone(),
                proxy_basic_file: http.proxy_basic_file.clone(),
                ca_file: http.ca_file.clone(),
                client_cert_file: http.cert_file.clone(),
                client_key_file: http.key_file.clone(),
                encoding: http.encoding,
                max_body_bytes: http.max_body_bytes.0 as usize,
                connect_timeout: http.connect_timeout,
                timeout: http.timeout,
                idle_timeout: http.idle_timeout,
                peer_timeout: http.peer_timeout,
            };
            Sink::Http(Box::new(sink::HttpSink::new(http.name.clone(), settings, origin)?))
        }
        config::Sink::Nats(nats) => {
            let settings = NatsConfig {
                url: nats.url.clone(),
                stream: nats.stream.clone(),
                subject: nats.subject.clone(),
                token_file: nats.token_file.clone(),
                creds_file: nats.creds_file.clone(),
                ca_file: nats.ca_file.clone(),
                client_cert_file: nats.cert_file.clone(),
                client_key_file: nats.key_file.clone(),
                timeout: nats.timeout,
            };
            Sink::Nats(Box::new(sink::NatsSink::new(nats.name.clone(), settings, origin)?))
        }
        config::Sink::S3(s3) => {
            let settings = sink::S3Config {
                bucket: s3.bucket(),
                prefix: s3.prefix.clone().unwrap_or_default(),
                max_object_bytes: s3.max_object_bytes.0 as usize,
            };
            Sink::S3(Box::new(sink::S3Sink::new(s3.name.clone(), settings, origin)?))
        }
    })
}
