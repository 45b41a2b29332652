//! One record as one line that a person can read.
//!
//! ```text
//! 20:26:45.123 exec    root   4242 bash ▸ /usr/bin/ls -l '/tmp/a b'
//! 20:26:45.130 open    alice  4243 cat ▸ /etc/shadow read = EACCES
//! ```

use std::net::IpAddr;

use common::{
    Body, Event, Kind, Value,
    wire::{SocketAddr, items},
};

use super::paint::{Colour, Paint};
use crate::record::{Judgement, Record, Verdict, errno, json};

/// Writes records as lines.
#[derive(Debug)]
pub struct Printer {
    paint: Paint,
    line: String,
    bytes: Vec<u8>,
}

impl Printer {
    /// Lines with or without colours.
    pub fn new(paint: Paint) -> Self {
        Self { paint, line: String::new(), bytes: Vec::new() }
    }

    /// The line of a record, with its line feed.
    pub fn line(&mut self, record: &Record<'_>, judgement: Judgement<'_>, time: &str) -> &str {
        self.line.clear();
        let event = &record.event;
        let header = event.header;
        let clock = time.get(11..23).unwrap_or(time);
        let user = record.context.euser.map_or_else(|| header.euid.0.to_string(), str::to_owned);
        let kind = event.kind();
        let colour = match kind {
            _ if judgement.verdict == Verdict::Alert => Colour::Yellow,
            Kind::Exec | Kind::Fork | Kind::Exit => Colour::Blue,
            Kind::Connect
            | Kind::Bind
            | Kind::Listen
            | Kind::Accept
            | Kind::Send
            | Kind::Socket
            | Kind::Dns => Colour::Magenta,
            _ => Colour::Cyan,
        };
        let mut comm = String::new();
        quote(header.comm.bytes(), &mut comm);
        let paint = self.paint;
        self.push(format_args!(
            "{} {} {user:<8} {:>6} {comm} {} ",
            paint.text(Colour::Grey, clock),
            paint.text(colour, format_args!("{:<8}", kind.name())),
            header.pid,
            paint.text(Colour::Grey, "▸"),
        ));
        self.what(event);
        if let Some(error) = errno::name(header.ret) {
            self.push(format_args!(" = {}", paint.text(Colour::Red, error)));
        }
        if judgement.verdict == Verdict::Alert {
            self.push(format_args!("{}", paint.text(Colour::Yellow, format_args!(" ! {}", judgement.rule))));
        }
        self.line.push('\n');
        &self.line
    }

    /// What was done to what.
    fn what(&mut self, event: &Event<'_>) {
        match event.body {
            Body::Exec(_) => {
                self.field(event, "path");
                self.arguments(event);
                if matches!(value(event, "script"), Value::Path(_)) {
                    self.line.push_str("  script ");
                    self.field(event, "script");
                }
            }
            Body::Fork(body) => self.push(format_args!("{}", body.child_pid)),
            Body::Exit(body) => match value(event, "signal") {
                Value::Name(signal) => self.push(format_args!("{signal}")),
                _ => self.push(format_args!("code {}", body.code)),
            },
            Body::Open(body) => {
                self.field(event, "path");
                self.line.push(' ');
                self.field(event, "access");
                if body.created.0 != 0 {
                    self.line.push_str(", created");
                }
            }
            Body::Unlink(_) | Body::Rmdir(_) => self.field(event, "path"),
            Body::Rename(_) | Body::Link(_) => self.two(event, "path", "target"),
            Body::Symlink(_) => self.two(event, "path", "content"),
            Body::Chmod(_) => self.with(event, "path", "mode"),
            Body::Chown(_) => {
                self.field(event, "path");
                self.line.push(' ');
                self.field(event, "new_owner");
                self.line.push(':');
                self.field(event, "new_group");
            }
            Body::Truncate(_) => self.with(event, "path", "length"),
            Body::Connect(_) | Body::Send(_) => self.socket(event, "peer"),
            Body::Bind(_) | Body::Listen(_) => self.socket(event, "local"),
            Body::Socket(_) => {
                self.with(event, "family", "socket");
                self.line.push(' ');
                self.field(event, if value(event, "protocol") == Value::Null { "protocol_number" } else { "protocol" });
            }
            Body::Dns(_) => {
                self.with(event, "name", "qtype");
                self.line.push_str(" → ");
                self.field(event, "peer");
            }
            Body::Accept(_) => {
                self.socket(event, "local");
                self.line.push_str(" from ");
                self.field(event, "peer");
            }
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.line.push_str(&text.to_string());
    }

    fn two(&mut self, event: &Event<'_>, from: &str, to: &str) {
        self.field(event, from);
        self.line.push_str(" → ");
        self.field(event, to);
    }

    fn with(&mut self, event: &Event<'_>, first: &str, second: &str) {
        self.field(event, first);
        self.line.push(' ');
        self.field(event, second);
    }

    /// A protocol (unix sockets have none) and an address.
    fn socket(&mut self, event: &Event<'_>, address: &str) {
        if value(event, "protocol") != Value::Null {
            self.field(event, "protocol");
            self.line.push(' ');
        }
        self.field(event, address);
    }

    fn field(&mut self, event: &Event<'_>, name: &str) {
        let value = value(event, name);
        self.bytes.clear();
        match value {
            Value::Null => self.line.push('-'),
            Value::Addr(addr) => self.line.push_str(&address(addr)),
            value => {
                json::plain(value, &mut self.bytes);
                quote(&self.bytes, &mut self.line);
            }
        }
    }

    /// The arguments without the first, which is the program's name.
    fn arguments(&mut self, event: &Event<'_>) {
        let Value::List(list) = value(event, "argv") else { return };
        for argument in items(list).skip(1) {
            self.line.push(' ');
            quote(argument, &mut self.line);
            if self.line.len() > LONG {
                self.line.push_str(" …");
                return;
            }
        }
    }
}

/// A line is cut here: the log has it whole.
const LONG: usize = 400;

fn value<'a>(event: &Event<'a>, name: &str) -> Value<'a> {
    let at = event.kind().fields().iter().position(|field| field.name == name);
    at.map_or(Value::Null, |at| event.body_value(at))
}

fn address(addr: SocketAddr<'_>) -> String {
    let mut text = String::new();
    match addr {
        SocketAddr::Ip(IpAddr::V6(ip), port) => return format!("[{ip}]:{port}"),
        SocketAddr::Ip(ip, port) => return format!("{ip}:{port}"),
        SocketAddr::Unix(b"") => text.push_str("unnamed"),
        SocketAddr::Unix(path) => quote(path, &mut text),
        SocketAddr::Abstract(name) => {
            text.push('@');
            quote(name, &mut text);
        }
        SocketAddr::Other(number) => return format!("family {number}"),
    }
    text
}

/// Appends a word as a shell would need it. Nothing of a file name reaches the terminal as a control character.
fn quote(bytes: &[u8], out: &mut String) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%^~#".contains(byte);
    let text = String::from_utf8_lossy(bytes);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        out.push_str(&text);
        return;
    }
    out.push('\'');
    for char in text.chars() {
        match char {
            '\'' => out.push_str("'\\''"),
            char if char.is_control() || ('\u{200b}'..='\u{202e}').contains(&char) => out.extend(char.escape_default()),
            char => out.push(char),
        }
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_harmless() {
        let check = |bytes: &[u8], expected: &str| {
            let mut out = String::new();
            quote(bytes, &mut out);
            assert_eq!(out, expected);
        };
        check(b"/usr/bin/ls", "/usr/bin/ls");
        check(b"", "''");
        check(b"a b", "'a b'");
        check(b"it's", "'it'\\''s'");
        check(b"\x1b[31m\n", "'\\u{1b}[31m\\n'");
        check(b"\xff", "'\u{fffd}'");
        check("\u{202e}txt".as_bytes(), "'\\u{202e}txt'");
    }
}
