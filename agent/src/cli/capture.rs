//! `sigtrail capture`: asks the running agent for a bundle, and writes it with the rights of who asks.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ConfigFile, trouble::Trouble};
use crate::{
    config,
    daemon::capture::{Answer, Ask, SOCKET},
};

/// What to capture, and where to.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// A process and those below it
    #[arg(long, group = "target", value_name = "PID")]
    pid: Option<u32>,
    /// A unit of systemd
    #[arg(long, group = "target", value_name = "NAME")]
    unit: Option<String>,
    /// A container: 12 digits of its id, or more
    #[arg(long, group = "target", value_name = "ID")]
    container: Option<String>,
    /// A user, by name or number: what runs with his id, or after his log-in
    #[arg(long, group = "target", value_name = "USER")]
    user: Option<String>,
    /// The whole host
    #[arg(long, group = "target")]
    all: bool,
    /// Events from now on for so long, as in `60s`; `capture.during` if it is not given
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    during: Option<Duration>,
    /// Events from so long ago, as far as the recorder goes; `capture.before` if it is not given
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Duration>,
    /// What is told of each process: exe, maps, fds, sockets, environ, memory; `capture.with` if it is not given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    with: Option<Vec<String>>,
    /// A file to copy; may be given more than once
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Who alone can read the bundle: an age recipient (`age1…`); may be given more than once
    #[arg(long = "recipient", value_name = "AGE1…")]
    recipients: Vec<String>,
    /// The bundle; a file that is there is not written over
    #[arg(short, long = "output", value_name = "FILE")]
    output: PathBuf,
    /// Tell the result as JSON
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| format!("`{text}` is no time; write 10s, 500ms or 2m"))
}

/// A line of the answer is never longer.
const LINE: u64 = 1 << 20;

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let path = args.config.load()?.runtime_dir.join(SOCKET);
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let files = args.files.iter().map(absolute).collect::<io::Result<_>>();
    let ask = Ask {
        target: args.target(),
        before_ms: args.before.map(|time| time.as_millis() as u64),
        during_ms: args.during.map(|time| time.as_millis() as u64),
        with: args.with.clone(),
        files: files.map_err(|error| Trouble::Usage(format!("--file: {error}")))?,
        recipients: args.recipients.clone(),
    };
    let failed = |doing| move |source| Trouble::File { doing, path: args.output.clone(), source };
    if fs::symlink_metadata(&args.output).is_ok() {
        return Err(failed("writing")(io::ErrorKind::AlreadyExists.into()));
    }
    let none = |source| Trouble::NoAgent { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(none)?;
    let line = serde_json::to_string(&ask)? + "\n";
    stream.write_all(line.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(none)?;
    let mut reader = BufReader::new(stream);
    let mut shown = Shown::new();
    loop {
        let mut line = String::new();
        (&mut reader).take(LINE).read_line(&mut line).map_err(none)?;
        if line.is_empty() {
            shown.end();
            return Err(none(io::Error::other("it said nothing more")));
        }
        let answer: Answer = serde_json::from_str(&line)?;
        match &answer {
            Answer::Progress { doing, done, of, bytes } => shown.tell(doing, *done, *of, *bytes),
            Answer::Refused { why } | Answer::Failed { why } => {
                shown.end();
                return Err(Trouble::Capture(why.clone()));
            }
            Answer::Bundle { bytes, .. } => {
                shown.end();
                write(&args.output, reader, *bytes).map_err(failed("writing"))?;
                return told(args, &answer).map_err(Trouble::Output);
            }
        }
    }
}

impl Args {
    fn target(&self) -> String {
        let of = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}:{value}"));
        let pid = self.pid.map(|pid| format!("pid:{pid}"));
        let named = of("unit", &self.unit).or_else(|| of("container", &self.container));
        pid.or(named).or_else(|| of("user", &self.user)).unwrap_or_else(|| "all".to_owned())
    }
}

/// Writes the bundle beside its place, and puts it there when it is whole.
fn write(path: &Path, reader: impl io::Read, bytes: u64) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let taken = take(reader, file, bytes).and_then(|()| fs::hard_link(&part, path));
    let removed = fs::remove_file(&part);
    taken.and(removed)
}

fn take(reader: impl io::Read, mut file: File, bytes: u64) -> io::Result<()> {
    let taken = io::copy(&mut reader.take(bytes), &mut file)?;
    if taken < bytes {
        return Err(io::Error::other(format!("the agent sent {taken} of {bytes} bytes")));
    }
    file.sync_all()
}

fn told(args: &Args, answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Answer::Bundle { bytes, manifest, members, member_bytes, events, left_out } = answer else { return Ok(()) };
    if args.json {
        return writeln!(out, "{}", serde_json::to_string(answer)?);
    }
    writeln!(
        out,
        "{}: {bytes} bytes, {members} members of {member_bytes} bytes, {events} events",
        args.output.display()
    )?;
    if *left_out > 0 {
        writeln!(out, "{left_out} things were left out: manifest.json says which, and why")?;
    }
    writeln!(out, "manifest sha256:{manifest}, sealed in the log of this host")
}

/// Progress on standard error: a bar on a terminal, elsewhere a line for each step.
struct Shown {
    is_terminal: bool,
    last: String,
}

/// Width of the bar.
const WIDTH: u64 = 24;

impl Shown {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), last: String::new() }
    }

    fn tell(&mut self, doing: &str, done: u64, of: u64, bytes: u64) {
        if self.is_terminal {
            let full = (done.min(of) * WIDTH).checked_div(of).unwrap_or(WIDTH) as usize;
            let bar = "#".repeat(full) + &"-".repeat(WIDTH as usize - full);
            eprint!("\r\x1b[K[{bar}] {doing}, {} KiB", bytes / 1024);
        } else if self.last != doing {
            eprintln!("sigtrail: {doing}");
        }
        doing.clone_into(&mut self.last);
    }

    fn end(&self) {
        if self.is_terminal && !self.last.is_empty() {
            eprint!("\r\x1b[K");
        }
    }
}
