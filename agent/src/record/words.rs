//! What was done to what, in a few words that a person can read: of an event, and of its line in the log.
//!
//! ```text
//! /usr/bin/ls -l '/tmp/a b'
//! /etc/shadow read
//! ```

use std::{borrow::Cow, net::IpAddr, ops::ControlFlow};

use common::{
    Event, Kind, Value,
    wire::{SocketAddr, items},
};

use super::json;

/// What the words are made of.
pub trait Said {
    /// What happened; `None` when it is none of the kernel's kinds.
    fn kind(&self) -> Option<Kind>;
    /// The system call.
    fn call(&self) -> Cow<'_, str>;
    /// Appends the value of a field as a word; false, and nothing, when there is none.
    fn word(&self, field: &str, out: &mut String) -> bool;
    /// Gives the arguments of a program, its name first, as far as they are wanted.
    fn arguments(&self, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>);
}

/// The words end about here: the log has all.
pub const LONG: usize = 400;

/// Appends what was done to what. Of what is no kind of the kernel's, nothing.
pub fn what(said: &impl Said, out: &mut String) {
    let Some(kind) = said.kind() else { return };
    Words { said, out }.what(kind);
}

/// Appends a word as a shell would need it. Nothing of a file name reaches the terminal as a control character.
pub fn quote(bytes: &[u8], out: &mut String) {
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

struct Words<'a, S> {
    said: &'a S,
    out: &'a mut String,
}

impl<S: Said> Words<'_, S> {
    fn what(&mut self, kind: Kind) {
        match kind {
            Kind::Exec => {
                self.field("path");
                self.arguments();
                if self.has("script") {
                    self.out.push_str("  script ");
                    self.field("script");
                }
            }
            Kind::Fork => self.field("child_pid"),
            Kind::Exit if self.has("signal") => self.field("signal"),
            Kind::Exit => {
                self.out.push_str("code ");
                self.field("code");
            }
            Kind::Open => {
                self.with("path", "access");
                let start = self.out.len();
                let created = self.said.word("created", self.out) && self.out[start..] == *"true";
                self.out.truncate(start);
                if created {
                    self.out.push_str(", created");
                }
            }
            Kind::Unlink | Kind::Rmdir | Kind::Mkdir | Kind::Chroot => self.field("path"),
            Kind::Rename | Kind::Link => self.two("path", "target"),
            Kind::Symlink => self.two("path", "content"),
            Kind::Mknod if self.has("device") => self.with("path", "device"),
            Kind::Chmod | Kind::Mknod => self.with("path", "mode"),
            Kind::Chown => {
                self.with("path", "new_owner");
                self.out.push(':');
                self.field("new_group");
            }
            Kind::Modify => {
                self.field("path");
                self.out.push_str(", bytes ");
                self.field("bytes");
            }
            Kind::Truncate => self.with("path", "length"),
            Kind::Setxattr | Kind::Removexattr => self.with("path", "name"),
            Kind::Utimes => self.with("path", "times"),
            Kind::FileSetattr if self.has("flags") => self.with("path", "flags"),
            Kind::FileSetattr => self.with("path", "xflags"),
            Kind::Mount => self.mount(),
            Kind::Umount | Kind::Swap => self.with("path", "flags"),
            Kind::PivotRoot => self.two("path", "put_old"),
            Kind::Connect | Kind::Send => self.socket("peer"),
            Kind::Bind | Kind::Listen => self.socket("local"),
            Kind::Socket => {
                self.with("family", "socket");
                self.out.push(' ');
                let known = self.has("protocol");
                self.field(if known { "protocol" } else { "protocol_number" });
            }
            Kind::Dns => self.two("question", "peer"),
            Kind::Accept => {
                self.socket("local");
                self.out.push_str(" from ");
                self.field("peer");
            }
            other => self.values(names(other)),
        }
    }

    fn has(&mut self, field: &str) -> bool {
        let start = self.out.len();
        let has = self.said.word(field, self.out);
        self.out.truncate(start);
        has
    }

    fn field(&mut self, field: &str) {
        if !self.said.word(field, self.out) {
            self.out.push('-');
        }
    }

    /// What the call says: the values that are there, with their names but for the first.
    fn values(&mut self, names: &[&str]) {
        let start = self.out.len();
        for (place, name) in names.iter().enumerate() {
            let before = self.out.len();
            if before > start {
                self.out.push(' ');
            }
            if place > 0 {
                self.out.extend([name, "="]);
            }
            if !self.said.word(name, self.out) {
                self.out.truncate(before);
            }
        }
    }

    /// The call, because a mount is made in steps, and what it says of source, type, parameter and place.
    fn mount(&mut self) {
        self.out.push_str(&self.said.call());
        for name in ["fstype", "source", "command", "key", "value", "path"] {
            if self.has(name) {
                self.out.push(' ');
                self.field(name);
            }
        }
    }

    fn two(&mut self, from: &str, to: &str) {
        self.field(from);
        self.out.push_str(" → ");
        self.field(to);
    }

    fn with(&mut self, first: &str, second: &str) {
        self.field(first);
        self.out.push(' ');
        self.field(second);
    }

    /// A protocol (unix sockets have none) and an address.
    fn socket(&mut self, address: &str) {
        if self.has("protocol") {
            self.field("protocol");
            self.out.push(' ');
        }
        self.field(address);
    }

    /// The arguments without the first, which is the program's name.
    fn arguments(&mut self) {
        let (out, mut first) = (&mut *self.out, true);
        self.said.arguments(&mut |argument| {
            if std::mem::take(&mut first) {
                return ControlFlow::Continue(());
            }
            out.push(' ');
            quote(argument, out);
            if out.len() > LONG {
                out.push_str(" …");
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }
}

/// What is told of a kind that needs no words of its own.
const fn names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::IoUringSilent => &["operation", "path", "target", "address"],
        Kind::Setid => &["asked_real", "asked_effective", "asked_saved", "asked_fs", "groups"],
        Kind::Capability => &["capability"],
        Kind::Capset => &["effective"],
        Kind::Ptrace => &["request", "target_pid", "target_exe"],
        Kind::ProcessVm | Kind::Pidfd => &["target_pid", "target_exe", "path"],
        Kind::Kill => &["signal", "target_pid", "target_tid", "target_exe"],
        Kind::Prlimit => &["resource", "target_pid", "target_exe", "soft", "hard"],
        Kind::ModuleLoad => &["path", "args"],
        Kind::ModuleUnload => &["module"],
        Kind::Kexec => &["path", "cmdline", "flags", "file_flags"],
        Kind::Bpf => &["command", "prog_type", "map_type", "attach_type", "object_name", "place"],
        Kind::PerfEventOpen => &["event_type", "target_pid", "target_cpu"],
        Kind::Namespace => &["flags", "ns_type", "inode", "child_pid", "target_pid"],
        Kind::MemfdCreate => &["name", "flags"],
        Kind::Prctl => &["option", "capability", "argument"],
        Kind::Seccomp => &["operation", "flags"],
        Kind::Keyctl => &["operation", "key", "key_type", "description"],
        Kind::Userfaultfd | Kind::IoUring => &["flags"],
        Kind::Landlock => &["rule_type", "access"],
        Kind::Lsm => &["attribute", "module", "content"],
        Kind::Personality => &["domain", "flags"],
        Kind::Setsid => &["session"],
        Kind::Settime => &["clock", "new_time", "modes"],
        Kind::Hostname => &["name"],
        Kind::Reboot => &["command"],
        Kind::Acct => &["path", "command"],
        Kind::Ioport => &["level", "first_port", "ports"],
        Kind::Syslog => &["action", "level"],
        Kind::Mprotect => &["protection", "address", "length"],
        Kind::CredChange => &["old_euid", "old_egid", "old_user_ns", "last_call"],
        // these have words of their own, above
        Kind::Exec
        | Kind::Fork
        | Kind::Exit
        | Kind::Open
        | Kind::Unlink
        | Kind::Rmdir
        | Kind::Rename
        | Kind::Link
        | Kind::Symlink
        | Kind::Chmod
        | Kind::Chown
        | Kind::Truncate
        | Kind::Connect
        | Kind::Bind
        | Kind::Listen
        | Kind::Accept
        | Kind::Send
        | Kind::Mkdir
        | Kind::Mknod
        | Kind::Setxattr
        | Kind::Removexattr
        | Kind::Utimes
        | Kind::FileSetattr
        | Kind::Mount
        | Kind::Umount
        | Kind::PivotRoot
        | Kind::Chroot
        | Kind::Swap
        | Kind::Modify
        | Kind::Socket
        | Kind::Dns => &[],
    }
}

impl Said for Event<'_> {
    fn kind(&self) -> Option<Kind> {
        Some(Event::kind(self))
    }

    fn call(&self) -> Cow<'_, str> {
        self.call.name().into()
    }

    fn word(&self, field: &str, out: &mut String) -> bool {
        let mut bytes = Vec::new();
        match value(self, field) {
            Value::Null => return false,
            Value::Addr(addr) => address(addr, out),
            Value::Question(question) => {
                json::domain(question, &mut bytes);
                quote(&bytes, out);
                out.push(' ');
                bytes.clear();
                json::plain(question.record_type(), &mut bytes);
                quote(&bytes, out);
            }
            value => {
                json::plain(value, &mut bytes);
                quote(&bytes, out);
            }
        }
        true
    }

    fn arguments(&self, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        let Value::List(list) = value(self, "argv") else { return };
        for argument in items(list) {
            if each(argument).is_break() {
                return;
            }
        }
    }
}

fn value<'a>(event: &Event<'a>, name: &str) -> Value<'a> {
    let at = event.kind().fields().iter().position(|field| field.name == name);
    at.map_or(Value::Null, |at| event.body_value(at))
}

fn address(addr: SocketAddr<'_>, out: &mut String) {
    match addr {
        SocketAddr::Ip(ip, port) => out.push_str(&internet(ip, port)),
        SocketAddr::Unix(path) => unix(path, out),
        SocketAddr::Abstract(name) => abstract_unix(name, out),
        SocketAddr::Other(number) => out.extend(["family ", &number.to_string()]),
    }
}

/// An internet address with its port.
pub fn internet(ip: IpAddr, port: u16) -> String {
    if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Appends a unix address with a name in the file system, or with none.
pub fn unix(path: &[u8], out: &mut String) {
    if path.is_empty() { out.push_str("unnamed") } else { quote(path, out) }
}

/// Appends a unix address with a name that is in no file system.
pub fn abstract_unix(name: &[u8], out: &mut String) {
    out.push('@');
    quote(name, out);
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
