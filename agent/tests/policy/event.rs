//! Events from a line of text, on the wire as the kernel half writes them.

use super::privilege;
use common::{
    Call, Header, Kind, Prefix, Record as _, Value,
    event::{
        Accept, Bind, Chmod, Chown, Chroot, Connect, Dns, Event, Exec, Exit, FileSetattr, Fork, Link, Listen, Mkdir,
        Mknod, Mount, Open, PivotRoot, Removexattr, Rename, Rmdir, Send, Setxattr, Swap, Symlink, Truncate, Umount,
        Unlink, Utimes,
    },
    filter::class,
    names::{ACCESS_PATH, Access, Names, OpenFlags, Protocol, RECORD_TYPES, SocketType},
    wire::{self, Addr, Bool, Device, Id, Inode, Mode, Name16, Path, Text, TextList, family, mark},
};
use sigtrail::record::{Context, Process, Record, Relative, errno};
use zerocopy::IntoBytes;

/// A query of DNS, from `TYPE:NAME`.
fn question(text: &str) -> Vec<u8> {
    let (record_type, name) = text.split_once(':').unwrap();
    let number = RECORD_TYPES.iter().find(|(_, it)| *it == record_type).unwrap().0 as u16;
    let mut message = [1, 0, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    [&message[..], &[0], &number.to_be_bytes(), &[0, 1]].concat()
}

/// An event and what the agent knows about its process.
pub struct Draft {
    pub kind: Kind,
    fields: Vec<(String, String)>,
}

impl Draft {
    /// Reads `kind field=value …`; values have no blanks. Of a path, what follows a `+` is a name that the caller gave.
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let kind = words.next().and_then(Kind::from_name).unwrap_or_else(|| panic!("no kind in {line}"));
        let fields = words.map(|word| word.split_once('=').unwrap_or_else(|| panic!("no = in {word}")));
        Self { kind, fields: fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, key: &str) -> u32 {
        self.find(key).map_or(0, |text| text.parse().unwrap_or_else(|_| panic!("{key}={text}")))
    }

    pub fn id(&self, key: &str) -> Id {
        Id(self.find(key).map_or(0, |text| text.parse().unwrap_or(u32::MAX)))
    }

    fn is(&self, key: &str) -> Bool {
        Bool(u32::from(self.find(key) == Some("true")))
    }

    fn mode(&self, key: &str) -> Mode {
        Mode(self.find(key).map_or(u32::MAX, |text| u32::from_str_radix(text, 8).unwrap()))
    }

    /// What the call returned.
    fn ret(&self) -> i64 {
        let Some(name) = self.find("errno") else { return 0 };
        -(1..600).find(|number| errno::name(-number) == Some(name)).unwrap_or_else(|| panic!("errno={name}"))
    }

    /// The class that the kernel half finds for the event (see `common::filter::class`), from its description.
    pub fn class(&self) -> u8 {
        match self.find("errno") {
            Some("EACCES" | "EPERM") => class::DENIED,
            Some(_) => class::FAILED,
            None if self.kind == Kind::Open
                && self.find("created") != Some("true")
                && self.find("flags").is_none_or(|flags| !flags.contains("O_TRUNC"))
                && matches!(self.find("access"), None | Some("read" | "path")) =>
            {
                class::READ
            }
            None => class::SUCCESS,
        }
    }

    fn header(&self) -> Header {
        let mut comm = [0; 16];
        let name = self.find("comm").unwrap_or("test").as_bytes();
        comm[..name.len()].copy_from_slice(name);
        Header {
            ktime: 1,
            ret: self.ret(),
            pid: self.number("pid"),
            uid: self.id("uid"),
            euid: self.id("euid"),
            auid: self.id("auid"),
            comm: Name16(comm),
            ..Header::default()
        }
    }

    fn path(&self, key: &str, tail: &mut Vec<u8>) -> Path {
        let Some(text) = self.find(key) else { return Path { marks: mark::ABSENT, ..Path::default() } };
        let (text, name) = text.split_once('+').map_or((text, None), |(place, name)| (place, Some(name)));
        let start = tail.len();
        let (text, marks) = text.strip_prefix("memfd:").map_or((text, 0), |_| (text, mark::DETACHED));
        for component in text.split('/').filter(|it| !it.is_empty()).rev() {
            tail.extend_from_slice(component.as_bytes());
            tail.push(0);
        }
        let mut path = Path { start: start as u32, len: (tail.len() - start) as u32, marks, ..Path::default() };
        if let Some(name) = name {
            // an absolute name starts at the root
            path.len = if name.starts_with('/') { 0 } else { path.len };
            (path.name, path.name_len) = (tail.len() as u32, name.len() as u32 + 1);
            tail.extend_from_slice(name.as_bytes());
            tail.push(0);
        }
        path
    }

    fn text(&self, key: &str, tail: &mut Vec<u8>) -> Text {
        let Some(text) = self.find(key) else { return Text { marks: mark::ABSENT, ..Text::default() } };
        let start = tail.len() as u32;
        tail.extend_from_slice(text.as_bytes());
        Text { start, len: text.len() as u32, marks: 0 }
    }

    fn list(&self, key: &str, tail: &mut Vec<u8>) -> TextList {
        let start = tail.len();
        for item in self.find(key).into_iter().flat_map(|text| text.split(',')) {
            tail.extend_from_slice(item.as_bytes());
            tail.push(0);
        }
        TextList { start: start as u32, len: (tail.len() - start) as u32, marks: 0 }
    }

    /// `ip:port` or the path of a unix socket.
    fn addr(&self, key: &str, tail: &mut Vec<u8>) -> Addr {
        let Some(text) = self.find(key) else { return Addr::default() };
        match text.parse::<std::net::SocketAddr>() {
            Ok(std::net::SocketAddr::V4(addr)) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&addr.ip().octets());
                Addr { ip, family: family::INET, port: addr.port(), ..Addr::default() }
            }
            Ok(std::net::SocketAddr::V6(addr)) => {
                Addr { ip: addr.ip().octets(), family: family::INET6, port: addr.port(), ..Addr::default() }
            }
            Err(_) => {
                let start = tail.len() as u32;
                tail.extend_from_slice(text.as_bytes());
                Addr { family: family::UNIX, start, len: text.len() as u32, ..Addr::default() }
            }
        }
    }

    /// One name of a table, or several joined by bars; 0 without.
    pub fn named(&self, key: &str, names: Names) -> u32 {
        self.set(key, names) as u32
    }

    /// The same of a table with 64 bits.
    pub fn set(&self, key: &str, names: Names) -> u64 {
        let found = |name| names.iter().find(|(_, it)| *it == name).unwrap_or_else(|| panic!("{key}={name}")).0;
        self.find(key).into_iter().flat_map(|text| text.split('|')).map(found).sum()
    }

    fn access(&self) -> Access {
        let numbers = [("read", 0), ("write", 1), ("read-write", 2), ("path", ACCESS_PATH)];
        Access(self.find("access").map_or(0, |name| numbers.iter().find(|(it, _)| *it == name).unwrap().1))
    }

    /// The body, and the bytes behind it.
    fn body(&self) -> (Vec<u8>, Vec<u8>) {
        let mut tail = Vec::new();
        let (path, target) = (self.path("path", &mut tail), self.path("target", &mut tail));
        let (peer, local) = (self.addr("peer", &mut tail), self.addr("local", &mut tail));
        let protocol = Protocol(self.named("protocol", Protocol::NAMES));
        let socket = SocketType(self.named("socket", SocketType::NAMES));
        let absent = Path { marks: mark::ABSENT, ..Path::default() };
        let body = match self.kind {
            Kind::Exec => {
                let argv = self.list("argv", &mut tail);
                let (memfd, deleted, old_euid) = (self.is("memfd"), self.is("deleted"), self.id("old_euid"));
                let script = self.path("script", &mut tail);
                let interpreter = Text { marks: mark::ABSENT, ..Text::default() };
                Exec {
                    path,
                    argv,
                    memfd,
                    deleted,
                    old_euid,
                    script,
                    cwd: absent,
                    interpreter,
                    mode: self.mode("mode"),
                    ..Exec::default()
                }
                .as_bytes()
                .to_vec()
            }
            Kind::Fork => Fork::default().as_bytes().to_vec(),
            Kind::Exit => Exit::default().as_bytes().to_vec(),
            Kind::Open => Open {
                inode: Inode::from(u64::from(self.number("inode"))),
                path,
                flags: OpenFlags(self.named("flags", OpenFlags::NAMES)),
                access: self.access(),
                create_mode: self.mode("create_mode"),
                dev: Device(self.number("dev")),
                mode: self.mode("mode"),
                created: self.is("created"),
                deleted: self.is("deleted"),
            }
            .as_bytes()
            .to_vec(),
            Kind::Unlink => Unlink { path }.as_bytes().to_vec(),
            Kind::Rmdir => Rmdir { path }.as_bytes().to_vec(),
            Kind::Rename => Rename { path, target, ..Rename::default() }.as_bytes().to_vec(),
            Kind::Link => Link { path, target }.as_bytes().to_vec(),
            Kind::Symlink => Symlink { path, ..Symlink::default() }.as_bytes().to_vec(),
            Kind::Chmod => Chmod { path, mode: self.mode("mode"), ..Chmod::default() }.as_bytes().to_vec(),
            Kind::Chown => Chown { path, ..Chown::default() }.as_bytes().to_vec(),
            Kind::Truncate => Truncate { path, ..Truncate::default() }.as_bytes().to_vec(),
            Kind::Mkdir => Mkdir { path, mode: self.mode("mode") }.as_bytes().to_vec(),
            Kind::Mknod => Mknod { path, mode: self.mode("mode"), device: Device(u32::MAX) }.as_bytes().to_vec(),
            Kind::Setxattr => {
                let name = self.text("name", &mut tail);
                Setxattr { path, name, ..Setxattr::default() }.as_bytes().to_vec()
            }
            Kind::Removexattr => {
                let name = self.text("name", &mut tail);
                Removexattr { path, name, ..Removexattr::default() }.as_bytes().to_vec()
            }
            Kind::Utimes => Utimes { path, ..Utimes::default() }.as_bytes().to_vec(),
            Kind::FileSetattr => FileSetattr { path, ..FileSetattr::default() }.as_bytes().to_vec(),
            Kind::Mount => {
                let (source, fstype) = (self.text("source", &mut tail), self.text("fstype", &mut tail));
                Mount { path, source, fstype, ..Mount::default() }.as_bytes().to_vec()
            }
            Kind::Umount => Umount { path, ..Umount::default() }.as_bytes().to_vec(),
            Kind::PivotRoot => PivotRoot { path, ..PivotRoot::default() }.as_bytes().to_vec(),
            Kind::Chroot => Chroot { path, ..Chroot::default() }.as_bytes().to_vec(),
            Kind::Swap => Swap { path, ..Swap::default() }.as_bytes().to_vec(),
            Kind::Connect => Connect { peer, local, protocol, socket }.as_bytes().to_vec(),
            Kind::Bind => Bind { local, protocol, socket }.as_bytes().to_vec(),
            Kind::Listen => Listen { local, protocol, socket, backlog: 0 }.as_bytes().to_vec(),
            Kind::Accept => Accept { peer, local, protocol, socket }.as_bytes().to_vec(),
            Kind::Dns => {
                let start = tail.len() as u32;
                tail.extend(self.find("question").map(question).unwrap_or_default());
                let question = wire::Dns { start, len: tail.len() as u32 - start, marks: mark::USER };
                Dns { question, peer, local, ..Dns::default() }.as_bytes().to_vec()
            }
            Kind::Send => Send { peer, local, protocol, socket }.as_bytes().to_vec(),
            _ => privilege::body(self, path),
        };
        (body, tail)
    }

    /// The event as words: the ring buffer starts its records at multiples of 8.
    pub fn bytes(&self) -> Vec<u64> {
        let (body, tail) = self.body();
        let call = self.find("call").map_or(Call::None, |name| *Call::ALL.iter().find(|it| it.name() == name).unwrap());
        let (kind, call) = (self.kind as u16, call as u8);
        let prefix = Prefix { tail: tail.len() as u32, kind, call, ..Prefix::default() };
        let bytes = [prefix.as_bytes(), self.header().as_bytes(), &body, &tail].concat();
        let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
        aligned.as_mut_slice().as_mut_bytes()[..bytes.len()].copy_from_slice(&bytes);
        aligned
    }

    /// Writes the event and hands its record over.
    pub fn record<R>(&self, then: impl FnOnce(Record<'_>) -> R) -> R {
        let aligned = self.bytes();
        let event = Event::decode(aligned.as_slice().as_bytes()).unwrap();
        let exe = |key: &str| self.find(key).map(|it| it.as_bytes().to_vec());
        let process = Process {
            exe: exe("exe"),
            parent: exe("parent").map(|exe| Relative { exe: Some(exe), ..Relative::default() }),
            ancestors: self
                .find("ancestors")
                .into_iter()
                .flat_map(|it| it.split(','))
                .flat_map(|it| [it.as_bytes(), b"\0"].concat())
                .collect(),
            ..Process::default()
        };
        let context = Context { process: Some(&process), user: self.find("user"), ..Context::default() };
        then(Record { event, context })
    }
}

#[test]
fn a_described_event_says_what_was_described() {
    Draft::parse("open path=/etc/passwd access=write errno=EROFS euid=5").record(|record| {
        assert_eq!(
            record.event.header_value(Header::FIELDS.iter().position(|field| field.name == "euid").unwrap()),
            Value::Uint(5)
        );
        let text = |name: &str| {
            let (slot, _) = sigtrail::record::Slot::find(Kind::Open, name).unwrap();
            record.text(slot, &mut Vec::new()).map(|it| String::from_utf8(it.to_vec()).unwrap())
        };
        assert_eq!(text("path").as_deref(), Some("/etc/passwd"));
        assert_eq!(text("errno").as_deref(), Some("EROFS"));
        assert_eq!(text("access").as_deref(), Some("write"));
    });
}
