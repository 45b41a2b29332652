//! The finished agent as a child process: watched live, or running with a configuration of its own.

use std::{
    env, fmt, fs,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How many times slower than a usual one this machine is: `SIGTRAIL_SLOW`, which is set where a machine is emulated.
pub fn slow() -> u32 {
    env::var("SIGTRAIL_SLOW").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Longest wait for anything the agent should do at once.
pub fn patience() -> Duration {
    Duration::from_secs(20) * slow()
}

/// Longest wait for its start, in which the kernel checks all programs: the most of all that it does.
fn start_patience() -> Duration {
    patience() * 3
}

/// Why the agent could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nobody said which binary to test.
    #[error("SIGTRAIL does not name the agent; run the tests with `cargo xtask test`")]
    NoBinary,
    /// The system refused something.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The agent ended, or was silent for too long; what it said before.
    #[error("the agent does not {what}; it said: {said}")]
    Failed {
        /// What was expected.
        what: &'static str,
        /// Its standard error.
        said: String,
    },
    /// It printed what is no JSON.
    #[error("the agent printed no JSON: {line}")]
    NotJson {
        /// What it printed.
        line: String,
        /// Why not.
        source: serde_json::Error,
    },
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| AgentError::Io { doing, source }
}

/// A command of the agent under test.
pub fn sigtrail(verb: &str) -> Result<Command, AgentError> {
    let mut command = Command::new(env::var_os("SIGTRAIL").ok_or(AgentError::NoBinary)?);
    command.arg(verb).stdin(Stdio::null());
    Ok(command)
}

/// Asks for the end of a child, by its id.
fn signal(child: &Child, signal: Signal) -> Result<(), AgentError> {
    kill(Pid::from_raw(child.id().cast_signed()), signal)
        .map_err(|errno| io_error("sending a signal to the agent")(errno.into()))
}

/// Waits until a child ends by itself; kills it after [`patience`].
fn end(child: &mut Child) -> Result<bool, AgentError> {
    let late = Instant::now() + patience();
    while Instant::now() < late {
        if let Some(status) = child.try_wait().map_err(io_error("waiting for the agent"))? {
            return Ok(status.success());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().map_err(io_error("killing the agent"))?;
    child.wait().map_err(io_error("waiting for the agent"))?;
    Ok(false)
}

/// Lines as they come, gathered by a thread.
#[derive(Default)]
struct Lines {
    held: Mutex<Held>,
    more: Condvar,
}

#[derive(Default)]
struct Held {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(self: &Arc<Self>, from: impl io::Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                lines.lock().lines.push(line);
                lines.more.notify_all();
            }
            lines.lock().closed = true;
            lines.more.notify_all();
        })
    }

    /// Waits until `found` has an answer. It is given all lines that came since it was asked last.
    fn until<T>(&self, late: Instant, from: &mut usize, mut found: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut held = self.lock();
        loop {
            while let Some(line) = held.lines.get(*from) {
                *from += 1;
                if let Some(answer) = found(line) {
                    return Some(answer);
                }
            }
            let left = late.saturating_duration_since(Instant::now());
            if held.closed || left.is_zero() {
                return None;
            }
            held = self.more.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// `sigtrail tail --json --all`: every event of this host, live.
pub struct Tail {
    child: Child,
    records: Arc<Lines>,
    said: Arc<Lines>,
    /// Records before this one were handed out.
    at: usize,
    readers: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Tail {
    /// Starts it and waits until it watches.
    pub fn start(options: &[&str]) -> Result<Self, AgentError> {
        let mut command = sigtrail("tail")?;
        command.arg("--json").args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(io_error("starting `sigtrail tail`"))?;
        let (records, said) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| records.read(pipe)));
        readers.extend(child.stderr.take().map(|pipe: ChildStderr| said.read(pipe)));
        let tail = Self { child, records, said, at: 0, readers };
        let watching = |line: &str| line.starts_with("sigtrail: watching").then_some(());
        match tail.said.until(Instant::now() + start_patience(), &mut 0, watching) {
            Some(()) => Ok(tail),
            None => Err(AgentError::Failed { what: "watch", said: tail.said.lock().lines.join("\n") }),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hands out the records of a process that came since the last call, up to and with the first one that `last`
    /// is true for; `None` when that one does not come within [`patience`]. `pid` 0 stands for all processes.
    pub fn until(&mut self, pid: u32, mut last: impl FnMut(&Value) -> bool) -> Result<Option<Vec<Value>>, AgentError> {
        let mark = format!("\"pid\":{pid},");
        let mut records = Vec::new();
        let mut wrong = None;
        let found = self.records.until(Instant::now() + patience(), &mut self.at, |line| {
            if pid != 0 && !line.contains(&mark) {
                return None;
            }
            match serde_json::from_str::<Value>(line) {
                Ok(record) if pid == 0 || record["pid"] == pid => {
                    let is_last = last(&record);
                    records.push(record);
                    is_last.then_some(())
                }
                Ok(_) => None,
                Err(source) => {
                    wrong = Some(AgentError::NotJson { line: line.to_owned(), source });
                    Some(())
                }
            }
        });
        match wrong {
            Some(error) => Err(error),
            None => Ok(found.map(|()| records)),
        }
    }

    /// Ends it, as Ctrl-C does, and returns its lines and what it said on standard error.
    pub fn stop(mut self) -> Result<(Vec<String>, String), AgentError> {
        signal(&self.child, Signal::SIGINT)?;
        end(&mut self.child)?;
        for reader in self.readers.drain(..) {
            // a reader that panicked has read nothing more: its lines are missing, and the test sees that
            drop(reader.join());
        }
        let lines = std::mem::take(&mut self.records.lock().lines);
        Ok((lines, self.said.lock().lines.join("\n")))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        stop_at_last(&mut self.child);
    }
}

/// The end of a child whose test failed: nothing is left to report to.
fn stop_at_last(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) && child.kill().is_ok() {
        drop(child.wait());
    }
}

/// `sigtrail run` with everything in one directory and a file sink.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    dir: PathBuf,
}

impl Agent {
    /// Starts it in `dir` and waits until its log has begun. `more` is put at the end of its configuration.
    pub fn start(dir: &Path, more: &str) -> Result<Self, AgentError> {
        Self::configured(dir, &Self::config(dir, more))
    }

    /// The same with another copy of the program.
    pub fn start_copy(program: &Path, dir: &Path, more: &str) -> Result<Self, AgentError> {
        Self::run(Command::new(program), dir, &Self::config(dir, more))
    }

    fn config(dir: &Path, more: &str) -> String {
        let at = dir.display();
        format!(
            "state_dir: {at}/state\nruntime_dir: {at}/run\nsinks:\n  - type: file\n    name: files\n    dir: {at}/log\n    compress: false\n{more}"
        )
    }

    /// Starts it with this configuration, whose file sink writes to `log` in `dir`, and waits until its log has begun.
    pub fn configured(dir: &Path, config: &str) -> Result<Self, AgentError> {
        Self::run(Command::new(env::var_os("SIGTRAIL").ok_or(AgentError::NoBinary)?), dir, config)
    }

    fn run(mut command: Command, dir: &Path, config: &str) -> Result<Self, AgentError> {
        fs::write(dir.join("config.yaml"), config).map_err(io_error("writing the configuration"))?;
        let said = fs::File::create(dir.join("stderr")).map_err(io_error("making a file"))?;
        command.args(["run", "--config"]).arg(dir.join("config.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(io_error("starting `sigtrail run`"))?;
        let mut agent = Self { child, dir: dir.to_owned() };
        let late = Instant::now() + start_patience();
        while !agent.ask("status", &[])?.status.success() {
            let ended = agent.child.try_wait().map_err(io_error("waiting for the agent"))?.is_some();
            if ended || Instant::now() > late {
                return Err(AgentError::Failed { what: "get ready", said: agent.said() });
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(agent)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }

    /// Runs another verb with the same configuration.
    pub fn ask(&self, verb: &str, options: &[&str]) -> Result<Output, AgentError> {
        let mut command = sigtrail(verb)?;
        command.arg("--config").arg(self.dir.join("config.yaml")).args(options);
        command.output().map_err(io_error("asking the agent"))
    }

    /// What `sigtrail status` tells.
    pub fn status(&self) -> Result<Value, AgentError> {
        json(&self.ask("status", &["--json"])?.stdout)
    }

    /// Ends it, as systemd does. Returns what `sigtrail verify` says of its log.
    pub fn stop(mut self) -> Result<Value, AgentError> {
        signal(&self.child, Signal::SIGTERM)?;
        if !end(&mut self.child)? {
            return Err(AgentError::Failed { what: "end well", said: self.said() });
        }
        let mut command = sigtrail("verify")?;
        let report = command.arg("--json").arg(self.dir.join("log")).output();
        json(&report.map_err(io_error("verifying the log"))?.stdout)
    }

    /// Reads the log that an agent left in `dir`, line by line: it may be large.
    pub fn log(dir: &Path, mut line: impl FnMut(&str)) -> Result<(), AgentError> {
        for file in fs::read_dir(dir.join("log")).map_err(io_error("listing the log"))? {
            let file = file.and_then(|file| fs::File::open(file.path())).map_err(io_error("opening the log"))?;
            for text in BufReader::new(file).lines() {
                line(&text.map_err(io_error("reading the log"))?);
            }
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        stop_at_last(&mut self.child);
        if let Err(error) = self.ask("detach", &[]) {
            eprintln!("cannot detach: {error}");
        }
    }
}

fn json(bytes: &[u8]) -> Result<Value, AgentError> {
    serde_json::from_slice(bytes)
        .map_err(|source| AgentError::NotJson { line: String::from_utf8_lossy(bytes).into_owned(), source })
}
