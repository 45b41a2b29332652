//! One record as one line that a person can read.
//!
//! ```text
//! 20:26:45.123 exec    root   4242 bash ▸ /usr/bin/ls -l '/tmp/a b'
//! 20:26:45.130 open    alice  4243 cat ▸ /etc/shadow read = EACCES
//! ```

use std::net::IpAddr;

use common::{
    Body, Call, Event, Kind, Value,
    wire::{SocketAddr, UNSET, items},
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
            | Kind::Dns
            | Kind::IoUringSilent => Colour::Magenta,
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
            Body::Unlink(_) | Body::Rmdir(_) | Body::Mkdir(_) | Body::Chroot(_) => self.field(event, "path"),
            Body::Rename(_) | Body::Link(_) => self.two(event, "path", "target"),
            Body::Symlink(_) => self.two(event, "path", "content"),
            Body::Mknod(body) if body.device.0 != UNSET => self.with(event, "path", "device"),
            Body::Chmod(_) | Body::Mknod(_) => self.with(event, "path", "mode"),
            Body::Chown(_) => {
                self.field(event, "path");
                self.line.push(' ');
                self.field(event, "new_owner");
                self.line.push(':');
                self.field(event, "new_group");
            }
            Body::Modify(_) => {
                self.field(event, "path");
                self.line.push_str(", bytes ");
                self.field(event, "bytes");
            }
            Body::Truncate(_) => self.with(event, "path", "length"),
            Body::Setxattr(_) | Body::Removexattr(_) => self.with(event, "path", "name"),
            Body::Utimes(_) => self.with(event, "path", "times"),
            Body::FileSetattr(_) => {
                self.with(event, "path", if event.call == Call::Ioctl { "flags" } else { "xflags" });
            }
            Body::Mount(_) => self.mount(event),
            Body::Umount(_) | Body::Swap(_) => self.with(event, "path", "flags"),
            Body::PivotRoot(_) => self.two(event, "path", "put_old"),
            Body::Connect(_) | Body::Send(_) => self.socket(event, "peer"),
            Body::Bind(_) | Body::Listen(_) => self.socket(event, "local"),
            Body::Socket(_) => {
                self.with(event, "family", "socket");
                self.line.push(' ');
                self.field(event, if value(event, "protocol") == Value::Null { "protocol_number" } else { "protocol" });
            }
            Body::Dns(_) => self.two(event, "question", "peer"),
            Body::IoUringSilent(_) => self.said(event, &["operation", "path", "target", "address"]),
            Body::Accept(_) => {
                self.socket(event, "local");
                self.line.push_str(" from ");
                self.field(event, "peer");
            }
            Body::Setid(_) => self.said(event, &["asked_real", "asked_effective", "asked_saved", "asked_fs", "groups"]),
            Body::Capability(_) => self.said(event, &["capability"]),
            Body::Capset(_) => self.said(event, &["effective"]),
            Body::Ptrace(_) => self.said(event, &["request", "target_pid", "target_exe"]),
            Body::ProcessVm(_) | Body::Pidfd(_) => self.said(event, &["target_pid", "target_exe", "path"]),
            Body::Kill(_) => self.said(event, &["signal", "target_pid", "target_tid", "target_exe"]),
            Body::Prlimit(_) => self.said(event, &["resource", "target_pid", "target_exe", "soft", "hard"]),
            Body::ModuleLoad(_) => self.said(event, &["path", "args"]),
            Body::ModuleUnload(_) => self.said(event, &["module"]),
            Body::Kexec(_) => self.said(event, &["path", "cmdline", "flags", "file_flags"]),
            Body::Bpf(_) => {
                self.said(event, &["command", "prog_type", "map_type", "attach_type", "object_name", "place"]);
            }
            Body::PerfEventOpen(_) => self.said(event, &["event_type", "target_pid", "target_cpu"]),
            Body::Namespace(_) => self.said(event, &["flags", "ns_type", "inode", "child_pid", "target_pid"]),
            Body::MemfdCreate(_) => self.said(event, &["name", "flags"]),
            Body::Prctl(_) => self.said(event, &["option", "capability", "argument"]),
            Body::Seccomp(_) => self.said(event, &["operation", "flags"]),
            Body::Keyctl(_) => self.said(event, &["operation", "key", "key_type", "description"]),
            Body::Userfaultfd(_) | Body::IoUring(_) => self.said(event, &["flags"]),
            Body::Landlock(_) => self.said(event, &["rule_type", "access"]),
            Body::Lsm(_) => self.said(event, &["attribute", "module", "content"]),
            Body::Personality(_) => self.said(event, &["domain", "flags"]),
            Body::Setsid(_) => self.said(event, &["session"]),
            Body::Settime(_) => self.said(event, &["clock", "new_time", "modes"]),
            Body::Hostname(_) => self.said(event, &["name"]),
            Body::Reboot(_) => self.said(event, &["command"]),
            Body::Acct(_) => self.said(event, &["path", "command"]),
            Body::Ioport(_) => self.said(event, &["level", "first_port", "ports"]),
            Body::Syslog(_) => self.said(event, &["action", "level"]),
            Body::Mprotect(_) => self.said(event, &["protection", "address", "length"]),
            Body::CredChange(_) => self.said(event, &["old_euid", "old_egid", "old_user_ns", "last_call"]),
        }
    }

    /// What the call says: the values that are there, with their names but for the first.
    fn said(&mut self, event: &Event<'_>, names: &[&str]) {
        let there = names.iter().enumerate().filter(|(_, name)| value(event, name) != Value::Null);
        for (at, (place, name)) in there.enumerate() {
            if at > 0 {
                self.line.push(' ');
            }
            if place > 0 {
                self.push(format_args!("{name}="));
            }
            self.field(event, name);
        }
    }

    /// The call, because a mount is made in steps, and what it says of source, type, parameter and place.
    fn mount(&mut self, event: &Event<'_>) {
        self.line.push_str(event.call.name());
        for name in ["fstype", "source", "command", "key", "value", "path"] {
            if value(event, name) != Value::Null {
                self.line.push(' ');
                self.field(event, name);
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
            Value::Question(question) => {
                json::domain(question, &mut self.bytes);
                quote(&self.bytes, &mut self.line);
                self.line.push(' ');
                self.bytes.clear();
                json::plain(question.record_type(), &mut self.bytes);
                quote(&self.bytes, &mut self.line);
            }
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
