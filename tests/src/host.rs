//! One host with an agent: its configuration and all its files in a directory of their own, and what it sealed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use sigtrail::spool::{Next, Reader};
use tempfile::TempDir;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The agent under test.
pub fn sigtrail() -> PathBuf {
    program("SIGTRAIL")
}

/// The verifier under test.
pub fn verifier() -> PathBuf {
    program("SIGTRAIL_VERIFY")
}

/// The receiver under test.
pub fn receiver() -> PathBuf {
    program("SIGTRAIL_RECEIVE")
}

fn program(variable: &str) -> PathBuf {
    env::var_os(variable).unwrap_or_else(|| panic!("{variable} names no program: run `cargo xtask test`")).into()
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ran {
    let done = command.env_remove("SIGTRAIL_CONFIG").stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

/// Asks again and again, until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A batch as it was sealed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What the seal says.
    pub header: seal::Header,
    /// The event lines.
    pub lines: Vec<Value>,
}

impl Sealed {
    /// Its lines of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["kind"] == kind).collect()
    }
}

/// The bytes of all batches in a spool.
pub fn bytes(spool: &Path) -> Vec<Vec<u8>> {
    let mut reader = Reader::open(spool, None);
    let mut batches = Vec::new();
    loop {
        match reader.next().unwrap() {
            Next::Batch(batch) => batches.push(batch.bytes.to_vec()),
            Next::Gap { .. } => {}
            Next::Nothing => return batches,
        }
    }
}

/// All batches in a spool.
pub fn batches(spool: &Path) -> Vec<Sealed> {
    bytes(spool).iter().map(|bytes| sealed(bytes)).collect()
}

/// A batch as it was sealed, from its bytes.
pub fn sealed(bytes: &[u8]) -> Sealed {
    let mut lines: Vec<_> = bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
    let seal = seal::Batch::parse(lines.pop().unwrap()).unwrap();
    for line in &lines {
        seal::jcs::check(line).unwrap();
    }
    let lines = lines.into_iter().map(|line| serde_json::from_slice(line).unwrap());
    Sealed { header: seal.header, lines: lines.collect() }
}

/// A host with one agent.
#[derive(Debug)]
pub struct Host {
    dir: TempDir,
}

impl Host {
    /// A host whose agent keeps what happens to files below `load/` and has a file sink in `log/`. `more`: further
    /// settings.
    pub fn new(more: &str) -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(host.path("load")).unwrap();
        let dir = host.dir.path().display();
        host.write(
            "policy.yaml",
            &format!(
                "version: 1\nrules:\n  - id: load\n    title: What the test does\n    kinds: [open, unlink]\n    \
                 selection: {{ path|startswith: {dir}/load/ }}\n    condition: selection\n    verdict: keep\n\
                 default: drop\n"
            ),
        );
        host.write(
            "sigtrail.yaml",
            &format!(
                "state_dir: {dir}/state\nruntime_dir: {dir}/run\norigin: test.example.org/sigtrail\n\
                 policy: [{dir}/policy.yaml]\nseal: {{ max_age: 50ms, max_bytes: 64KiB, heartbeat: 1s }}\n{more}\n"
            ),
        );
        host
    }

    /// The setting of a file sink.
    pub fn file_sink(&self, name: &str) -> String {
        format!("{{ type: file, name: {name}, dir: {}, compress: false }}", self.path(name).display())
    }

    /// A file of this host.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of this host.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Adds to the configuration.
    pub fn configure(&self, more: &str) {
        let config = self.path("sigtrail.yaml");
        fs::write(&config, fs::read_to_string(&config).unwrap() + more + "\n").unwrap();
    }

    /// The agent with a verb, not started yet.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(sigtrail());
        command.arg(verb).arg("--config").arg(self.path("sigtrail.yaml"));
        command
    }

    /// Starts the agent and waits until it seals.
    pub fn start(&self) -> Agent {
        self.start_as(self.command("run"))
    }

    /// Starts the agent by a command of the test's own, and waits until it seals.
    pub fn start_as(&self, command: Command) -> Agent {
        let mut agent = self.launch_as(command);
        until("the agent to be ready", || {
            if let Some(status) = agent.child.try_wait().unwrap() {
                panic!("the agent ended ({status}): {}", agent.said());
            }
            (run(&mut self.command("status")).code == Some(0)).then_some(())
        });
        agent
    }

    /// Starts the agent.
    pub fn launch(&self) -> Agent {
        self.launch_as(self.command("run"))
    }

    fn launch_as(&self, mut command: Command) -> Agent {
        let said = self.path("agent.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&said).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Agent { child, said }
    }

    /// The answer of the running agent.
    pub fn status(&self) -> Value {
        let ran = run(self.command("status").arg("--json"));
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// The segments of the spool, oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("state/spool")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|it| it == "stl"));
        files.sort_unstable();
        files
    }

    /// What the spool holds.
    pub fn batches(&self) -> Vec<Sealed> {
        batches(&self.path("state/spool"))
    }

    /// Verifies files with the key of this host: the exit code and the report.
    pub fn verify(&self, files: &[PathBuf]) -> (i32, Value) {
        let key = self.path("state/host.vkey");
        let ran = run(Command::new(verifier()).arg("--json").arg("--key").arg(key).args(files));
        let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        (ran.code.unwrap(), report)
    }

    /// Verifies the spool and expects it to be whole.
    pub fn verified(&self) -> Value {
        let (code, report) = self.verify(&self.segments());
        assert_eq!((code, &report["verdict"]), (0, &Value::from("verified")), "{report:#}");
        report
    }

    /// Makes an event that the policy keeps: a file below `load/`.
    pub fn touch(&self, name: &str) {
        self.write(&format!("load/{name}"), "");
    }
}

impl Drop for Host {
    /// What a killed agent left in the kernel.
    fn drop(&mut self) {
        if env::var_os("SIGTRAIL").is_none() {
            return;
        }
        let ran = run(&mut self.command("detach"));
        if ran.code != Some(0) && !thread::panicking() {
            eprintln!("cannot detach: {ran:?}");
        }
    }
}

/// A running agent; it is killed when this is dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    said: PathBuf,
}

impl Agent {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What all agents of this host have said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Ends it as the service manager does: the exit code and all that was said.
    pub fn stop(self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        self.end()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end: the exit code and all that was said.
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = until("the agent to end", || self.child.try_wait().unwrap());
        (status.code(), self.said())
    }

    /// Ends it as the out-of-memory killer does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // fails for one that has ended: so it should
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("cannot end the agent {}", self.child.id());
        }
    }
}
