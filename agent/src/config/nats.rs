//! The settings of a NATS sink.

use std::{path::PathBuf, time::Duration};

use super::check::place_of;
use super::setting::settings;
use crate::{
    document::{Node, Report},
    sink::nats::{is_private, is_stream, is_subject},
};

settings! {
    /// Sends the log to a stream of NATS JetStream, each batch as one message.
    pub struct NatsSink {
        /// Its name in messages and metrics; unique. Renaming a sink starts it from the beginning.
        name: String [required],
        /// The server, `tls://HOST:PORT`; or `nats://`, encrypted only if the server wants it, to this host.
        url: String [required],
        /// Allows `nats` to other hosts: everybody on the way can read and change the log.
        allow_plain: bool [false],
        /// The name of the stream. It must be there, and take the subject.
        stream: String [required],
        /// The subject of the messages; null for `sigtrail.` and the hash of the origin of the log.
        subject: Option<String> [None],
        /// A file with a token; read again for every connection.
        token_file: Option<PathBuf> [None],
        /// A file with the credentials of a user (JWT and seed); read again for every connection.
        creds_file: Option<PathBuf> [None],
        /// A file with the certificates that are trusted, in PEM; null for those of the system.
        ca_file: Option<PathBuf> [None],
        /// A file with our certificate, in PEM; with `key_file`.
        cert_file: Option<PathBuf> [None],
        /// A file with the key of our certificate, in PEM; with `cert_file`.
        key_file: Option<PathBuf> [None],
        /// A connection or an acknowledgement may take this long.
        timeout: Duration [Duration::from_secs(30)],
        /// A batch that waits longer than this for the sink is told in the log (`agent.sink`); 0s for any time.
        max_lag: Duration [Duration::from_hours(1)],
        /// Whether the spool waits for this sink before it gives up events.
        required: bool [true],
    }
}

impl NatsSink {
    /// What no setting can say alone.
    pub(super) fn check(&self, node: &Node, report: &mut Report) {
        let place = |key: &str| place_of(node, &[key]);
        match is_private(&self.url) {
            None => {
                let what = "the url is no server of NATS";
                report.hint(place("url"), what, "write \"tls://HOST:4222\", without user, password and path");
            }
            Some(false) if !self.allow_plain => {
                let what = "the url is not always encrypted and leaves this host";
                let hint = "write \"tls://\", or \"allow_plain: true\" if nothing else is possible";
                report.hint(place("url"), what, hint);
            }
            Some(_) => {}
        }
        if !is_stream(&self.stream) {
            let what = format!("\"{}\" cannot be the name of a stream", self.stream);
            report.hint(place("stream"), what, "use visible characters without . * > / and \\");
        }
        if let Some(subject) = self.subject.as_ref().filter(|subject| !is_subject(subject)) {
            let what = format!("\"{subject}\" cannot be a subject to publish to");
            report.hint(place("subject"), what, "write words with dots between them, without * and >");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            let key = if self.cert_file.is_some() { "cert_file" } else { "key_file" };
            report.add(place(key), "cert_file and key_file need each other");
        }
        if self.token_file.is_some() && self.creds_file.is_some() {
            report.add(place("token_file"), "token_file and creds_file exclude each other");
        }
        if self.timeout.is_zero() {
            report.add(place("timeout"), "timeout is zero");
        }
    }
}
