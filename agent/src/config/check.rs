//! What makes sense together.

use std::net::{IpAddr, SocketAddr};

use common::filter::{VARIABLES, variable};

use super::{Config, FileSink, HttpSink, Metrics, Preset, S3Sink, Size, View, WhenFull, setting};
use crate::document::{Node, Place, Report, Word as _};
use crate::sink::{
    recipient,
    s3::{BucketConfig, S3Error},
};
use crate::spool::{self, is_sink_name};

impl Config {
    /// What no setting can say alone.
    pub(super) fn check(&self, document: &Node, report: &mut Report) {
        let place = |path: &[&str]| place_of(document, path);
        let kernel = &self.kernel;
        let ring = kernel.ring_bytes.0;
        if !ring.is_power_of_two() || !(8192..=1 << 30).contains(&ring) {
            let near = Size(ring.clamp(8192, 1 << 30).next_power_of_two());
            let what = format!("kernel.ring_bytes is {}, not a power of two from 8KiB to 1GiB", kernel.ring_bytes);
            report.hint(place(&["kernel", "ring_bytes"]), what, format!("write {near}"));
        }
        if !(1..=1000).contains(&kernel.poll_ms) {
            report.add(place(&["kernel", "poll_ms"]), "kernel.poll_ms is not from 1 to 1000");
        }
        if kernel.environment.len() > VARIABLES {
            let what = format!("kernel.environment has more than {VARIABLES} names");
            report.add(place(&["kernel", "environment"]), what);
        }
        for name in kernel.environment.iter().filter(|name| variable(name).is_none()) {
            let what = format!("\"{name}\" in kernel.environment is no name of a variable of at most 31 bytes");
            report.add(place(&["kernel", "environment"]), what);
        }
        for (name, is_zero) in [
            ("max_age", self.seal.max_age.is_zero()),
            ("max_events", self.seal.max_events == 0),
            ("max_bytes", self.seal.max_bytes.0 == 0),
            ("heartbeat", self.seal.heartbeat.is_zero()),
        ] {
            if is_zero {
                report.add(place(&["seal", name]), format!("seal.{name} is zero"));
            }
        }
        if self.spool.segment_bytes.0 < self.seal.max_bytes.0 {
            report.add(
                place(&["spool", "segment_bytes"]),
                "spool.segment_bytes is less than seal.max_bytes: no batch fits",
            );
        }
        if self.spool.max_bytes.0 < self.spool.segment_bytes.0.saturating_mul(2) {
            report.add(
                place(&["spool", "max_bytes"]),
                "spool.max_bytes is less than two segments: nothing could be given up",
            );
        }
        let least = Size(spool::Options::least_max_bytes(self.seal.max_bytes.0));
        if self.spool.when_full == WhenFull::DropNewest && self.spool.max_bytes.0 < least.0 {
            let what = "spool.max_bytes leaves no reserve for `drop_newest`: it is less than 32 times seal.max_bytes";
            report.hint(place(&["spool", "max_bytes"]), what, format!("write at least {least}"));
        }
        if let Some(origin) = &self.origin
            && !is_origin(origin)
        {
            let what = format!("\"{origin}\" cannot be an origin");
            report.hint(place(&["origin"]), what, "write for example \"host.example/sigtrail\", without blanks and +");
        }
        if let Some(text) = &self.metrics.listen
            && self.metrics.address().is_none()
        {
            let what = format!("metrics.listen is \"{text}\", no address of this host alone");
            report.hint(place(&["metrics", "listen"]), what, "write for example \"127.0.0.1:9473\" or \"[::1]:9473\"");
        }
        self.recorder.check(|key| place(&["recorder", key]), report);
        self.capture.check(|key| place(&["capture", key]), report);
        self.check_sinks(document, report);
    }

    fn check_sinks(&self, document: &Node, report: &mut Report) {
        let nodes = setting::items(document.find("sinks"));
        for (at, (sink, node)) in self.sinks.iter().zip(nodes).enumerate() {
            let name = sink.name();
            let place = |key: &str| place_of(node, &[key]);
            if !is_sink_name(name) {
                let hint = "use 1 to 64 of a-z, 0-9, - and _";
                report.hint(place("name"), format!("\"{name}\" cannot name a sink"), hint);
            }
            if self.sinks[..at].iter().any(|it| it.name() == name) {
                report.add(place("name"), format!("two sinks are named \"{name}\""));
            }
        }
    }
}

impl Metrics {
    /// Where to listen, if it can only be reached from this host.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_ref()?.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback())
    }
}

impl FileSink {
    /// What no setting can say alone.
    pub(super) fn check(&self, node: &Node, report: &mut Report) {
        for text in self.recipients.iter().filter(|text| recipient(text).is_err()) {
            let what = format!("\"{text}\" is no X25519 recipient of age");
            report.hint(place_of(node, &["recipients"]), what, "write \"age1…\", as age-keygen prints it");
        }
    }
}

impl HttpSink {
    /// What no setting can say alone.
    pub(super) fn check(&self, node: &Node, report: &mut Report) {
        let place = |key: &str| place_of(node, &[key]);
        let credential = ["token_file", "basic_file"].into_iter().zip([&self.token_file, &self.basic_file]);
        let credential: Vec<&str> = credential.filter_map(|(key, file)| file.as_ref().map(|_| key)).collect();
        if let [_, second] = credential[..] {
            report.add(place(second), "token_file and basic_file exclude each other");
        }
        self.check_proxy(node, report);
        let host = authority(&self.url);
        if let (Some((false, host)), Some(key)) = (host, credential.first())
            && !is_loopback(host)
        {
            report.hint(place(key), format!("{key} is a secret and the url is not encrypted"), "write \"https://\"");
        }
        match host {
            _ if self.url.bytes().any(|it| it.is_ascii_whitespace() || it.is_ascii_control()) => {
                report.add(place("url"), "the url has blanks");
            }
            None => report.hint(place("url"), "the url has no scheme that we speak", "write \"https://…\""),
            Some((_, "")) => report.add(place("url"), "the url names no host"),
            // the url is printed in messages, so it may hold no password
            Some((_, host)) if host.contains('@') => {
                report.hint(place("url"), "the url holds a name or a password", "use basic_file");
            }
            Some((false, host)) if !is_loopback(host) && !self.allow_plain => {
                let what = "the url is not encrypted and leaves this host";
                report.hint(
                    place("url"),
                    what,
                    "write \"https://\", or \"allow_plain: true\" if nothing else is possible",
                );
            }
            Some(_) => {}
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            let key = if self.cert_file.is_some() { "cert_file" } else { "key_file" };
            report.add(place(key), "cert_file and key_file need each other");
        }
        for (key, time) in [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("idle_timeout", self.idle_timeout),
            ("peer_timeout", self.peer_timeout),
        ] {
            if time.is_zero() {
                report.add(place(key), format!("{key} is zero"));
            }
        }
        if self.ack_timeout.is_zero() {
            report.add(place("ack_timeout"), "ack_timeout is zero");
        }
        if !is_table(&self.table) {
            let what = format!("\"{}\" cannot be a table", self.table);
            report.hint(place("table"), what, "write for example \"sigtrail\" or \"audit.sigtrail\"");
        }
        if self.view != View::Sigtrail && matches!(self.preset, Preset::Http | Preset::Otlp) {
            let what = format!("preset {} has words of its own and no view", self.preset.word());
            report.hint(place("view"), what, "leave it out");
        }
        if self.max_body_bytes.0 == 0 {
            report.add(place("max_body_bytes"), "max_body_bytes is zero");
        }
        for name in self.headers.keys().filter(|name| name.eq_ignore_ascii_case("authorization")) {
            report.hint(
                place("headers"),
                format!("{name} is a secret and does not belong here"),
                "use token_file or basic_file",
            );
        }
    }

    fn check_proxy(&self, node: &Node, report: &mut Report) {
        let place = |key: &str| place_of(node, &[key]);
        let Some(proxy) = &self.proxy else {
            if self.proxy_basic_file.is_some() {
                report.add(place("proxy_basic_file"), "proxy_basic_file needs proxy");
            }
            return;
        };
        match authority(proxy) {
            Some((_, host)) if host.contains('@') => {
                report.hint(place("proxy"), "the proxy holds a name or a password", "use proxy_basic_file");
            }
            Some((_, host)) if !host.is_empty() && !host.contains(char::is_whitespace) => {}
            _ => report.hint(place("proxy"), "the proxy is no url that we speak", "write \"http://host:port\""),
        }
    }
}

/// Host and port of a url, as written, and whether it is encrypted.
fn authority(url: &str) -> Option<(bool, &str)> {
    let rest = url.strip_prefix("https://").map(|rest| (true, rest));
    let (secure, rest) = rest.or_else(|| url.strip_prefix("http://").map(|rest| (false, rest)))?;
    Some((secure, rest.split(['/', '?', '#']).next().unwrap_or_default()))
}

impl S3Sink {
    /// The bucket, in the words of the sink.
    pub fn bucket(&self) -> BucketConfig {
        BucketConfig {
            bucket: self.bucket.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            credentials_file: self.credentials_file.clone(),
            profile: self.profile.clone(),
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
        }
    }

    /// What no setting can say alone.
    pub(super) fn check(&self, node: &Node, report: &mut Report) {
        if let Err(error) = self.bucket().check() {
            let key = match &error {
                S3Error::Bucket(_) => "bucket",
                S3Error::Region(_) => "region",
                _ => "endpoint",
            };
            report.add(place_of(node, &[key]), error.to_string());
        }
        let is_part = |part: &str| {
            let known = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.' | b'=');
            part.bytes().all(known) && !matches!(part, "" | "." | "..")
        };
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let inner = prefix.trim_matches('/');
        if !inner.is_empty() && !inner.split('/').all(is_part) {
            let hint = "use a-z, A-Z, 0-9, -, _, ., = and single /";
            report.hint(place_of(node, &["prefix"]), format!("\"{prefix}\" cannot begin a name"), hint);
        }
        for (key, is_zero) in [("timeout", self.timeout.is_zero()), ("max_object_bytes", self.max_object_bytes.0 == 0)]
        {
            if is_zero {
                report.add(place_of(node, &[key]), format!("{key} is zero"));
            }
        }
    }
}

/// The place of a setting, or of the nearest section that was written.
pub(super) fn place_of(node: &Node, path: &[&str]) -> Place {
    match path.split_first().and_then(|(key, rest)| node.find(key).map(|node| (node, rest))) {
        Some((node, rest)) => place_of(node, rest),
        None => node.place,
    }
}

/// Whether a name may stand in a checkpoint (C2SP tlog-checkpoint, signed-note: no blanks, no plus).
fn is_origin(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.chars().any(|it| it.is_whitespace() || it.is_control() || it == '+')
}

/// Whether a text names a table, or database and table: it goes into a statement as it is.
fn is_table(text: &str) -> bool {
    let is_name = |name: &str| {
        let word = name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
        (1..=128).contains(&name.len()) && word && !name.as_bytes()[0].is_ascii_digit()
    };
    text.split('.').count() <= 2 && text.split('.').all(is_name)
}

/// Whether `host` or `host:port` of a url can only be this host.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
