//! One record as one line that a person can read.
//!
//! ```text
//! 20:26:45.123 exec    root   4242 bash ▸ /usr/bin/ls -l '/tmp/a b'
//! 20:26:45.130 open    alice  4243 cat ▸ /etc/shadow read = EACCES
//! ```

use common::Kind;

use super::paint::{Colour, Paint};
use crate::record::{
    Judgement, Record, Verdict, errno,
    words::{self, quote},
};

/// Writes records as lines.
#[derive(Debug)]
pub struct Printer {
    paint: Paint,
    line: String,
}

/// What stands around the words of a line.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When.
    pub time: &'a str,
    /// The name of the kind.
    pub kind: &'a str,
    /// Whose rights it had.
    pub user: &'a str,
    /// The process.
    pub pid: u32,
    /// What that is called.
    pub comm: &'a [u8],
    /// The name of the error.
    pub error: Option<&'a str>,
    /// The rule that made it an alert.
    pub alert: Option<&'a str>,
}

impl Printer {
    /// Lines with or without colours.
    pub fn new(paint: Paint) -> Self {
        Self { paint, line: String::new() }
    }

    /// The line of a record, with its line feed.
    pub fn line(&mut self, record: &Record<'_>, judgement: Judgement<'_>, time: &str) -> &str {
        let event = &record.event;
        let header = event.header;
        let user = record.context.euser.map_or_else(|| header.euid.0.to_string(), str::to_owned);
        let frame = Frame {
            time: time.get(11..23).unwrap_or(time),
            kind: event.kind().name(),
            user: &user,
            pid: header.pid,
            comm: header.comm.bytes(),
            error: errno::name(header.ret),
            alert: (judgement.verdict >= Verdict::Alert).then_some(judgement.rule),
        };
        self.framed(frame, |out| words::what(event, out))
    }

    /// The line with these words, with its line feed.
    pub fn framed(&mut self, frame: Frame<'_>, words: impl FnOnce(&mut String)) -> &str {
        self.line.clear();
        let Frame { time, kind, user, pid, comm, error, alert } = frame;
        let colour = if alert.is_some() { Colour::Yellow } else { colour(Kind::from_name(kind)) };
        // a log may come from a stranger
        let word = |bytes: &[u8]| {
            let mut word = String::new();
            quote(bytes, &mut word);
            word
        };
        let (name, kind, user) = (word(comm), word(kind.as_bytes()), word(user.as_bytes()));
        let paint = self.paint;
        self.push(format_args!(
            "{} {} {user:<8} {pid:>6} {name} {} ",
            paint.text(Colour::Grey, time),
            paint.text(colour, format_args!("{kind:<8}")),
            paint.text(Colour::Grey, "▸"),
        ));
        words(&mut self.line);
        if let Some(error) = error {
            self.push(format_args!(" = {}", paint.text(Colour::Red, word(error.as_bytes()))));
        }
        if let Some(rule) = alert {
            self.push(format_args!("{}", paint.text(Colour::Yellow, format_args!(" ! {}", word(rule.as_bytes())))));
        }
        self.line.push('\n');
        &self.line
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.line.push_str(&text.to_string());
    }
}

fn colour(kind: Option<Kind>) -> Colour {
    match kind {
        Some(Kind::Exec | Kind::Fork | Kind::Exit) => Colour::Blue,
        Some(
            Kind::Connect
            | Kind::Bind
            | Kind::Listen
            | Kind::Accept
            | Kind::Send
            | Kind::Socket
            | Kind::Dns
            | Kind::IoUringSilent,
        ) => Colour::Magenta,
        _ => Colour::Cyan,
    }
}
