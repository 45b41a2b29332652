//! The receiver under test, with TLS on loopback, and requests to it by curl.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;

use crate::{
    host::{Ran, receiver, run, until},
    nginx::ca,
};

/// The name of the witness.
pub const WITNESS: &str = "receiver.example.org/test";

/// A receiver; it is killed when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    dir: PathBuf,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Receiver {
    /// A receiver in this directory, with certificates and a trust file, not started yet.
    pub fn new(dir: &Path, trust: &str, options: &[&str]) -> Self {
        fs::create_dir_all(dir).unwrap();
        ca::write(dir).unwrap();
        fs::write(dir.join("trust"), trust).unwrap();
        fs::create_dir_all(dir.join("notes")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { dir: dir.to_owned(), port, options, child: None }
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        self.start_without_health();
        until("the receiver to answer", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            (self.get("/health").0 == 200).then_some(())
        });
    }

    /// Starts it; it may answer only who has a certificate.
    pub fn start_without_health(&mut self) {
        let at = |name: &str| self.dir.join(name);
        let said = fs::OpenOptions::new().create(true).append(true).open(at("said")).unwrap();
        let mut command = Command::new(receiver());
        command.arg("--state-dir").arg(at("state")).args(["--name", WITNESS]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.arg("--cert").arg(at("server.pem")).arg("--key").arg(at("server.key"));
        command.arg("--trust").arg(at("trust")).arg("--enrolments").arg(at("notes")).args(&self.options);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap());
    }

    /// Ends it as the out-of-memory killer does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it as the service manager does: the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().unwrap();
        until("the receiver to end", || child.try_wait().unwrap()).code()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.as_ref().unwrap().id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// What all receivers of this directory said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("said")).unwrap()
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The setting of an agent's sink, for which the spool keeps nothing and from which it removes nothing.
    pub fn sink(&self, name: &str) -> String {
        let (port, ca) = (self.port, self.dir.join("ca.pem"));
        format!(
            "{{ type: http, name: {name}, url: 'https://127.0.0.1:{port}/batches', ca_file: {}, required: false }}",
            ca.display()
        )
    }

    /// The witness's public key.
    pub fn vkey(&self) -> String {
        fs::read_to_string(self.dir.join("state/witness.vkey")).unwrap().trim_end().to_owned()
    }

    /// The only log in an area, once there is one.
    pub fn log(&self, area: &str) -> PathBuf {
        let area = self.dir.join("state").join(area);
        until("a log", || Some(fs::read_dir(&area).unwrap().next()?.unwrap().path()))
    }

    /// Alarms of a kind.
    pub fn alarms(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join("state/alarms.ndjson")).unwrap_or_default();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|alarm| alarm["alarm"] == kind).collect()
    }

    /// GET: the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.curl(path, |_| {})
    }

    /// POST: the status and the body.
    pub fn post(&self, path: &str, body: &[u8], headers: &[&str]) -> (u16, String) {
        let file = self.dir.join("body");
        fs::write(&file, body).unwrap();
        self.curl(path, |command| {
            command.arg("--data-binary").arg(format!("@{}", file.display()));
            for header in headers {
                command.args(["-H", header]);
            }
        })
    }

    /// curl, with further options.
    pub fn curl(&self, path: &str, more: impl FnOnce(&mut Command)) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--noproxy", "*", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        command.arg("--cacert").arg(self.dir.join("ca.pem"));
        more(&mut command);
        let Ran { out, .. } = run(command.arg(format!("https://127.0.0.1:{}{path}", self.port)));
        let (body, status) = out.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && child.kill().is_ok()
            && child.wait().is_err()
        {
            eprintln!("cannot end the receiver");
        }
    }
}
